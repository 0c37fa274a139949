//! The rows about the keyring's wrapping keys: to whom each key belongs, and which keys have to be destroyed.

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection, Result};
use uuid::Uuid;

use super::{ledger, locks};
use crate::ledger::Kind;

/// Inserts the rows of keys that are about to be made, as spare keys of the caller until `lease_until`.
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

/// Deletes the rows of announced keys that could not be made.
pub async fn withdraw(conn: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    sqlx::query("delete from keyring_key where id = any($1) and subject is null")
        .bind(ids)
        .execute(conn)
        .await?;
    Ok(())
}

/// Extends the caller's lease of spare keys to `lease_until`. Keys that are not in the answer no longer belong to the
/// caller.
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

/// Takes over up to `limit` spare keys whose lease ended at or before `before`.
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

/// Gives keys to their subjects (parallel slices). A key is given to one subject only; giving it to the same subject
/// again is idempotent. Keys that are not in the answer belong to another subject, or are closed. The rows are locked
/// until the transaction ends.
pub async fn claim(
    conn: &mut PgConnection,
    ids: &[Uuid],
    subjects: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "update keyring_key k set subject = w.subject, taken_at = coalesce(taken_at, $3)
         from (select * from unnest($1::uuid[], $2::uuid[]) as w (id, subject) order by id) w
         where k.id = w.id and (k.subject is null or k.subject = w.subject) and k.closed_at is null and k.damaged_at is null
         returning k.id",
    )
    .bind(ids)
    .bind(subjects)
    .bind(now)
    .fetch_all(conn)
    .await
}

/// Returns the open keys, under which documents may be sealed. They stay open until the transaction ends.
pub async fn open(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    sqlx::query_scalar("select unnest(keys_open($1))")
        .bind(ids)
        .fetch_all(conn)
        .await
}

/// The key that was last given to a conversation, contact or subject request, and is not closed; `None` in an archive
/// that holds nothing.
pub async fn newest_in_use(conn: &mut PgConnection) -> Result<Option<Uuid>> {
    sqlx::query_scalar(
        "select id from keyring_key where subject is not null and closed_at is null order by taken_at desc limit 1",
    )
    .fetch_optional(conn)
    .await
}

/// Up to `limit` of the keys that were made together with `id` or later, used or not, and are not closed.
pub async fn made_with_or_after(
    conn: &mut PgConnection,
    id: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from keyring_key
         where closed_at is null and made_at >= (select made_at from keyring_key where id = $1)
         order by made_at desc limit $2",
    )
    .bind(id)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Up to `limit` of the keys, first those that are not closed, the newest first.
pub async fn newest_of_all(conn: &mut PgConnection, limit: i64) -> Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from keyring_key order by closed_at is not null, made_at desc limit $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// A key that is to be destroyed.
#[derive(sqlx::FromRow, Clone, Copy, Debug)]
pub struct Closed {
    /// Id of the key.
    pub id: Uuid,
    /// The conversation, contact or subject request it was for.
    pub subject: Uuid,
}

/// Writes that these closed keys are about to be destroyed.
pub async fn begin_to_destroy(
    conn: &mut PgConnection,
    ids: &[Uuid],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "update keyring_key set destroying_at = $2 where id = any($1) and destroying_at is null",
    )
    .bind(ids)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that these keys were not destroyed although it was tried.
pub async fn are_still_there(conn: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    sqlx::query("update keyring_key set destroying_at = null where id = any($1)")
        .bind(ids)
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns the keys among `ids` that count as lost if the keyring lacks them: no process has begun to destroy them, nobody gave
/// them up, and they were not destroyed after the backup of this database.
pub async fn lost_if_missing(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    sqlx::query_scalar("select id from keyring_key where id = any($1) and destroying_at is null and not may_be_gone and not given_up")
        .bind(ids)
        .fetch_all(conn)
        .await
}

/// Keys that may be lost: known to be missing or damaged, or closed and not being destroyed yet. Without those that were given up.
pub async fn doubtful(conn: &mut PgConnection) -> Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from keyring_key
         where (damaged_at is not null or closed_at is not null and destroying_at is null) and not given_up order by id",
    )
    .fetch_all(conn)
    .await
}

/// Gives keys up: an erasure does not wait for a key that is missing or unreadable.
pub async fn give_up(conn: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    sqlx::query("update keyring_key set given_up = true where id = any($1)")
        .bind(ids)
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns the keys among `ids` that were given up.
pub async fn given_up(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    sqlx::query_scalar("select id from keyring_key where id = any($1) and given_up")
        .bind(ids)
        .fetch_all(conn)
        .await
}

/// Notes that the database was restored from a backup, so that any key whose id begins with `prefix` may have been
/// destroyed since.
pub async fn may_be_gone(conn: &mut PgConnection, prefix: &str) -> Result<()> {
    sqlx::query(
        "update keyring_key set may_be_gone = true where not may_be_gone and starts_with(id::text, $1)",
    )
    .bind(prefix)
    .execute(conn)
    .await?;
    Ok(())
}

/// Closes up to 500 keys under which something was erased, if they were taken at or before `taken_before`: a
/// conversation from which messages are erased again and again gets a new key at most that often. Returns their ids.
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

/// Waits until every transaction has ended that found a key open before now. To be called in a transaction.
pub async fn barrier(conn: &mut PgConnection) -> Result<()> {
    // Transactions that want to seal wait behind this lock request, so the request times out after 100 ms.
    sqlx::query("set local lock_timeout = '100ms'")
        .execute(&mut *conn)
        .await?;
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(locks::OPEN_KEYS)
        .execute(conn)
        .await?;
    Ok(())
}

/// Up to `limit` keys that were closed before `before`, by id, beginning at `from` and wrapping around: keys with
/// neighbouring ids share a file, and a key that cannot be destroyed yet must not always come before others.
pub async fn closed(
    conn: &mut PgConnection,
    limit: i64,
    before: DateTime<Utc>,
    from: Uuid,
) -> Result<Vec<Closed>> {
    sqlx::query_as(
        "select id, subject from keyring_key where closed_at < $2 order by id < $3, id limit $1",
    )
    .bind(limit)
    .bind(before)
    .bind(from)
    .fetch_all(conn)
    .await
}

/// Completes erasures that wait for keys which are destroyed already: an erasure may have named a key at the moment of
/// its destruction.
pub async fn complete_stale_erasures(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<()> {
    let gone: Vec<Uuid> = sqlx::query_scalar(
        "select distinct key_id from erasure_key e where not exists (select from keyring_key where id = e.key_id)",
    )
    .fetch_all(&mut *conn)
    .await?;
    if gone.is_empty() {
        return Ok(());
    }
    let mut tx = conn.begin().await?;
    self::gone(&mut tx, &gone, now).await?;
    tx.commit().await
}

/// Records that the keys are confirmed destroyed. After the last key of an erasure, the erasure and the ledger record
/// that all of them are, at `now`. To be called in a transaction.
pub async fn gone(conn: &mut PgConnection, keys: &[Uuid], now: DateTime<Utc>) -> Result<()> {
    sqlx::query("delete from keyring_key where id = any($1)")
        .bind(keys)
        .execute(&mut *conn)
        .await?;
    // Locked first, so that of two concurrent calls one sees that it destroys the last key.
    let waiting: Vec<Uuid> = sqlx::query_scalar(
        "select id from erasure where id in (select erasure_id from erasure_key where key_id = any($1))
         order by id for no key update",
    )
    .bind(keys)
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query("delete from erasure_key where key_id = any($1)")
        .bind(keys)
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
    ledger::append_pending(conn, &gone, &[Kind::KeysDestroyed], now).await
}
