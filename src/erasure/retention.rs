//! Erases what is older than a retention rule keeps: once a day, in batches with a pause between them.
//!
//! A rule keeps whole days, which end at midnight UTC. So everything that becomes due is due at the same moment, a
//! conversation changes its key for a rule once a day, and for the rest of the day a rule costs nothing. A pass does
//! not search again what earlier passes have searched, except for the last 30 days of it, because a message may have
//! arrived late. After a rule was switched on or off, a hold was lifted, or a message arrived even later, it searches
//! everything again. A crash loses the position that the pass had reached, and nothing else.

use std::time::Duration;

use chrono::DateTime;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::batch::{Found, Selection};
use crate::{
    clock::Clock,
    records::{
        erasures::Cause,
        holds, notify,
        retention::{self, Task},
    },
};

/// Messages in one transaction, so that its locks are held for a few hundredths of a second.
const BATCH_MESSAGES: usize = 200;

/// Pause after a batch, in which the webhook endpoint has the database to itself.
pub const BATCH_PAUSE: Duration = Duration::from_millis(100);

/// After more than this many batches in a row that erased nothing the pass ends. The next pass continues.
const IDLE: usize = 100;

/// Erases what is due by retention rules. Clones share everything.
#[derive(Clone, Debug)]
pub struct Retention {
    pool: PgPool,
    clock: Clock,
}

impl Retention {
    /// Takes the database pool and the clock.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Erases everything that is due, with the pause `rest` after each batch, until `stop` is cancelled. Returns how
    /// many messages and events were erased.
    ///
    /// # Errors
    /// The database fails. Earlier batches stay erased.
    pub async fn pass(&self, rest: Duration, stop: &CancellationToken) -> sqlx::Result<usize> {
        let mut conn = self.pool.acquire().await?;
        let tasks = retention::tasks(&mut conn, None, self.clock.now()).await?;
        drop(conn);
        let mut erased = 0;
        for task in tasks {
            for events in [false, true] {
                let (mut from, mut idle) = (Uuid::nil(), 0);
                while let Some((next, count)) = self.batch(&task, events, from).await? {
                    from = next;
                    erased += count;
                    // Another replica was first, or a hold was just set. Do not retry without end.
                    idle = if count == 0 { idle + 1 } else { 0 };
                    if idle > IDLE || stop.is_cancelled() {
                        return Ok(erased);
                    }
                    tokio::time::sleep(rest).await;
                }
            }
            let mut conn = self.pool.acquire().await?;
            retention::done(&mut conn, &task).await?;
        }
        Ok(erased)
    }

    /// Erases one batch. Returns the conversation from which to go on, and how much was erased; `None` if nothing is
    /// left or the rule is off.
    async fn batch(
        &self,
        task: &Task,
        events: bool,
        from: Uuid,
    ) -> sqlx::Result<Option<(Uuid, usize)>> {
        let now = self.clock.now();
        let since = task
            .done_before
            .map_or(DateTime::UNIX_EPOCH, |done| done - retention::LATE_ARRIVALS);
        let limit = BATCH_MESSAGES as i64;
        // The search runs outside the transaction, so that the transaction holds its locks as briefly as possible.
        let mut conn = self.pool.acquire().await?;
        let due = match events {
            false => retention::messages(&mut conn, task, since, from, limit).await?,
            true => retention::events(&mut conn, task, since, from, limit).await?,
        };
        drop(conn);
        let Some(next) = due.last().map(|due| due.conversation_id) else {
            return Ok(None);
        };
        let mut tx = self.pool.begin().await?;
        holds::enter(&mut tx).await?;
        if !retention::is_on(&mut tx, task.id).await? {
            return Ok(None);
        }
        let mut selection = Selection {
            channel_id: task.channel_id,
            found: due
                .iter()
                .map(|due| Found {
                    id: due.id,
                    message_id: due.message_id.as_deref(),
                    conversation_id: due.conversation_id,
                })
                .collect(),
            cause: Cause::Retention(task.id),
            requested_at: now,
        };
        let conversations = selection.conversations();
        selection.skip_held(&mut tx).await?;
        let count = selection.erase(&mut tx, now).await?;
        notify::conversations_changed(&mut tx, &conversations).await?;
        tx.commit().await?;
        Ok(Some((next, count)))
    }
}
