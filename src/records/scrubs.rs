//! Scrubs: all keys in use and all objects are read from time to time, and damage is recorded.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use crate::objects::ObjectKey;

/// The kind of data that a scrub reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// All keys, each day: that is cheap, and finds a lost file of the keyring before much is sealed under its keys.
    Keys,
    /// All objects, each week.
    Objects,
}

impl Kind {
    fn interval(self) -> TimeDelta {
        match self {
            Self::Keys => TimeDelta::days(1),
            Self::Objects => TimeDelta::days(7),
        }
    }
}

/// How long a process may take for one step of a scrub: it may read an object of gigabytes from a slow disk.
const LEASE: TimeDelta = TimeDelta::minutes(15);

/// An unfinished scrub, leased to the caller.
#[derive(sqlx::FromRow, Clone, Debug)]
pub struct Scrub {
    /// The kind of data that it reads.
    pub kind: Kind,
    /// All ids of keys, or all keys of objects, up to this one were read; empty: none yet.
    pub position: String,
    lease: Uuid,
}

/// A key that is not closed.
#[derive(sqlx::FromRow, Clone, Copy, Debug)]
pub struct Key {
    /// Id of the key.
    pub id: Uuid,
    /// True if it has to be in the keyring: it is in use, or a spare key that is not just being made.
    pub is_expected: bool,
    /// True if it is known to be missing or damaged.
    pub is_damaged: bool,
}

/// Leases the unfinished scrub of this kind, or begins one if the last one began long enough ago. `None`: another process works on
/// it, or none is due.
pub async fn resume(
    conn: &mut PgConnection,
    kind: Kind,
    now: DateTime<Utc>,
) -> Result<Option<Scrub>> {
    sqlx::query(
        "insert into scrub (kind, started_at, leased_until) select $1, $2, $2
         where not exists (select from scrub where kind = $1 and (finished_at is null or started_at > $3))
         on conflict do nothing",
    )
    .bind(kind)
    .bind(now)
    .bind(now - kind.interval())
    .execute(&mut *conn)
    .await?;
    sqlx::query_as(
        "update scrub set lease = gen_random_uuid(), leased_until = $3
         where kind = $1 and finished_at is null and leased_until <= $2
         returning kind, position, lease",
    )
    .bind(kind)
    .bind(now)
    .bind(now + LEASE)
    .fetch_optional(conn)
    .await
}

/// Writes how far a scrub has come: `count` more keys or objects of so many bytes. Nobody works on it before `until`. `finished`:
/// nothing is left to read. Has no effect if another process has taken it over.
pub async fn save(
    conn: &mut PgConnection,
    scrub: &Scrub,
    (count, bytes): (i64, i64),
    finished: bool,
    (now, until): (DateTime<Utc>, DateTime<Utc>),
) -> Result<()> {
    sqlx::query(
        "update scrub set position = $3, count = count + $4, bytes = bytes + $5,
             finished_at = case when $6 then $7 end, leased_until = $8
         where kind = $1 and lease = $2 and finished_at is null",
    )
    .bind(scrub.kind)
    .bind(scrub.lease)
    .bind(&scrub.position)
    .bind(count)
    .bind(bytes)
    .bind(finished)
    .bind(now)
    .bind(until)
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` keys after `after` that are not closed, in the order of their ids. A spare key is made right after its row was
/// inserted; if its lease has ended, its process has made it, or has ended before.
pub async fn keys(
    conn: &mut PgConnection,
    after: Uuid,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Key>> {
    sqlx::query_as(
        "select id, subject is not null or made_at <= $3 - interval '1 minute' or lease_until <= $3 as is_expected,
             damaged_at is not null as is_damaged
         from keyring_key where id > $1 and closed_at is null order by id limit $2",
    )
    .bind(after)
    .bind(limit)
    .bind(now)
    .fetch_all(conn)
    .await
}

/// Records that a key is missing or unreadable. `false`: it was not recorded, because the key is to be destroyed, or it is
/// `missing` and may have been destroyed after the backup of this database.
pub async fn mark_key_damaged(
    conn: &mut PgConnection,
    id: Uuid,
    missing: bool,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query(
        "update keyring_key set damaged_at = $2
         where id = $1 and dirty_at is null and closed_at is null and not (may_be_gone and $3)",
    )
    .bind(id)
    .bind(now)
    .bind(missing)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records that a key can be read again.
pub async fn mark_key_whole(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    sqlx::query("update keyring_key set damaged_at = null where id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
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

/// The last complete scrubs, and all damage that is known now.
#[derive(sqlx::FromRow, Clone, Debug)]
pub struct Report {
    /// When all keys were last read; `None`: not yet.
    pub keys_at: Option<DateTime<Utc>>,
    /// When all objects were last read; `None`: not yet.
    pub objects_at: Option<DateTime<Utc>>,
    /// Number of objects that were read then.
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
        "select keys.finished_at as keys_at, objects.finished_at as objects_at,
             coalesce(objects.count, 0) as objects, coalesce(objects.bytes, 0) as bytes,
             (select count(*) from keyring_key where damaged_at is not null) as damaged_keys,
             (select count(*) from object where damaged_at is not null and state = 'kept') as damaged_objects
         from (values (1)) one
         left join lateral (select * from scrub where kind = 'keys' and finished_at is not null
             order by started_at desc limit 1) keys on true
         left join lateral (select * from scrub where kind = 'objects' and finished_at is not null
             order by started_at desc limit 1) objects on true",
    )
    .fetch_one(conn)
    .await
}

/// Up to `limit` keys that are missing or unreadable.
pub async fn damaged_keys(conn: &mut PgConnection, limit: i64) -> Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from keyring_key where damaged_at is not null order by id limit $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Up to `limit` objects that are missing or damaged.
pub async fn damaged_objects(conn: &mut PgConnection, limit: i64) -> Result<Vec<ObjectKey>> {
    let keys: Vec<String> = sqlx::query_scalar(
        "select key from object where damaged_at is not null and state = 'kept' order by damaged_at limit $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(parsed(&keys))
}
