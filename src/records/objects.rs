//! The rows of all objects that may exist in the bucket, from before their first byte until they are confirmed gone.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use super::ledger;
use crate::{ledger::Kind, live, objects::ObjectKey};

/// Lease of the writer of an object, and of the job that it works on; longer than any silence that a writer waits
/// through. An object whose lease was not renewed for this long is purged, and its job is claimed again.
pub const LEASE: Duration = Duration::from_secs(60);
/// Age at which a writer renews its lease.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(10);

/// An object that has to be purged.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// Key of the object.
    pub key: ObjectKey,
    /// A writer of the object may be alive until this time.
    pub lease_until: DateTime<Utc>,
    /// It was written whole, no purge has begun, and an erasure waits for it, or one may later: it has to be there.
    pub is_expected: bool,
}

/// Announces an object before it is written, for `attachment_id`, or (`None`) as a picture of a person or group, or as
/// an export. Its writer finishes, or renews the lease, by `lease_until`. `head`: its data key, wrapped.
pub async fn begin(
    conn: &mut PgConnection,
    key: ObjectKey,
    attachment_id: Option<Uuid>,
    head: &[u8],
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "insert into object (key, state, attachment_id, lease_until, next_attempt_at, created_at, sealed_key)
         values ($1, 'writing', $2, $3, $3, $4, $5)",
    )
    .bind(key.to_string())
    .bind(attachment_id)
    .bind(lease_until)
    .bind(now)
    .bind(head)
    .execute(conn)
    .await?;
    Ok(())
}

/// The keys of up to `limit` finished objects, the newest first.
pub async fn newest_kept(conn: &mut PgConnection, limit: i64) -> Result<Vec<ObjectKey>> {
    let keys: Vec<String> = sqlx::query_scalar(
        "select key from object where state = 'kept' order by created_at desc limit $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(keys
        .iter()
        .filter_map(|key| ObjectKey::parse(key))
        .collect())
}

/// Extends the writer's lease to `until`. `false`: the object must not be written any more.
pub async fn renew(conn: &mut PgConnection, key: ObjectKey, until: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query(
        "update object set lease_until = $2, next_attempt_at = $2 where key = $1 and state = 'writing'",
    )
    .bind(key.to_string())
    .bind(until)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The head (wrapped data key) of an object that is in use, by its key's text.
pub async fn head(conn: &mut PgConnection, key: &str) -> Result<Option<Vec<u8>>> {
    let head: Option<Option<Vec<u8>>> =
        sqlx::query_scalar("select sealed_key from object where key = $1 and state = 'kept'")
            .bind(key)
            .fetch_optional(conn)
            .await?;
    Ok(head.flatten())
}

/// As [`head`], but `None` if the object belongs to a message that is withheld.
pub async fn head_in_sight(conn: &mut PgConnection, key: &str) -> Result<Option<Vec<u8>>> {
    let head: Option<Option<Vec<u8>>> = sqlx::query_scalar(
        "select sealed_key from object o where key = $1 and state = 'kept' and not exists (
             select from attachment a join withheld w on w.message_id = a.message_id where a.id = o.attachment_id)",
    )
    .bind(key)
    .fetch_optional(conn)
    .await?;
    Ok(head.flatten())
}

/// Records that the object is written, and in use. `false`: it must not be used any more.
pub async fn keep(conn: &mut PgConnection, key: ObjectKey, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query(
        "update object set state = 'kept', finished = true, lease_until = $2 where key = $1 and state = 'writing'",
    )
    .bind(key.to_string())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Hands an object that is no longer written or used to the sweep, and marks the wrapping key of its data key for
/// destruction: the message it belonged to may be unsent later, when nothing leads from it to this object.
pub async fn discard(conn: &mut PgConnection, key: ObjectKey, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "with old as (
             select key, key_of(sealed_key) as under from object where key = $1 for update
         ), marked as (
             update keyring_key set dirty_at = $2
             where dirty_at is null and id in (select encode(under, 'hex')::uuid from old where under is not null)
         )
         update object o
         set state = 'purge', lease_until = least(lease_until, $2), next_attempt_at = $2, sealed_key = null
         from old where o.key = old.key",
    )
    .bind(key.to_string())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Hands objects whose writers vanished to the sweep, and marks their keys as [`discard`] does. Returns how many.
pub async fn abandon(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query(
        "with old as (
             select key, key_of(sealed_key) as under from object where state = 'writing' and next_attempt_at <= $1
             for update skip locked
         ), marked as (
             update keyring_key set dirty_at = $1
             where dirty_at is null and id in (select encode(under, 'hex')::uuid from old where under is not null)
         )
         update object o set state = 'purge', next_attempt_at = $1, sealed_key = null from old where o.key = old.key",
    )
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Up to `limit` objects to purge at `now`. Each is due again at `again`, unless it is confirmed gone by then.
pub async fn due(
    conn: &mut PgConnection,
    limit: i64,
    now: DateTime<Utc>,
    again: DateTime<Utc>,
) -> Result<Vec<Due>> {
    let rows: Vec<(String, DateTime<Utc>, bool)> = sqlx::query_as(
        "update object set next_attempt_at = $3
         where key in (select key from object where state = 'purge' and next_attempt_at <= $2
             order by next_attempt_at limit $1 for update skip locked)
         returning key, lease_until,
             finished and purging_at is null and (erasure_id is not null or attachment_id is not null)",
    )
    .bind(limit)
    .bind(now)
    .bind(again)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(key, lease_until, is_expected)| {
            Ok(Due {
                key: parse(&key)?,
                lease_until,
                is_expected,
            })
        })
        .collect()
}

/// Notes that the database was restored from a backup, so that any object whose key begins with `prefix` may have been
/// purged since.
pub async fn may_be_gone(conn: &mut PgConnection, prefix: &str) -> Result<()> {
    sqlx::query("update object set finished = false where finished and starts_with(key, $1)")
        .bind(prefix)
        .execute(conn)
        .await?;
    Ok(())
}

/// Records that the object is gone, but may appear again until its writer's lease has ended: the sweep looks again at
/// `at`.
pub async fn look_again(conn: &mut PgConnection, key: ObjectKey, at: DateTime<Utc>) -> Result<()> {
    sqlx::query("update object set next_attempt_at = $2 where key = $1 and state = 'purge'")
        .bind(key.to_string())
        .bind(at)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes the row of an object that is gone for good. After the last object of an erasure, the erasure and the ledger
/// record that all of them are gone, at `now`, and open pages are notified.
///
/// To be called in a transaction: the erasure stays locked until its end, so that of two concurrent calls one sees that
/// its object is the last.
pub async fn forget(conn: &mut PgConnection, key: ObjectKey, now: DateTime<Utc>) -> Result<()> {
    let key = key.to_string();
    // Locks the object before its erasure, in the same order as an unsend that is about to give this object to an
    // erasure.
    let erasure: Option<Option<Uuid>> =
        sqlx::query_scalar("select erasure_id from object where key = $1 for update")
            .bind(&key)
            .fetch_optional(&mut *conn)
            .await?;
    let erasure = erasure.flatten();
    sqlx::query("select from erasure where id = $1 for no key update")
        .bind(erasure)
        .execute(&mut *conn)
        .await?;
    sqlx::query("delete from object where key = $1 and state = 'purge'")
        .bind(&key)
        .execute(&mut *conn)
        .await?;
    let gone: Option<(Uuid, String)> = sqlx::query_as(
        "with gone as (
             update erasure set objects_gone_at = $2
             where id = $1 and objects_gone_at is null
             and not exists (select from object where erasure_id = $1)
             returning id, channel_id, message_id)
         select gone.id, pg_notify($3, coalesce(ref.conversation_id::text, '*'))::text
         from gone left join message_ref ref using (channel_id, message_id)",
    )
    .bind(erasure)
    .bind(now)
    .bind(live::CHANNEL)
    .fetch_optional(&mut *conn)
    .await?;
    let gone: Vec<Uuid> = gone.into_iter().map(|(id, _)| id).collect();
    ledger::append_pending(conn, &gone, &[Kind::Purged], now).await
}

/// Returns the keys that have no row.
pub async fn unknown(conn: &mut PgConnection, keys: &[ObjectKey]) -> Result<Vec<ObjectKey>> {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let unknown: Vec<String> = sqlx::query_scalar(
        "select key from unnest($1::text[]) listed (key)
         where not exists (select from object where object.key = listed.key)",
    )
    .bind(keys)
    .fetch_all(conn)
    .await?;
    unknown.iter().map(|key| parse(key)).collect()
}

/// Inserts rows for objects that have none, for the sweep to purge once no writer can be alive any more.
pub async fn adopt(
    conn: &mut PgConnection,
    keys: &[ObjectKey],
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
) -> Result<()> {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    sqlx::query(
        "insert into object (key, state, lease_until, next_attempt_at, created_at)
         select key, 'purge', $3, $3, $2 from unnest($1::text[]) listed (key)
         on conflict do nothing",
    )
    .bind(keys)
    .bind(now)
    .bind(lease_until)
    .execute(conn)
    .await?;
    Ok(())
}

/// The objects in use whose keys begin with `prefix`.
pub async fn kept<C: FromIterator<ObjectKey>>(conn: &mut PgConnection, prefix: &str) -> Result<C> {
    let keys: Vec<String> =
        sqlx::query_scalar("select key from object where state = 'kept' and starts_with(key, $1)")
            .bind(prefix)
            .fetch_all(conn)
            .await?;
    keys.iter().map(|key| parse(key)).collect()
}

/// Up to `limit` objects in use, without `excluded`. Keys are random, so the first ones are of all ages.
pub async fn sample<C: FromIterator<ObjectKey>>(
    conn: &mut PgConnection,
    excluded: &[String],
    limit: i64,
) -> Result<C> {
    let keys: Vec<String> = sqlx::query_scalar(
        "select key from object where state = 'kept' and key <> all($1) order by key limit $2",
    )
    .bind(excluded)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    keys.iter().map(|key| parse(key)).collect()
}

pub(super) fn parse(key: &str) -> Result<ObjectKey> {
    ObjectKey::parse(key).ok_or_else(|| sqlx::Error::Decode("not a valid object key".into()))
}
