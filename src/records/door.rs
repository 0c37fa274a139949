//! Whether webhooks could be stored.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

/// Takes the locks on tables that the storing of webhooks takes, and commits a row. It fails while webhooks cannot be stored: in
/// a server that is read-only or full, and while a table is locked.
///
/// # Errors
/// The database's error.
pub async fn try_to_write(conn: &mut PgConnection, lane: Uuid, now: DateTime<Utc>) -> Result<()> {
    sqlx::raw_sql("begin; lock table channel, conversation, contact, message_ref, message, revision, event in row exclusive mode")
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "with old as (delete from door where tried_at < $2 - interval '1 day')
         insert into door (lane, tried_at) values ($1, $2) on conflict (lane) do update set tried_at = excluded.tried_at",
    )
    .bind(lane)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::raw_sql("commit").execute(conn).await?;
    Ok(())
}
