//! What is known of the keyring's keys: whose they are, and which have to go.

use std::{io, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection, Result};
use uuid::Uuid;

use super::ledger;
use crate::{
    ledger::Kind,
    seal::{Keyring, Taken},
};

/// How long [`key_for`] waits for keys that are being made.
const PATIENCE: Duration = Duration::from_secs(2);

/// A key for `items` more documents of `subject`, open until the caller's transaction ends; the caller tells the keyring
/// by [`Keyring::claimed`] when it has committed. For those who may wait: ingest takes its keys by the batch.
pub async fn key_for(
    conn: &mut PgConnection,
    keyring: &Keyring,
    subject: Uuid,
    items: u32,
    now: DateTime<Utc>,
) -> Result<Taken> {
    loop {
        let taken = tokio::time::timeout(PATIENCE, keyring.take_soon(subject, items)).await;
        let taken = taken.map_err(|_| sqlx::Error::Io(io::ErrorKind::TimedOut.into()))?;
        let id = taken.key.id();
        let ours = taken.claimed || !claim(conn, &[id], &[subject], now).await?.is_empty();
        if ours && !open(conn, &[id]).await?.is_empty() {
            return Ok(taken);
        }
        keyring.forget(id);
    }
}

/// Puts keys on record that are about to be made, as spare keys of the caller's until `lease_until`.
pub async fn announce(
    conn: &mut PgConnection,
    ids: &[Uuid],
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "insert into keyring_key (id, lease_until, made_at) select id, $2, $3 from unnest($1::uuid[]) as id",
    )
    .bind(ids)
    .bind(lease_until)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes back what was announced and could not be made.
pub async fn withdraw(conn: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    sqlx::query("delete from keyring_key where id = any($1) and subject is null")
        .bind(ids)
        .execute(conn)
        .await?;
    Ok(())
}

/// Keeps spare keys the caller's until `lease_until`. Those not in the answer are so no more.
pub async fn hold(
    conn: &mut PgConnection,
    ids: &[Uuid],
    lease_until: DateTime<Utc>,
) -> Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "update keyring_key set lease_until = $2 where id = any($1) and subject is null returning id",
    )
    .bind(ids)
    .bind(lease_until)
    .fetch_all(conn)
    .await
}

/// Makes up to `limit` spare keys the caller's that nobody has held since `before`.
pub async fn adopt(
    conn: &mut PgConnection,
    limit: i64,
    before: DateTime<Utc>,
    lease_until: DateTime<Utc>,
) -> Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "update keyring_key set lease_until = $3 where id in (
             select id from keyring_key where subject is null and lease_until <= $2
             limit $1 for update skip locked)
         returning id",
    )
    .bind(limit)
    .bind(before)
    .bind(lease_until)
    .fetch_all(conn)
    .await
}

/// Gives keys to their subjects (parallel slices): once for each key, and again for the same subject. Those not in the
/// answer are somebody else's, or closed. The rows are locked until the transaction ends.
pub async fn claim(
    conn: &mut PgConnection,
    ids: &[Uuid],
    subjects: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "update keyring_key k set subject = w.subject, taken_at = coalesce(taken_at, $3)
         from (select * from unnest($1::uuid[], $2::uuid[]) as w (id, subject) order by id) w
         where k.id = w.id and (k.subject is null or k.subject = w.subject) and k.closed_at is null
         returning k.id",
    )
    .bind(ids)
    .bind(subjects)
    .bind(now)
    .fetch_all(conn)
    .await
}

/// Those of the keys that something may be sealed under; so it stays until the transaction ends.
pub async fn open(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    sqlx::query_scalar("select unnest(keys_open($1))")
        .bind(ids)
        .fetch_all(conn)
        .await
}

/// The key that was last given to a conversation or contact; `None` in an archive that holds nothing.
pub async fn newest_in_use(conn: &mut PgConnection) -> Result<Option<Uuid>> {
    sqlx::query_scalar(
        "select id from keyring_key where subject is not null and closed_at is null order by taken_at desc limit 1",
    )
    .fetch_optional(conn)
    .await
}

/// A key that is to be destroyed.
#[derive(sqlx::FromRow, Clone, Copy, Debug)]
pub struct Closed {
    /// The key.
    pub id: Uuid,
    /// The conversation or contact it was for.
    pub subject: Uuid,
}

/// Closes keys under which something was erased, if they were taken before `taken_before`: a conversation that is
/// erased from again and again gets a new key that often, and no more.
pub async fn close(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    taken_before: DateTime<Utc>,
) -> Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "update keyring_key set closed_at = $1 where id in (
             select id from keyring_key
             where dirty_at is not null and closed_at is null and taken_at <= $2
             order by dirty_at limit 500 for update skip locked)
         returning id",
    )
    .bind(now)
    .bind(taken_before)
    .fetch_all(conn)
    .await
}

/// Waits until no transaction is left that found a key open before now. To be called in a transaction.
pub async fn barrier(conn: &mut PgConnection) -> Result<()> {
    // Whoever wants to seal meanwhile waits behind this: not for long.
    sqlx::query("set local lock_timeout = '100ms'")
        .execute(&mut *conn)
        .await?;
    sqlx::query("select pg_advisory_xact_lock(726593041)")
        .execute(conn)
        .await?;
    Ok(())
}

/// Keys that were closed before `before`, in no order: one that cannot be destroyed yet must not stand before others.
pub async fn closed(
    conn: &mut PgConnection,
    limit: i64,
    before: DateTime<Utc>,
) -> Result<Vec<Closed>> {
    sqlx::query_as(
        "select id, subject from keyring_key where closed_at < $2 order by random() limit $1",
    )
    .bind(limit)
    .bind(before)
    .fetch_all(conn)
    .await
}

/// A table whose documents are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Messages.
    Revision,
    /// Other events.
    Event,
    /// Profiles.
    Contact,
    /// Group summaries.
    Conversation,
    /// Objects.
    Object,
}

/// All of them.
pub const TABLES: [Table; 5] = [
    Table::Revision,
    Table::Event,
    Table::Contact,
    Table::Conversation,
    Table::Object,
];

/// A document that survives its key: where its row is until the transaction ends, and its head.
#[derive(sqlx::FromRow)]
pub struct Survivor {
    /// `ctid`, as text.
    pub row: String,
    /// The head.
    pub head: Vec<u8>,
}

/// Up to 500 documents under this key, locked. Passes over those that somebody else has locked.
pub async fn survivors(conn: &mut PgConnection, table: Table, key: Uuid) -> Result<Vec<Survivor>> {
    let sql = match table {
        Table::Revision => {
            "select ctid::text as row, substring(content for 89) as head from revision
             where key_of(content) = $1 limit 500 for update skip locked"
        }
        Table::Event => {
            "select ctid::text as row, substring(content for 89) as head from event
             where key_of(content) = $1 limit 500 for update skip locked"
        }
        Table::Contact => {
            "select ctid::text as row, substring(profile for 89) as head from contact
             where profile is not null and key_of(profile) = $1 limit 500 for no key update skip locked"
        }
        Table::Conversation => {
            "select ctid::text as row, substring(summary for 89) as head from conversation
             where summary is not null and key_of(summary) = $1 limit 500 for no key update skip locked"
        }
        Table::Object => {
            "select ctid::text as row, sealed_key as head from object
             where sealed_key is not null and key_of(sealed_key) = $1 limit 500 for update skip locked"
        }
    };
    sqlx::query_as(sql)
        .bind(key.as_bytes().as_slice())
        .fetch_all(conn)
        .await
}

/// Gives survivors their new heads (parallel slices), in the transaction that has found them.
pub async fn rewrap(
    conn: &mut PgConnection,
    table: Table,
    rows: &[String],
    heads: &[Vec<u8>],
) -> Result<()> {
    let sql = match table {
        Table::Revision => {
            "update revision t set content = w.head || substring(content from 90)
             from unnest($1::text[], $2::bytea[]) as w (place, head) where t.ctid = w.place::tid"
        }
        Table::Event => {
            "update event t set content = w.head || substring(content from 90)
             from unnest($1::text[], $2::bytea[]) as w (place, head) where t.ctid = w.place::tid"
        }
        Table::Contact => {
            "update contact t set profile = w.head || substring(profile from 90)
             from unnest($1::text[], $2::bytea[]) as w (place, head) where t.ctid = w.place::tid"
        }
        Table::Conversation => {
            "update conversation t set summary = w.head || substring(summary from 90)
             from unnest($1::text[], $2::bytea[]) as w (place, head) where t.ctid = w.place::tid"
        }
        Table::Object => {
            "update object t set sealed_key = w.head
             from unnest($1::text[], $2::bytea[]) as w (place, head) where t.ctid = w.place::tid"
        }
    };
    sqlx::query(sql)
        .bind(rows)
        .bind(heads)
        .execute(conn)
        .await?;
    Ok(())
}

/// True if something is sealed under the key, whoever has it locked.
pub async fn in_use(conn: &mut PgConnection, key: Uuid) -> Result<bool> {
    sqlx::query_scalar(
        "select exists (select from revision where key_of(content) = $1)
             or exists (select from event where key_of(content) = $1)
             or exists (select from contact where profile is not null and key_of(profile) = $1)
             or exists (select from conversation where summary is not null and key_of(summary) = $1)
             or exists (select from object where sealed_key is not null and key_of(sealed_key) = $1)",
    )
    .bind(key.as_bytes().as_slice())
    .fetch_one(conn)
    .await
}

/// Ends what waits for keys that are gone already: an erasure may have named one in the moment in which it was destroyed.
pub async fn heal(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<()> {
    let gone: Vec<Uuid> = sqlx::query_scalar(
        "select distinct key_id from erasure_key e where not exists (select from keyring_key where id = e.key_id)",
    )
    .fetch_all(&mut *conn)
    .await?;
    for key in gone {
        let mut tx = conn.begin().await?;
        self::gone(&mut tx, key, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The key is confirmed gone. With the last one of an erasure, notes there, and in the ledger, that all are gone
/// at `now`. To be called in a transaction.
pub async fn gone(conn: &mut PgConnection, key: Uuid, now: DateTime<Utc>) -> Result<()> {
    sqlx::query("delete from keyring_key where id = $1")
        .bind(key)
        .execute(&mut *conn)
        .await?;
    // Locked first, so that of two last keys one is the last.
    let waiting: Vec<Uuid> = sqlx::query_scalar(
        "select id from erasure where id in (select erasure_id from erasure_key where key_id = $1)
         order by id for no key update",
    )
    .bind(key)
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query("delete from erasure_key where key_id = $1")
        .bind(key)
        .execute(&mut *conn)
        .await?;
    let gone: Vec<Uuid> = sqlx::query_scalar(
        "update erasure e set keys_gone_at = $1
         where keys_gone_at is null and id = any($2) and not exists (select from erasure_key where erasure_id = e.id)
         returning id",
    )
    .bind(now)
    .bind(waiting)
    .fetch_all(&mut *conn)
    .await?;
    ledger::tell(conn, &gone, &[Kind::KeysDestroyed], now).await
}
