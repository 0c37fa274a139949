//! Erases a batch of messages and events for another cause than an unsend: inserts the tombstones of the messages, then
//! erases. The caller's transaction has entered ([`holds::enter`]) before.
//!
//! A hold stops an operator's order as a whole, before anything is selected. Retention rules and subject requests leave
//! out held conversations and go on ([`Selection::skip_held`]).

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::records::{
    erasures::{Cause, NewErasure},
    holds, messages,
};

/// Messages and events to erase in one transaction.
pub(super) struct Selection<'a> {
    /// The channel of all of them.
    pub channel_id: i32,
    /// The messages and events, grouped by conversation: only adjacent duplicates are removed.
    pub found: Vec<Found<'a>>,
    /// Any cause but an unsend.
    pub cause: Cause<'a>,
    /// For a retention rule the time of the erasure; else when it was requested.
    pub requested_at: DateTime<Utc>,
}

/// A message or event that was found.
pub(super) struct Found<'a> {
    /// Our id.
    pub id: Uuid,
    /// LINE's id of the message; `None`: it is an event.
    pub message_id: Option<&'a str>,
    /// The conversation it is in.
    pub conversation_id: Uuid,
}

impl Selection<'_> {
    /// The conversations of the selection, each once.
    pub(super) fn conversations(&self) -> Vec<Uuid> {
        let mut conversations: Vec<Uuid> =
            self.found.iter().map(|one| one.conversation_id).collect();
        conversations.dedup();
        conversations
    }

    /// Leaves out the messages and events of conversations whose holds cover the cause. Returns the conversations that are held.
    pub(super) async fn skip_held(&mut self, db: &mut PgConnection) -> sqlx::Result<Vec<Uuid>> {
        let subject = matches!(self.cause, Cause::Subject(_));
        let held = holds::held(db, &self.conversations(), subject).await?;
        self.found
            .retain(|one| !held.contains(&one.conversation_id));
        Ok(held)
    }

    /// Erases the selection. Returns how many messages and events were erased for the first time.
    pub(super) async fn erase(
        &self,
        db: &mut PgConnection,
        now: DateTime<Utc>,
    ) -> sqlx::Result<usize> {
        let ids: Vec<&str> = self.found.iter().filter_map(|one| one.message_id).collect();
        messages::insert_tombstones(db, self.channel_id, &ids, self.cause.word(), now).await?;
        let targets: Vec<NewErasure<'_>> = self.found.iter().map(|one| self.target(one)).collect();
        super::erase(db, &targets, self.cause, now).await
    }

    fn target<'b>(&self, found: &Found<'b>) -> NewErasure<'b> {
        NewErasure::of(
            self.channel_id,
            found.conversation_id,
            found.id,
            found.message_id,
            self.requested_at,
        )
    }
}
