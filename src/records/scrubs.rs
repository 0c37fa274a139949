//! Scrubs: all keys in use and all objects are read from time to time, and damage is recorded.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use crate::objects::ObjectKey;

/// The keys are read each day, which is cheap and finds a lost file of the keyring before much is sealed under its keys; the
/// objects each week.
const KEYS_INTERVAL: TimeDelta = TimeDelta::days(1);
const OBJECTS_INTERVAL: TimeDelta = TimeDelta::days(7);

/// A scrub that goes on.
#[derive(sqlx::FromRow, Clone, Debug)]
pub struct Scrub {
    /// Our own number.
    pub id: i32,
    /// The last key that was read; `None`: all keys were.
    pub next_key: Option<Uuid>,
    /// True if the objects are read too.
    pub with_objects: bool,
    /// The last object that was read; empty: none yet.
    pub next_object: String,
}

/// A key that should be in the keyring.
#[derive(sqlx::FromRow, Clone, Copy, Debug)]
pub struct Key {
    /// Id of the key.
    pub id: Uuid,
    /// True for a spare key: nothing is sealed under it yet.
    pub is_spare: bool,
    /// When its row was inserted, before it was made.
    pub made_at: DateTime<Utc>,
    /// True if it is known to be missing or damaged.
    pub is_damaged: bool,
}

/// A spare key whose row is younger than this may not be made yet.
const BEING_MADE: TimeDelta = TimeDelta::minutes(10);

impl Key {
    /// True unless it may not be made yet.
    pub fn is_expected(&self, now: DateTime<Utc>) -> bool {
        !self.is_spare || self.made_at <= now - BEING_MADE
    }
}

/// Objects and keys that were read by one step of a scrub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Keys.
    pub keys: i64,
    /// Objects.
    pub objects: i64,
    /// Bytes of the objects.
    pub bytes: i64,
}

/// Leases the scrub that goes on until `until`, or begins one: of the keys if the last one began a day ago, of the objects too if
/// the last of these began a week ago. `None`: another process works on it, or none is due.
pub async fn resume(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<Scrub>> {
    sqlx::query(
        "insert into scrub (started_at, with_objects, next_key, leased_until)
         select $1, not exists (select from scrub where with_objects and started_at > $4), $2, $1
         where not exists (select from scrub where finished_at is null or started_at > $3)
         on conflict do nothing",
    )
    .bind(now)
    .bind(Uuid::nil())
    .bind(now - KEYS_INTERVAL)
    .bind(now - OBJECTS_INTERVAL)
    .execute(&mut *conn)
    .await?;
    sqlx::query_as(
        "update scrub set leased_until = $2 where id in (
             select id from scrub where finished_at is null and leased_until <= $1 for update skip locked)
         returning id, next_key, with_objects, next_object",
    )
    .bind(now)
    .bind(until)
    .fetch_optional(conn)
    .await
}

/// Writes how far a scrub has come, and ends the lease. `finished`: nothing is left to read.
pub async fn save(
    conn: &mut PgConnection,
    scrub: &Scrub,
    read: Read,
    finished: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "update scrub set next_key = $2, next_object = $3, keys = keys + $4, objects = objects + $5, bytes = bytes + $6,
             finished_at = case when $7 then $8 end, leased_until = $8
         where id = $1",
    )
    .bind(scrub.id)
    .bind(scrub.next_key)
    .bind(&scrub.next_object)
    .bind(read.keys)
    .bind(read.objects)
    .bind(read.bytes)
    .bind(finished)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` keys after `after` that are not closed, in the order of their ids.
pub async fn keys(conn: &mut PgConnection, after: Uuid, limit: i64) -> Result<Vec<Key>> {
    sqlx::query_as(
        "select id, subject is null as is_spare, made_at, damaged_at is not null as is_damaged from keyring_key
         where id > $1 and closed_at is null order by id limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Records that a key is damaged, or is whole again. A key that was closed meanwhile may be destroyed, and is left as it is.
pub async fn mark_key(
    conn: &mut PgConnection,
    id: Uuid,
    damaged_at: Option<DateTime<Utc>>,
) -> Result<bool> {
    let done =
        sqlx::query("update keyring_key set damaged_at = $2 where id = $1 and closed_at is null")
            .bind(id)
            .bind(damaged_at)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Up to `limit` objects in use after `after`, in the order of their keys.
pub async fn objects(conn: &mut PgConnection, after: &str, limit: i64) -> Result<Vec<ObjectKey>> {
    let keys: Vec<String> = sqlx::query_scalar(
        "select key from object where state = 'kept' and key > $1 order by key limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(parsed(&keys))
}

/// Notes that a reader found an object in use missing or damaged.
pub async fn suspect(conn: &mut PgConnection, key: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query("update object set suspected_at = $2 where key = $1 and state = 'kept' and damaged_at is null")
        .bind(key)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Up to `limit` objects that a reader found missing or damaged.
pub async fn suspected(conn: &mut PgConnection, limit: i64) -> Result<Vec<ObjectKey>> {
    let keys: Vec<String> = sqlx::query_scalar(
        "select key from object where suspected_at is not null and state = 'kept' order by suspected_at limit $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(parsed(&keys))
}

/// Records that an object was read to its end: when it was found damaged, or that it is whole.
pub async fn mark_object(
    conn: &mut PgConnection,
    key: ObjectKey,
    damaged_at: Option<DateTime<Utc>>,
) -> Result<()> {
    sqlx::query(
        "update object set suspected_at = null, damaged_at = $2
         where key = $1 and (suspected_at is not null or damaged_at is distinct from $2)",
    )
    .bind(key.to_string())
    .bind(damaged_at)
    .execute(conn)
    .await?;
    Ok(())
}

fn parsed(keys: &[String]) -> Vec<ObjectKey> {
    keys.iter()
        .filter_map(|key| ObjectKey::parse(key))
        .collect()
}

/// The last scrub of keys and objects that ended, and all damage that is known now.
#[derive(sqlx::FromRow, Clone, Debug)]
pub struct Report {
    /// When the last complete scrub ended; `None`: none has.
    pub finished_at: Option<DateTime<Utc>>,
    /// Keys that it read.
    pub keys: i64,
    /// Objects that it read.
    pub objects: i64,
    /// Bytes of these objects.
    pub bytes: i64,
    /// Keys that are missing or unreadable.
    pub damaged_keys: i64,
    /// Objects that are missing or damaged.
    pub damaged_objects: i64,
}

/// The present report.
pub async fn report(conn: &mut PgConnection) -> Result<Report> {
    sqlx::query_as(
        "select finished_at, coalesce(keys, 0) as keys, coalesce(objects, 0) as objects, coalesce(bytes, 0) as bytes,
             (select count(*) from keyring_key where damaged_at is not null) as damaged_keys,
             (select count(*) from object where damaged_at is not null and state = 'kept') as damaged_objects
         from (values (1)) one left join lateral (
             select * from scrub where finished_at is not null and with_objects order by id desc limit 1) last on true",
    )
    .fetch_one(conn)
    .await
}
