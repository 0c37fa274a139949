//! Writes events that are neither messages nor unsends, and applies their effects: who follows, who is in which group.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    incoming_event::{Change, EventKind},
    item::{Error, Item},
    keys::Keys,
};
use crate::{
    records::{
        directory::{self, StatusChange},
        events::{self, NewEvent},
    },
    seal::SealContext,
};

/// Writes these events of a batch with their effects, and the memberships that all its events show. Of several changes
/// to the same row the one with the latest timestamp counts.
pub async fn write(
    db: &mut PgConnection,
    items: &[Item<'_>],
    keys: &Keys,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let new = new_events(items, keys)?;
    if !new.is_empty() {
        events::write(db, &new, now).await?;
    }
    Changes::new(items).apply(db, items).await?;
    Ok(())
}

fn new_events<'a>(items: &[Item<'a>], keys: &Keys) -> Result<Vec<NewEvent<'a>>, Error> {
    let mut new = vec![];
    for item in items {
        let event = item.event;
        let EventKind::Other { kind, .. } = &event.kind else {
            continue;
        };
        let (id, key) = (Uuid::now_v7(), keys.of(item.resolved.conversation)?);
        new.push(NewEvent {
            id,
            channel_id: item.channel_id,
            webhook_event_id: &event.webhook_event_id,
            conversation_id: item.resolved.conversation,
            contact_id: item.resolved.contact,
            kind,
            occurred_at: event.at,
            content: key.seal(SealContext::Event(id), &event.raw)?,
        });
    }
    Ok(new)
}

/// A status, and the timestamp of the event that shows it.
type Status = (bool, DateTime<Utc>);

/// The latest status of each contact, conversation and member that the events show to have changed.
#[derive(Default)]
struct Changes {
    follows: BTreeMap<Uuid, Status>,
    presence: BTreeMap<Uuid, Status>,
    /// By conversation and contact.
    members: BTreeMap<(Uuid, Uuid), Status>,
}

impl Changes {
    fn new(items: &[Item<'_>]) -> Self {
        let mut changes = Self::default();
        for item in items {
            let (conversation, at) = (item.resolved.conversation, item.event.at);
            for (member, yes) in &item.resolved.members {
                set_latest(&mut changes.members, (conversation, *member), (*yes, at));
            }
            let EventKind::Other { change, .. } = &item.event.kind else {
                continue;
            };
            match (change, item.resolved.contact) {
                (Change::Follows(yes), Some(contact)) => {
                    set_latest(&mut changes.follows, contact, (*yes, at));
                }
                (Change::Present(yes), _) => {
                    set_latest(&mut changes.presence, conversation, (*yes, at));
                }
                _ => {}
            }
        }
        changes
    }

    async fn apply(self, db: &mut PgConnection, items: &[Item<'_>]) -> sqlx::Result<()> {
        if !self.follows.is_empty() {
            directory::follows(db, &status_changes(self.follows)).await?;
        }
        if !self.presence.is_empty() {
            directory::lock(db, &conversations(items)).await?;
            directory::presence(db, &status_changes(self.presence)).await?;
        }
        if !self.members.is_empty() {
            let members: Vec<_> = self
                .members
                .into_iter()
                .map(|((conversation, contact), (yes, at))| (conversation, contact, yes, at))
                .collect();
            directory::members(db, &members).await?;
        }
        Ok(())
    }
}

/// Of statuses with the same timestamp the last one counts.
fn set_latest<K: Ord>(changes: &mut BTreeMap<K, Status>, key: K, status: Status) {
    let latest = changes.entry(key).or_insert(status);
    if latest.1 <= status.1 {
        *latest = status;
    }
}

/// The conversations of the batch, sorted, each once.
fn conversations(items: &[Item<'_>]) -> Vec<Uuid> {
    let mut conversations: Vec<Uuid> = items
        .iter()
        .map(|item| item.resolved.conversation)
        .collect();
    conversations.sort_unstable();
    conversations.dedup();
    conversations
}

fn status_changes(changes: BTreeMap<Uuid, Status>) -> Vec<StatusChange> {
    changes
        .into_iter()
        .map(|(id, (yes, at))| StatusChange { id, yes, at })
        .collect()
}
