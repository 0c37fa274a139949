//! Unsends under a hold that covers unsends. The message disappears at once, like any unsent message, from every page
//! but that of the hold, and is kept, sealed, for compliance staff until the hold ends. Then it is erased as if it had
//! been unsent at that moment.
//!
//! A message that arrives only after its unsend is not kept, with or without a hold: it was never in the archive.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{append_record, erase_rows};
use crate::{
    clock::Clock,
    ledger::{Kind, Record},
    records::{
        channels,
        erasures::{self, Cause, Erased, NewErasure},
        exports, holds, ledger, messages, notify,
        withheld::{self, Freed},
    },
};

/// Messages in one transaction.
const BATCH_MESSAGES: i64 = 200;

/// Withholds the messages whose unsend a hold covers. Returns the unsends that are left to be erased; messages that
/// were withheld already are not among them.
pub(super) async fn withhold<'a>(
    db: &mut PgConnection,
    unsends: &[NewErasure<'a>],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<NewErasure<'a>>> {
    let ids: Vec<Uuid> = unsends.iter().map(|one| one.target).collect();
    let kept: HashMap<Uuid, Option<Uuid>> = withheld::covered(db, &ids)
        .await?
        .into_iter()
        .map(|kept| (kept.message, kept.hold))
        .collect();
    let (mut left, mut new, mut by) = (vec![], vec![], vec![]);
    for unsend in unsends {
        match kept.get(&unsend.target) {
            None => left.push(*unsend),
            Some(None) => {}
            Some(Some(hold)) => {
                new.push(*unsend);
                by.push(*hold);
            }
        }
    }
    if !new.is_empty() {
        let ids: Vec<Uuid> = new.iter().map(|one| one.target).collect();
        erasures::lock(db, &ids).await?;
        let affected = exports::affected(db, &ids).await?;
        exports::take_back(db, &affected, now).await?;
        withheld::keep(db, &new, &by, now).await?;
        let channels: Vec<i32> = new.iter().map(|one| one.channel_id).collect();
        let slugs: HashMap<i32, String> =
            channels::slugs(db, &channels).await?.into_iter().collect();
        let records: Vec<Record> = new
            .iter()
            .zip(&by)
            .map(|(one, hold)| record(one, *hold, slugs.get(&one.channel_id), now))
            .collect();
        ledger::pend(db, &records, now).await?;
    }
    Ok(left)
}

fn record(
    unsend: &NewErasure<'_>,
    hold: Uuid,
    slug: Option<&String>,
    now: DateTime<Utc>,
) -> Record {
    let message_id = match unsend.erased {
        Erased::Message(id) => Some(id.to_owned()),
        _ => None,
    };
    Record {
        message_id,
        cause: Some(Cause::Unsend.word().to_owned()),
        trigger: Some(format!(
            "{} {hold}",
            unsend.webhook_event_id.unwrap_or_default()
        )),
        asked_at: Some(unsend.requested_at.timestamp_millis()),
        ..ledger::record(
            Kind::Withheld,
            unsend.id,
            slug.cloned(),
            unsend.conversation_id,
            now,
        )
    }
}

/// Erases withheld messages after their hold is lifted. Clones share everything.
#[derive(Clone, Debug)]
pub struct Withheld {
    pool: PgPool,
    clock: Clock,
}

impl Withheld {
    /// Takes the database pool and the clock.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Erases everything that no hold keeps any longer, with the pause `rest` after each batch, until `stop` is
    /// cancelled. A message that another hold covers is handed over to that hold. Returns how many messages were erased
    /// or handed over.
    ///
    /// # Errors
    /// The database fails. Earlier batches stay done.
    pub async fn free(&self, rest: Duration, stop: &CancellationToken) -> sqlx::Result<usize> {
        let mut done = 0;
        while !stop.is_cancelled() {
            match self.batch().await? {
                0 => break,
                some => done += some,
            }
            tokio::time::sleep(rest).await;
        }
        Ok(done)
    }

    async fn batch(&self) -> sqlx::Result<usize> {
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        let found = withheld::freed(&mut conn, None, BATCH_MESSAGES).await?;
        drop(conn);
        let Some(first) = found.first() else {
            return Ok(0);
        };
        let mut tx = self.pool.begin().await?;
        holds::enter(&mut tx).await?;
        let ids: Vec<&str> = found.iter().map(|one| one.message_id.as_str()).collect();
        messages::lock(&mut tx, first.channel_id, &ids).await?;
        // Another replica may have handled some of them first.
        let ours: Vec<Uuid> = found.iter().map(|one| one.message).collect();
        let found = withheld::freed(&mut tx, Some(&ours), BATCH_MESSAGES).await?;
        let messages: Vec<Uuid> = found.iter().map(|one| one.message).collect();
        let places: Vec<Uuid> = found
            .iter()
            .map(|one| one.next.unwrap_or(one.conversation_id))
            .collect();
        withheld::give(&mut tx, &messages, &places).await?;
        let unsends: Vec<NewErasure<'_>> = found
            .iter()
            .filter(|one| one.next.is_none())
            .map(unsend)
            .collect();
        if !unsends.is_empty() {
            let asked = erase_rows(&mut tx, &unsends, Cause::Unsend, now).await?;
            append_record(&mut tx, &asked, now).await?;
        }
        // The pages of holds show these messages and must be refreshed.
        let shown: HashSet<Uuid> = found.iter().map(|one| one.conversation_id).collect();
        notify::conversations_changed(&mut tx, &Vec::from_iter(shown)).await?;
        tx.commit().await?;
        Ok(found.len())
    }
}

fn unsend(freed: &Freed) -> NewErasure<'_> {
    NewErasure {
        id: freed.erasure_id,
        channel_id: freed.channel_id,
        erased: Erased::Message(&freed.message_id),
        target: freed.message,
        conversation_id: Some(freed.conversation_id),
        webhook_event_id: freed.webhook_event_id.as_deref(),
        requested_at: freed.requested_at,
    }
}
