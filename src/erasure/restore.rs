//! After a restore from a backup the database is older than the ledger's copies. What was erased since is erased again
//! before anybody can see it, and the ledger goes on where it was.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::copies::{self, Copies};
use crate::{
    clock::Clock,
    ledger::{
        Hash, Kind, Record,
        tree::{Frontier, leaf_hash},
    },
    records::{
        channels,
        erasures::NewErasure,
        ledger::{self, Checkpoint},
        messages::{self, Mention},
    },
};

/// Records replayed in one transaction.
const MANY: usize = 200;

/// Why the service must not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The copies.
    #[error(transparent)]
    Copies(#[from] copies::Error),
    /// The database's ledger is not the beginning of the signed one.
    #[error(
        "the ledger in the database contradicts its signed copy: it was altered, or belongs to another archive. \
         Nothing was changed. `erasures verify` says where"
    )]
    Contradicted,
}

/// Replays what the copies have and the database lacks. Returns how many erasures that were; 0 where nothing is missing.
///
/// # Errors
/// The port must not be opened then: erased messages might be shown.
pub async fn replay(pool: &PgPool, clock: &Clock, copies: &Copies) -> Result<usize, Error> {
    let Some((head, place)) = copies.newest().await? else {
        return Ok(0);
    };
    let mut conn = pool.acquire().await?;
    let size = ledger::size(&mut conn).await?;
    let mut tree = Frontier::new();
    while tree.size() < size.min(head.size) {
        for leaf in ledger::leaves(&mut conn, tree.size()).await? {
            if tree.size() < head.size {
                tree.push(leaf);
            }
        }
    }
    let records = Copies::records(&place, tree.size(), head.size).await?;
    let leaves: Vec<Hash> = records.iter().map(|record| leaf_hash(record)).collect();
    let mut whole = tree.clone();
    leaves.iter().for_each(|leaf| whole.push(*leaf));
    if whole.root() != head.root {
        return Err(Error::Contradicted);
    }
    let now = clock.now();
    let mut erased = 0;
    drop(conn);
    for (records, leaves) in records.chunks(MANY).zip(leaves.chunks(MANY)) {
        let mut tx = pool.begin().await?;
        erased += erase(&mut tx, records, now).await?;
        ledger::append(&mut tx, tree.size(), records, leaves, None, now).await?;
        tx.commit().await?;
        leaves.iter().for_each(|leaf| tree.push(*leaf));
    }
    if !records.is_empty() {
        let mut conn = pool.acquire().await?;
        let checkpoint = Checkpoint {
            size: i64::try_from(head.size).unwrap_or(i64::MAX),
            root: head.root.to_vec(),
            note: head.note,
            made_at: now,
        };
        ledger::keep_checkpoint(&mut conn, &checkpoint).await?;
    }
    Ok(erased)
}

async fn erase(
    db: &mut PgConnection,
    records: &[Vec<u8>],
    now: DateTime<Utc>,
) -> Result<usize, Error> {
    let mut asked = vec![];
    for bytes in records {
        let record = Record::parse(bytes).ok_or(copies::Error::Damaged)?;
        let (Kind::Requested, Some(slug), Some(message_id)) =
            (record.kind, &record.channel, &record.message_id)
        else {
            continue;
        };
        // A channel that the backup does not know has nothing in it.
        if let Some(channel_id) = channels::known(db, slug).await? {
            asked.push((channel_id, message_id.clone(), record));
        }
    }
    asked.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    asked.dedup_by(|one, other| (one.0, &one.1) == (other.0, &other.1));
    if asked.is_empty() {
        return Ok(0);
    }
    let at = |record: &Record| {
        let asked = record.asked_at.and_then(DateTime::from_timestamp_millis);
        asked.unwrap_or(now)
    };
    let mentions: Vec<Mention<'_>> = asked
        .iter()
        .map(|(channel_id, message_id, record)| Mention {
            channel_id: *channel_id,
            message_id,
            conversation_id: record.conversation,
            occurred_at: None,
            unsent_at: Some(at(record)),
        })
        .collect();
    let refs = messages::meet(db, &mentions).await?;
    let erasures: Vec<NewErasure<'_>> = asked
        .iter()
        .filter_map(|(channel_id, message_id, record)| {
            let found = refs
                .iter()
                .find(|found| found.channel_id == *channel_id && found.message_id == *message_id)?;
            Some(NewErasure {
                id: record.erasure,
                channel_id: *channel_id,
                message_id,
                message: found.id,
                conversation_id: found.conversation_id,
                webhook_event_id: record.trigger.as_deref().unwrap_or_default(),
                asked_at: at(record),
            })
        })
        .collect();
    super::unsend_again(db, &erasures, now).await?;
    Ok(erasures.len())
}
