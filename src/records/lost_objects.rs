//! Objects that are about to be purged, and those that are missing then although no purge had begun.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};

use super::objects::parse;
use crate::objects::ObjectKey;

/// Notes that these objects are there and are about to be deleted: if one is missing later, it is gone.
pub async fn begin_to_purge(
    conn: &mut PgConnection,
    keys: &[ObjectKey],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "update object set purging_at = $2, lost_at = null where key = any($1) and state = 'purge'",
    )
    .bind(texts(keys))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that the object was not deleted although it was tried.
pub async fn is_still_there(conn: &mut PgConnection, key: ObjectKey) -> Result<()> {
    sqlx::query("update object set purging_at = null where key = $1 and state = 'purge'")
        .bind(key.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Records that objects to be purged are missing although no purge had begun. The sweep looks for them again: after ten
/// minutes, then ever less often, and at least every six hours. Returns those that were not known to be missing.
pub async fn lose(
    conn: &mut PgConnection,
    keys: &[ObjectKey],
    now: DateTime<Utc>,
) -> Result<Vec<ObjectKey>> {
    let new: Vec<String> = sqlx::query_scalar(
        "with old as (
             select key, lost_at from object where key = any($1) and state = 'purge' and purging_at is null
             order by key for update
         ), lost as (
             update object o set lost_at = coalesce(old.lost_at, $2),
                 next_attempt_at = $2 + least(greatest($2 - old.lost_at, interval '10 minutes'), interval '6 hours')
             from old where o.key = old.key
         )
         select key from old where lost_at is null",
    )
    .bind(texts(keys))
    .bind(now)
    .fetch_all(conn)
    .await?;
    new.iter().map(|key| parse(key)).collect()
}

/// How many objects to be purged are lost, and how many of them an erasure waits for.
pub async fn count_lost(conn: &mut PgConnection) -> Result<(i64, i64)> {
    sqlx::query_as(
        "select count(*), count(erasure_id) from object where lost_at is not null and state = 'purge'",
    )
    .fetch_one(conn)
    .await
}

/// Up to `limit` objects after `after`, in the order of their keys, that are lost, or in use and known to be missing or damaged.
pub async fn doubtful(conn: &mut PgConnection, after: &str, limit: i64) -> Result<Vec<ObjectKey>> {
    let keys: Vec<String> = sqlx::query_scalar(
        "select key from object
         where (lost_at is not null and state = 'purge' or damaged_at is not null and state = 'kept') and finished
             and key > $1
         order by key limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    keys.iter().map(|key| parse(key)).collect()
}

/// Gives missing objects up: an erasure takes them for gone if it does not find them. The sweep looks for those that it waits
/// for at `now`.
pub async fn give_up(
    conn: &mut PgConnection,
    keys: &[ObjectKey],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "update object set finished = false, next_attempt_at = case state when 'purge' then $2 else next_attempt_at end
         where key = any($1)",
    )
    .bind(texts(keys))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the sweep purge lost objects at `now`, because they are there again.
pub async fn purge_again(
    conn: &mut PgConnection,
    keys: &[ObjectKey],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("update object set next_attempt_at = $2 where key = any($1) and state = 'purge'")
        .bind(texts(keys))
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

fn texts(keys: &[ObjectKey]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}
