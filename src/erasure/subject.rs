//! One person, everywhere: what they said, what is known of them, who they are among.
//!
//! The request is on record before anything is erased; a crash leaves it unfinished, and it is taken up again. What the
//! person sends after they have asked is not of this request: it begins a new acquaintance.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::erase;
use crate::{
    clock::Clock,
    records::{
        erasures::{self, Cause, Erased, NewErasure},
        holds, messages, news,
        subjects::{self, From, Task, Theirs},
    },
};

/// Messages in one transaction.
const MANY: usize = 200;

/// Works off what people have asked for. Clones share everything.
#[derive(Clone, Debug)]
pub struct Subjects {
    pool: PgPool,
    clock: Clock,
}

impl Subjects {
    /// Takes its handles.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Erases all that was asked for, with a rest after each batch, until `stop`; what a hold covers waits
    /// for its end. Returns how much
    /// that was.
    ///
    /// # Errors
    /// The database's; what was erased until then stays so, the rest is left for another time.
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
        let until = task.erase_asked_at.unwrap_or(now);
        let mut conn = self.pool.acquire().await?;
        let limit = MANY as i64;
        let found = match events {
            false => subjects::messages(&mut conn, task, until, from, limit).await?,
            true => subjects::events(&mut conn, task, until, from, limit).await?,
        };
        drop(conn);
        let Some(last) = found.last() else {
            return Ok(None);
        };
        let next = last.end();
        let last = found.len() < MANY;
        let mut places: Vec<Uuid> = found.iter().map(|one| one.conversation_id).collect();
        places.dedup();
        let mut tx = self.pool.begin().await?;
        holds::enter(&mut tx).await?;
        let held = holds::held(&mut tx, &places, true).await?;
        let found: Vec<Theirs> = found
            .into_iter()
            .filter(|one| !held.contains(&one.conversation_id))
            .collect();
        let ids: Vec<&str> = found
            .iter()
            .filter_map(|one| one.message_id.as_deref())
            .collect();
        let channel = task.channel_id;
        messages::entomb(&mut tx, channel, &ids, "subject", now).await?;
        let targets: Vec<NewErasure<'_>> = found
            .iter()
            .map(|one| {
                NewErasure::of(
                    channel,
                    one.conversation_id,
                    one.id,
                    one.message_id.as_deref(),
                    until,
                )
            })
            .collect();
        let erased = erase(&mut tx, &targets, Cause::Subject(task.id), now).await?;
        let count = i32::try_from(erased).unwrap_or(i32::MAX);
        let (messages, others) = if events { (0, count) } else { (count, 0) };
        // Last: whoever asks for something of this person waits for no more than this.
        subjects::count(&mut tx, task.id, messages, others).await?;
        news::tell(&mut tx, &places).await?;
        tx.commit().await?;
        Ok(Some(Batch {
            next,
            erased,
            held: !held.is_empty(),
            last,
        }))
    }

    /// What is known of the person themselves, once nothing else is left.
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
            asked_at: task.erase_asked_at.unwrap_or(now),
        };
        let asked = erasures::ask(&mut tx, &[person], Cause::Subject(task.id), now).await?;
        let Some(asked) = asked.first() else {
            return Ok(false);
        };
        subjects::empty(&mut tx, task, asked, now).await?;
        super::tell(&mut tx, &[*asked], now).await?;
        tx.commit().await?;
        Ok(true)
    }
}

struct Batch {
    next: From,
    erased: usize,
    /// A hold keeps some of it.
    held: bool,
    /// There was no more.
    last: bool,
}
