//! The ledger's rows. The module `ledger` defines what a record says; `erasure` decides when records are sealed, and by
//! which process.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Result};
use uuid::Uuid;

use super::locks;
use crate::ledger::{Hash, Kind, Record};

/// Name and version of the program, for every record.
const SOFTWARE: &str = concat!("line-chat-archive ", env!("CARGO_PKG_VERSION"));

/// A record of format version 1 with only these fields set.
pub fn record(
    kind: Kind,
    id: Uuid,
    channel: Option<String>,
    conversation: Option<Uuid>,
    now: DateTime<Utc>,
) -> Record {
    Record {
        v: 1,
        kind,
        erasure: id,
        channel,
        message_id: None,
        event: None,
        conversation,
        cause: None,
        trigger: None,
        asked_at: None,
        at: now.timestamp_millis(),
        rows: None,
        objects: None,
        keys: None,
        software: SOFTWARE.to_owned(),
    }
}

/// Adds pending records, in the caller's transaction.
pub async fn pend(conn: &mut PgConnection, records: &[Record], now: DateTime<Utc>) -> Result<()> {
    let bytes: Vec<Vec<u8>> = records.iter().map(Record::to_bytes).collect();
    sqlx::query("insert into ledger_pending (record, created_at) select record, $2 from unnest($1::bytea[]) as record")
        .bind(bytes)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct Erased {
    id: Uuid,
    slug: String,
    message_id: Option<String>,
    event_id: Option<Uuid>,
    conversation_id: Option<Uuid>,
    cause: String,
    trigger: Option<String>,
    requested_at: DateTime<Utc>,
    rows_gone_at: DateTime<Utc>,
    rows_erased: i32,
    objects_found: i32,
    objects_gone_at: Option<DateTime<Utc>>,
    keys_found: i32,
    keys_gone_at: Option<DateTime<Utc>>,
}

impl Erased {
    fn record(&self, kind: Kind) -> Option<Record> {
        let at = match kind {
            Kind::Purged => self.objects_gone_at?,
            Kind::KeysDestroyed => self.keys_gone_at?,
            _ => self.rows_gone_at,
        };
        let (channel, conversation) = (Some(self.slug.clone()), self.conversation_id);
        Some(Record {
            message_id: self.message_id.clone(),
            event: self.event_id,
            cause: Some(self.cause.clone()),
            trigger: self.trigger.clone(),
            asked_at: Some(self.requested_at.timestamp_millis()),
            rows: (kind == Kind::Requested).then_some(self.rows_erased.into()),
            objects: (kind != Kind::KeysDestroyed).then_some(self.objects_found.into()),
            keys: (kind != Kind::Purged).then_some(self.keys_found.into()),
            ..record(kind, self.id, channel, conversation, at)
        })
    }
}

/// Adds pending records about these erasures: for each erasure one of each kind, if it has reached that stage.
pub async fn append_pending(
    conn: &mut PgConnection,
    erasures: &[Uuid],
    kinds: &[Kind],
    now: DateTime<Utc>,
) -> Result<()> {
    if erasures.is_empty() {
        return Ok(());
    }
    let rows: Vec<Erased> = sqlx::query_as(
        "select e.id, c.slug, message_id, event_id, conversation_id, cause, requested_at, rows_gone_at,
             case cause when 'unsend' then webhook_event_id
                 else concat_ws(' ', rule_id, request_id, operator_id, contact_id, reason) end as trigger,
             rows_erased, objects_found, objects_gone_at, keys_found, keys_gone_at
         from erasure e join channel c on c.id = e.channel_id where e.id = any($1) order by e.id",
    )
    .bind(erasures)
    .fetch_all(&mut *conn)
    .await?;
    let records: Vec<Record> = rows
        .iter()
        .flat_map(|row| kinds.iter().filter_map(|kind| row.record(*kind)))
        .collect();
    pend(conn, &records, now).await
}

/// Takes the ledger signer's lock until the transaction ends. `false`: another process holds it.
pub async fn try_lock(conn: &mut PgConnection) -> Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(locks::LEDGER)
        .fetch_one(conn)
        .await
}

/// Takes the lock of the copies until the session ends. `false`: another process holds it. The server ends the session if it is
/// silent for a minute, so that a connection that was lost does not keep the lock.
pub async fn try_lock_copies(conn: &mut PgConnection) -> Result<bool> {
    sqlx::query("set idle_session_timeout = '1min'")
        .execute(&mut *conn)
        .await?;
    sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(locks::LEDGER_COPIES)
        .fetch_one(conn)
        .await
}

/// Number of records in the ledger.
pub async fn size(conn: &mut PgConnection) -> Result<u64> {
    let size: i64 = sqlx::query_scalar("select coalesce(max(seq) + 1, 0) from ledger")
        .fetch_one(conn)
        .await?;
    Ok(u64::try_from(size).unwrap_or_default())
}

/// Leaf hashes from number `from` on, in their order, at most 10,000.
pub async fn leaves(conn: &mut PgConnection, from: u64) -> Result<Vec<Hash>> {
    let rows: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select seq, leaf from ledger where seq >= $1 order by seq limit 10000")
            .bind(i64::try_from(from).unwrap_or(i64::MAX))
            .fetch_all(conn)
            .await?;
    rows.into_iter()
        .enumerate()
        .map(|(nth, (seq, leaf))| {
            let next = u64::try_from(seq) == Ok(from + nth as u64);
            let leaf = Hash::try_from(leaf).ok().filter(|_| next);
            leaf.ok_or_else(|| {
                sqlx::Error::Decode(
                    "the ledger has a gap, or a leaf that is not 32 bytes long".into(),
                )
            })
        })
        .collect()
}

/// The first record number that is missing although a later one exists, or whose leaf is not 32 bytes long.
pub async fn first_gap(conn: &mut PgConnection) -> Result<Option<u64>> {
    let first: Option<i64> = sqlx::query_scalar(
        "select min(place) from (
             select seq, leaf, row_number() over (order by seq) - 1 as place from ledger
         ) numbered where seq <> place or octet_length(leaf) <> 32",
    )
    .fetch_one(conn)
    .await?;
    Ok(first.and_then(|place| u64::try_from(place).ok()))
}

/// Bytes of the records from number `from` until before `until`, in their order, at most 10,000.
pub async fn records(conn: &mut PgConnection, from: u64, until: u64) -> Result<Vec<Vec<u8>>> {
    sqlx::query_scalar(
        "select record from ledger where seq >= $1 and seq < $2 order by seq limit 10000",
    )
    .bind(i64::try_from(from).unwrap_or(i64::MAX))
    .bind(i64::try_from(until).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await
}

/// Numbers of the records that were sealed from `from` until before `until`: that of the first, and the one after the
/// last.
pub async fn sealed_between(
    conn: &mut PgConnection,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> Result<(u64, u64)> {
    let (first, behind): (i64, i64) = sqlx::query_as(
        "select coalesce(min(seq), 0), coalesce(max(seq) + 1, 0) from ledger
         where ($1::timestamptz is null or sealed_at >= $1) and ($2::timestamptz is null or sealed_at < $2)",
    )
    .bind(from)
    .bind(until)
    .fetch_one(conn)
    .await?;
    Ok((
        u64::try_from(first).unwrap_or_default(),
        u64::try_from(behind).unwrap_or_default(),
    ))
}

/// Up to `limit` pending records with their ids, in the order in which they are to be sealed.
pub async fn pending(conn: &mut PgConnection, limit: i64) -> Result<Vec<(i64, Vec<u8>)>> {
    sqlx::query_as("select id, record from ledger_pending order by id limit $1")
        .bind(limit)
        .fetch_all(conn)
        .await
}

/// Number of pending records, and when the oldest of them was written.
pub async fn backlog(conn: &mut PgConnection) -> Result<(i64, Option<DateTime<Utc>>)> {
    sqlx::query_as("select count(*), min(created_at) from ledger_pending")
        .fetch_one(conn)
        .await
}

/// Appends records with their leaves (parallel slices) from number `from` on, and deletes them from the pending ones:
/// by their ids in `pending`, or (`None`) by their bytes.
pub async fn append(
    conn: &mut PgConnection,
    from: u64,
    records: &[Vec<u8>],
    leaves: &[Hash],
    pending: Option<&[i64]>,
    now: DateTime<Utc>,
) -> Result<()> {
    let erasures: Vec<Option<Uuid>> = records
        .iter()
        .map(|bytes| Record::parse(bytes).map(|record| record.erasure))
        .collect();
    sqlx::query(
        "insert into ledger (seq, record, leaf, erasure_id, sealed_at)
         select $1 + place - 1, record, leaf, erasure_id, $5
         from unnest($2::bytea[], $3::bytea[], $4::uuid[]) with ordinality as r (record, leaf, erasure_id, place)",
    )
    .bind(i64::try_from(from).unwrap_or(i64::MAX))
    .bind(records)
    .bind(leaves.iter().map(Hash::as_slice).collect::<Vec<_>>())
    .bind(erasures)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    match pending {
        Some(ids) => {
            sqlx::query("delete from ledger_pending where id = any($1)")
                .bind(ids)
                .execute(conn)
                .await?
        }
        None => {
            sqlx::query("delete from ledger_pending where record = any($1)")
                .bind(records)
                .execute(conn)
                .await?
        }
    };
    Ok(())
}

/// A checkpoint: the signed size and root hash of the ledger (C2SP tlog-checkpoint).
#[derive(FromRow, Clone, Debug)]
pub struct Checkpoint {
    /// Number of records it covers.
    pub size: i64,
    /// Root hash of the tree.
    pub root: Vec<u8>,
    /// The signed note.
    pub note: String,
    /// When it was signed.
    pub made_at: DateTime<Utc>,
}

/// The newest checkpoint.
pub async fn newest_checkpoint(conn: &mut PgConnection) -> Result<Option<Checkpoint>> {
    sqlx::query_as(
        "select size, root, note, made_at from checkpoint order by size desc, made_at desc limit 1",
    )
    .fetch_optional(conn)
    .await
}

/// True if a checkpoint of this size and root was signed here.
pub async fn has_signed(conn: &mut PgConnection, size: u64, root: &Hash) -> Result<bool> {
    sqlx::query_scalar("select exists (select from checkpoint where size = $1 and root = $2)")
        .bind(i64::try_from(size).unwrap_or(i64::MAX))
        .bind(root.as_slice())
        .fetch_one(conn)
        .await
}

/// All checkpoints, the oldest first.
pub async fn checkpoints(conn: &mut PgConnection) -> Result<Vec<Checkpoint>> {
    sqlx::query_as("select size, root, note, made_at from checkpoint order by size, made_at")
        .fetch_all(conn)
        .await
}

/// Inserts a checkpoint.
pub async fn insert_checkpoint(conn: &mut PgConnection, made: &Checkpoint) -> Result<()> {
    sqlx::query("insert into checkpoint (size, root, note, made_at) values ($1, $2, $3, $4)")
        .bind(made.size)
        .bind(&made.root)
        .bind(&made.note)
        .bind(made.made_at)
        .execute(conn)
        .await?;
    Ok(())
}

/// The records of an erasure, with their numbers.
pub async fn of_erasure(conn: &mut PgConnection, erasure: Uuid) -> Result<Vec<(i64, Vec<u8>)>> {
    sqlx::query_as("select seq, record from ledger where erasure_id = $1 order by seq")
        .bind(erasure)
        .fetch_all(conn)
        .await
}
