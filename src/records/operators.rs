//! Who may look: operators and the channels they see.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// A person who may sign in.
#[derive(sqlx::FromRow, Clone, Debug)]
pub struct Operator {
    /// Our own id.
    pub id: Uuid,
    /// The name typed at sign-in, lower case.
    pub login: String,
    /// `operator`, `compliance` or `admin`.
    pub role: String,
    /// The slugs of the channels in sight; `None`: every channel, later ones too.
    pub channels: Option<Vec<String>>,
    /// When added.
    pub created_at: DateTime<Utc>,
    /// When disabled.
    pub disabled_at: Option<DateTime<Utc>>,
}

/// An operator to be added.
pub struct NewOperator<'a> {
    /// Kept in lower case.
    pub login: &'a str,
    /// argon2id, as a PHC string.
    pub password_hash: &'a str,
    /// `operator`, `compliance` or `admin`.
    pub role: &'a str,
    /// The ids of the channels to be seen; `None`: all.
    pub channels: Option<&'a [i32]>,
}

/// Adds an operator. `None` if the login is taken.
pub async fn add(
    conn: &mut PgConnection,
    new: &NewOperator<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar(
        "with added as (
            insert into operator (id, login, password_hash, role, all_channels, created_at)
            values ($1, lower($2), $3, $4, $5::integer[] is null, $6)
            on conflict (login) do nothing
            returning id
        ), scoped as (
            insert into operator_channel (operator_id, channel_id)
            select added.id, channel_id from added, unnest($5::integer[]) as channel_id
        )
        select id from added",
    )
    .bind(Uuid::now_v7())
    .bind(new.login)
    .bind(new.password_hash)
    .bind(new.role)
    .bind(new.channels)
    .bind(now)
    .fetch_optional(conn)
    .await
}

/// Every operator, disabled ones too, by login.
pub async fn list(conn: &mut PgConnection) -> sqlx::Result<Vec<Operator>> {
    sqlx::query_as(
        "select id, login, role, created_at, disabled_at, case when not all_channels then array(
            select slug from operator_channel join channel on channel.id = channel_id
            where operator_id = operator.id order by slug
         ) end as channels
         from operator order by login",
    )
    .fetch_all(conn)
    .await
}

/// True if anybody was ever added.
pub async fn any(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from operator)")
        .fetch_one(conn)
        .await
}

/// The id and password hash of an operator who is not disabled.
pub async fn credentials(
    conn: &mut PgConnection,
    login: &str,
) -> sqlx::Result<Option<(Uuid, String)>> {
    sqlx::query_as(
        "select id, password_hash from operator where login = lower($1) and disabled_at is null",
    )
    .bind(login)
    .fetch_optional(conn)
    .await
}

/// Disables an operator and ends their sessions. False if there is nobody of that login who could be.
pub async fn disable(
    conn: &mut PgConnection,
    login: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let id: Option<Uuid> = sqlx::query_scalar(
        "with disabled as (
            update operator set disabled_at = $2 where login = lower($1) and disabled_at is null returning id
        ), ended as (
            delete from session using disabled where operator_id = disabled.id
        )
        select id from disabled",
    )
    .bind(login)
    .bind(now)
    .fetch_optional(conn)
    .await?;
    Ok(id.is_some())
}

/// Gives an operator another password and ends their sessions. False if there is nobody of that login.
pub async fn set_password(
    conn: &mut PgConnection,
    login: &str,
    password_hash: &str,
) -> sqlx::Result<bool> {
    let id: Option<Uuid> = sqlx::query_scalar(
        "with changed as (
            update operator set password_hash = $2 where login = lower($1) returning id
        ), ended as (
            delete from session using changed where operator_id = changed.id
        )
        select id from changed",
    )
    .bind(login)
    .bind(password_hash)
    .fetch_optional(conn)
    .await?;
    Ok(id.is_some())
}
