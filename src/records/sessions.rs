//! Signed-in browsers, and the one-time link that makes the first operator. Tokens are known by their SHA-256 only.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// A session ends this long after its last request.
const IDLE: TimeDelta = TimeDelta::minutes(30);
/// A session ends this long after sign-in, whatever happens.
const LIFETIME: TimeDelta = TimeDelta::hours(12);
/// `last_seen_at` is written at most this often.
const TOUCH: TimeDelta = TimeDelta::minutes(1);

/// Who is signed in, and what they may see.
#[derive(sqlx::FromRow, Clone, Debug)]
pub struct Session {
    /// The operator's id.
    pub operator_id: Uuid,
    /// The operator's login.
    pub login: String,
    /// `operator`, `compliance` or `admin`.
    pub role: String,
    /// True: every channel is in sight, later ones too.
    pub all_channels: bool,
    /// The ids of the channels in sight.
    pub channels: Vec<i32>,
    /// When the last request was seen, to within a minute.
    pub last_seen_at: DateTime<Utc>,
}

/// Begins a session, and forgets those that have ended.
pub async fn begin(
    conn: &mut PgConnection,
    token_hash: &[u8],
    operator_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "with ended as (delete from session where last_seen_at <= $4 or created_at <= $5)
         insert into session (token_hash, operator_id, created_at, last_seen_at) values ($1, $2, $3, $3)",
    )
    .bind(token_hash)
    .bind(operator_id)
    .bind(now)
    .bind(now - IDLE)
    .bind(now - LIFETIME)
    .execute(conn)
    .await?;
    Ok(())
}

/// The session of this token, if it has not ended and its operator is not disabled.
pub async fn find(
    conn: &mut PgConnection,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Session>> {
    sqlx::query_as(
        "select operator_id, login, role, last_seen_at, all_channels, case when all_channels
            then array(select id from channel)
            else array(select channel_id from operator_channel c where c.operator_id = operator.id)
         end as channels
         from session join operator on operator.id = operator_id
         where token_hash = $1 and last_seen_at > $2 and session.created_at > $3 and disabled_at is null",
    )
    .bind(token_hash)
    .bind(now - IDLE)
    .bind(now - LIFETIME)
    .fetch_optional(conn)
    .await
}

/// Notes that the session was used just now; writes at most once a minute.
pub async fn touch(
    conn: &mut PgConnection,
    token_hash: &[u8],
    last_seen_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if now - last_seen_at >= TOUCH {
        sqlx::query("update session set last_seen_at = $2 where token_hash = $1")
            .bind(token_hash)
            .bind(now)
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Ends a session; nothing happens if there is none.
pub async fn end(conn: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query("delete from session where token_hash = $1")
        .bind(token_hash)
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes the one valid setup link; an earlier one ends.
pub async fn make_setup_link(
    conn: &mut PgConnection,
    token_hash: &[u8],
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "with earlier as (delete from setup_link where token_hash <> $1)
         insert into setup_link (token_hash, expires_at) values ($1, $2)",
    )
    .bind(token_hash)
    .bind(expires_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// True if the setup link may still be used: there is no operator yet.
pub async fn setup_link_lives(
    conn: &mut PgConnection,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from setup_link where token_hash = $1 and expires_at > $2)
         and not exists (select from operator)",
    )
    .bind(token_hash)
    .bind(now)
    .fetch_one(conn)
    .await
}

/// Uses the setup link up. False if it may not be used: never made, used before, expired, or there is an operator.
pub async fn use_setup_link(
    conn: &mut PgConnection,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "delete from setup_link where token_hash = $1 and expires_at > $2
         and not exists (select from operator)",
    )
    .bind(token_hash)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
