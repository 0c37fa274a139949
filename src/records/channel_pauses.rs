//! When no request for a channel is sent to LINE, because LINE refused its token or asked for a pause.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// Records that LINE refused the channel's token at `now`.
pub async fn refuse_token(
    db: &mut PgConnection,
    channel_id: i32,
    now: DateTime<Utc>,
    shortest: Duration,
    longest: Duration,
) -> sqlx::Result<()> {
    sqlx::query(
        "update channel set token_refused_at = coalesce(token_refused_at, $2),
             paused_until = greatest(paused_until, $2 + least(greatest($2 - token_refused_at, $3), $4))
         where id = $1",
    )
    .bind(channel_id)
    .bind(now)
    .bind(shortest)
    .bind(longest)
    .execute(db)
    .await?;
    Ok(())
}

/// Notes that LINE accepts the channel's access token: a job of the channel ended at `now`. During a pause LINE was not
/// asked, so such an end says nothing.
pub async fn accept_token(
    db: &mut PgConnection,
    channel_id: i32,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update channel set token_refused_at = null
         where id = $1 and token_refused_at is not null and (paused_until is null or paused_until <= $2)",
    )
    .bind(channel_id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Pauses the channel: no request for it is sent before `until`. Never shortens a pause.
pub async fn pause(
    db: &mut PgConnection,
    channel_id: i32,
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update channel set paused_until = greatest(paused_until, $2) where id = $1")
        .bind(channel_id)
        .bind(until)
        .execute(db)
        .await?;
    Ok(())
}
