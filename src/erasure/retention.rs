//! What is older than a rule keeps it goes: once a day, in batches with a rest between them.
//!
//! A rule keeps whole days, which end at midnight UTC. So everything that is due is due at once, a conversation changes its
//! key for it once a day, and for the rest of the day a rule costs nothing. What was looked through is not looked through
//! again, but for some days in which a message may have come late; all is, when a rule or a hold has changed. A crash
//! loses the place that was reached, and nothing else.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::erase;
use crate::{
    clock::Clock,
    records::{
        erasures::{Cause, NewErasure},
        holds, messages, news,
        retention::{self, Due, Task},
    },
};

/// Messages in one transaction: its locks are held for some hundredths of a second.
const MANY: usize = 200;

/// The rest after a batch, in which the door has the database for itself.
pub const REST: Duration = Duration::from_millis(100);

/// Batches in a row in which there was nothing left to do; then the next pass goes on.
const IDLE: usize = 100;

/// A message that comes this much later than it was sent is found all the same.
const LATE: TimeDelta = TimeDelta::days(30);

/// Erases what is due by rules. Clones share everything.
#[derive(Clone, Debug)]
pub struct Retention {
    pool: PgPool,
    clock: Clock,
}

impl Retention {
    /// Takes its handles.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Erases all that is due, with a rest after each batch, until `stop`. Returns how much that was.
    ///
    /// # Errors
    /// The database's; what was erased until then stays so.
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
                    // Another replica, or a hold that was just set, was there first. Not for ever.
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

    /// Erases some; the answer is where to go on, and how much it was. `None`: nothing is left, or the rule is off.
    async fn batch(
        &self,
        task: &Task,
        events: bool,
        from: Uuid,
    ) -> sqlx::Result<Option<(Uuid, usize)>> {
        let now = self.clock.now();
        let since = task
            .done_before
            .map_or(DateTime::UNIX_EPOCH, |done| done - LATE);
        let limit = MANY as i64;
        // Looked for outside of the transaction, which holds its locks for as short as it can.
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
        let mut places: Vec<Uuid> = due.iter().map(|due| due.conversation_id).collect();
        places.dedup();
        let held = holds::held(&mut tx, &places, false).await?;
        let due: Vec<Due> = due
            .into_iter()
            .filter(|due| !held.contains(&due.conversation_id))
            .collect();
        let ids: Vec<&str> = due
            .iter()
            .filter_map(|due| due.message_id.as_deref())
            .collect();
        messages::entomb(&mut tx, task.channel_id, &ids, "retention", now).await?;
        let channel = task.channel_id;
        let targets: Vec<NewErasure<'_>> = due
            .iter()
            .map(|due| {
                NewErasure::of(
                    channel,
                    due.conversation_id,
                    due.id,
                    due.message_id.as_deref(),
                    now,
                )
            })
            .collect();
        let count = erase(&mut tx, &targets, Cause::Retention(task.id), now).await?;
        news::tell(&mut tx, &places).await?;
        tx.commit().await?;
        Ok(Some((next, count)))
    }
}
