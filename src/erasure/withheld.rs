//! Unsends under a hold that says it covers them: the message leaves every page at once, as any that is unsent, and is
//! kept, sealed, for compliance staff until the hold ends. Then it is erased as if it had been unsent in that moment.
//!
//! A message that comes only after its unsend is not kept, hold or not: it was never in the archive.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{go, tell};
use crate::{
    clock::Clock,
    ledger::{Kind, Record},
    records::{
        channels,
        erasures::{self, Cause, Erased, NewErasure},
        exports, holds, ledger, messages, news,
        withheld::{self, Freed},
    },
};

/// Messages in one transaction.
const MANY: i64 = 200;

/// Withholds what a hold covers. The answer is what is left to be erased.
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
        asked_at: Some(unsend.asked_at.timestamp_millis()),
        ..ledger::record(
            Kind::Withheld,
            unsend.id,
            slug.cloned(),
            unsend.conversation_id,
            now,
        )
    }
}

/// Erases what holds have kept, once they are lifted. Clones share everything.
#[derive(Clone, Debug)]
pub struct Withheld {
    pool: PgPool,
    clock: Clock,
}

impl Withheld {
    /// Takes its handles.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Erases all that no hold keeps any more, with a rest after each batch, until `stop`; what another hold covers goes to
    /// that. Returns how much it dealt with.
    ///
    /// # Errors
    /// The database's; what was done until then stays so.
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
        let found = withheld::freed(&mut conn, None, MANY).await?;
        drop(conn);
        let Some(first) = found.first() else {
            return Ok(0);
        };
        let mut tx = self.pool.begin().await?;
        holds::enter(&mut tx).await?;
        let ids: Vec<&str> = found.iter().map(|one| one.message_id.as_str()).collect();
        messages::lock(&mut tx, first.channel_id, &ids).await?;
        // Another replica may have been there first.
        let ours: Vec<Uuid> = found.iter().map(|one| one.message).collect();
        let found = withheld::freed(&mut tx, Some(&ours), MANY).await?;
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
            let asked = go(&mut tx, &unsends, Cause::Unsend, now).await?;
            tell(&mut tx, &asked, now).await?;
        }
        // The pages of holds show them.
        let shown: HashSet<Uuid> = found.iter().map(|one| one.conversation_id).collect();
        news::tell(&mut tx, &Vec::from_iter(shown)).await?;
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
        asked_at: freed.asked_at,
    }
}
