//! Erases the data of one person on a subject request: everything in their own chat, their messages and events in
//! groups and rooms, their profile and picture, and their memberships.
//!
//! The request is stored before anything is erased. A crash leaves the request unfinished, and the next run continues
//! it. Messages that the person sends after the request are not part of it: the archive treats them as those of a new
//! contact.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::batch::{Found, Selection};
use crate::{
    clock::Clock,
    records::{
        erasures::{self, Cause, Erased, NewErasure},
        holds, notify,
        subjects::{self, From, Task},
    },
};

/// Most messages or events in one transaction.
const BATCH_ITEMS: usize = 200;

/// Carries out the erasures of subject requests. Clones share everything.
#[derive(Clone, Debug)]
pub struct Subjects {
    pool: PgPool,
    clock: Clock,
}

impl Subjects {
    /// Takes the database pool and the clock.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Erases everything that subject requests ask for, with the pause `rest` after each batch, until `stop` is
    /// cancelled. Data that a hold covers waits until the hold ends. Returns how many messages, events and contacts
    /// were erased.
    ///
    /// # Errors
    /// The database fails. Earlier batches stay erased, and a later call does the rest.
    pub async fn erase(&self, rest: Duration, stop: &CancellationToken) -> sqlx::Result<usize> {
        let mut conn = self.pool.acquire().await?;
        let tasks = subjects::to_erase(&mut conn).await?;
        drop(conn);
        let mut erased = 0;
        for task in tasks {
            let mut waits = false;
            for events in [false, true] {
                let mut from = subjects::START;
                while let Some(batch) = self.batch(&task, events, from).await? {
                    erased += batch.erased;
                    waits |= batch.held;
                    if stop.is_cancelled() {
                        return Ok(erased);
                    }
                    if batch.last {
                        break;
                    }
                    from = batch.next;
                    tokio::time::sleep(rest).await;
                }
            }
            if !waits && self.forget(&task).await? {
                erased += 1;
            }
        }
        Ok(erased)
    }

    async fn batch(&self, task: &Task, events: bool, from: From) -> sqlx::Result<Option<Batch>> {
        let now = self.clock.now();
        let until = task.erase_requested_at.unwrap_or(now);
        let mut conn = self.pool.acquire().await?;
        let limit = BATCH_ITEMS as i64;
        let found = match events {
            false => subjects::messages(&mut conn, task, until, from, limit).await?,
            true => subjects::events(&mut conn, task, until, from, limit).await?,
        };
        drop(conn);
        let Some(last) = found.last() else {
            return Ok(None);
        };
        let next = last.end();
        let last = found.len() < BATCH_ITEMS;
        let mut selection = Selection {
            channel_id: task.channel_id,
            found: found
                .iter()
                .map(|one| Found {
                    id: one.id,
                    message_id: one.message_id.as_deref(),
                    conversation_id: one.conversation_id,
                })
                .collect(),
            cause: Cause::Subject(task.id),
            requested_at: until,
        };
        let conversations = selection.conversations();
        let mut tx = self.pool.begin().await?;
        holds::enter(&mut tx).await?;
        let held = selection.skip_held(&mut tx).await?;
        let erased = selection.erase(&mut tx, now).await?;
        let count = i32::try_from(erased).unwrap_or(i32::MAX);
        let (messages, others) = if events { (0, count) } else { (count, 0) };
        // Last, because it locks the request: another request for this person then waits only for the rest of this
        // transaction.
        subjects::count(&mut tx, task.id, messages, others).await?;
        notify::conversations_changed(&mut tx, &conversations).await?;
        tx.commit().await?;
        Ok(Some(Batch {
            next,
            erased,
            held: !held.is_empty(),
            last,
        }))
    }

    /// Erases what is known of the contact itself, once all of its messages and events are erased.
    async fn forget(&self, task: &Task) -> sqlx::Result<bool> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if !subjects::lock(&mut tx, task.id).await? {
            return Ok(false);
        }
        let person = NewErasure {
            id: Uuid::now_v7(),
            channel_id: task.channel_id,
            erased: Erased::Person,
            target: task.contact_id,
            conversation_id: None,
            webhook_event_id: None,
            requested_at: task.erase_requested_at.unwrap_or(now),
        };
        let asked = erasures::insert(&mut tx, &[person], Cause::Subject(task.id), now).await?;
        let Some(asked) = asked.first() else {
            return Ok(false);
        };
        subjects::empty(&mut tx, task, asked, now).await?;
        super::append_record(&mut tx, &[*asked], now).await?;
        tx.commit().await?;
        Ok(true)
    }
}

struct Batch {
    next: From,
    erased: usize,
    /// True if a hold keeps some of the batch.
    held: bool,
    /// True if nothing is left after this batch.
    last: bool,
}
