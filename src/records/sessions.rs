//! Sessions of signed-in browsers, and the one-time link that creates the first operator. Only the SHA-256 of a token
//! is stored.
//!
//! Rows are attested ([`super::attested`]): a row that a database writer made up gives no access.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::attested::{Found, OperatorRow, operator_columns};
use crate::seal::{Facts, Keyring};

/// A session ends this long after its last request.
const IDLE: TimeDelta = TimeDelta::minutes(30);
/// A session ends this long after sign-in, whatever happens.
const LIFETIME: TimeDelta = TimeDelta::hours(12);
/// `last_seen_at` is written at most this often.
const TOUCH: TimeDelta = TimeDelta::minutes(1);
/// Most sessions of one operator; the next one ends the oldest.
pub const MAX_SESSIONS: usize = 20;

/// The operator who is signed in, and their scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The operator's id.
    pub operator_id: Uuid,
    /// The operator's login.
    pub login: String,
    /// `operator`, `compliance` or `admin`.
    pub role: String,
    /// True: every channel is in scope, later ones too.
    pub all_channels: bool,
    /// Ids of the channels in scope.
    pub channels: Vec<i32>,
    /// When the last request was seen, to within a minute.
    pub last_seen_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    token_hash: Vec<u8>,
    operator_version: i32,
    created_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    session_mac: Vec<u8>,
    all: Option<Vec<i32>>,
    #[sqlx(flatten)]
    operator: OperatorRow,
}

/// The columns of [`Row`].
macro_rules! session_columns {
    () => {
        concat!(
            "token_hash, operator_version, s.created_at, last_seen_at, s.mac as session_mac,
             case when o.all_channels then array(select id from channel) end as \"all\", ",
            operator_columns!(),
            " from session s join operator o on o.id = operator_id"
        )
    };
}

impl Row {
    fn is_genuine(&self, keyring: &Keyring) -> bool {
        let facts = facts(
            &self.token_hash,
            self.operator.operator_id,
            self.operator_version,
            self.created_at,
        );
        let attestation = keyring.attestation();
        attestation.verify(&facts, &self.session_mac) && self.operator.is_genuine(attestation)
    }

    /// False once its time is over, or the operator has another password, role or scope, or is disabled.
    fn is_current(&self, now: DateTime<Utc>) -> bool {
        self.created_at > now - LIFETIME
            && self.operator_version == self.operator.version
            && self.operator.disabled_at.is_none()
    }

    /// The channels in scope. The attested row decides whether those are all, not the answer of the database.
    fn channels(self) -> Vec<i32> {
        match self.operator.all_channels {
            true => self.all.unwrap_or_default(),
            false => self.operator.scope,
        }
    }
}

fn facts(
    token_hash: &[u8],
    operator_id: Uuid,
    operator_version: i32,
    created_at: DateTime<Utc>,
) -> Facts {
    Facts::of("session")
        .bytes(token_hash)
        .id(operator_id)
        .number(operator_version)
        .time(created_at)
}

/// Begins a session of an operator (id, and the version in which the password was verified), ends the operator's oldest
/// sessions beyond [`MAX_SESSIONS`], and deletes all sessions that have ended. False, and no session, if the operator
/// was disabled or has got another password, role or scope since.
///
/// The operator's row is locked until the end of the transaction: a change of the password waits for the session and
/// deletes it, or the session waits for the change and is refused.
pub async fn begin(
    conn: &mut PgConnection,
    keyring: &Keyring,
    token_hash: &[u8],
    operator: (Uuid, i32),
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let (operator_id, version) = operator;
    let mut tx = conn.begin().await?;
    let locked = sqlx::query(
        "select from operator where id = $1 and version = $2 and disabled_at is null for no key update",
    )
    .bind(operator_id)
    .bind(version)
    .execute(&mut *tx)
    .await?;
    if locked.rows_affected() == 0 {
        return Ok(false);
    }
    // A statement of its own, so that it sees the sessions of the transaction that held the lock before.
    sqlx::query(
        "with ended as (
            delete from session where last_seen_at <= $6 or created_at <= $7
         ), beyond as (
            delete from session where token_hash in (
                select token_hash from session where operator_id = $2 and last_seen_at > $6 and created_at > $7
                order by created_at desc, last_seen_at desc, token_hash offset $8
            ) returning 1
         ), told as (
            select pg_notify('archive_sessions', '') from beyond limit 1
         ), begun as (
            insert into session (token_hash, operator_id, operator_version, created_at, last_seen_at, mac)
            values ($1, $2, $3, $4, $4, $5)
         )
         select count(*) from told",
    )
    .bind(token_hash)
    .bind(operator_id)
    .bind(version)
    .bind(now)
    .bind(
        keyring
            .attestation()
            .mac(&facts(token_hash, operator_id, version, now)),
    )
    .bind(now - IDLE)
    .bind(now - LIFETIME)
    .bind(i64::try_from(MAX_SESSIONS).unwrap_or(i64::MAX) - 1)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}

/// The session of this token, if it has not ended and its operator has not changed since sign-in.
///
/// SQL only looks the row up: the owner of the database decides what `=` and `session` mean there (an operator in
/// another schema, a view). When the hash was compared nowhere else, that owner was signed in as another operator.
pub async fn find(
    conn: &mut PgConnection,
    keyring: &Keyring,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Found<Session>> {
    let row: Option<Row> = sqlx::query_as(concat!(
        "select ",
        session_columns!(),
        " where token_hash = $1 and last_seen_at > $2 and s.created_at > $3"
    ))
    .bind(token_hash)
    .bind(now - IDLE)
    .bind(now - LIFETIME)
    .fetch_optional(conn)
    .await?;
    Ok(match row {
        None => Found::No,
        Some(row) if row.token_hash != token_hash || !row.is_genuine(keyring) => Found::Forged,
        Some(row) if !row.is_current(now) => Found::No,
        Some(row) => Found::Yes(Session {
            operator_id: row.operator.operator_id,
            login: row.operator.login.clone(),
            role: row.operator.role.clone(),
            all_channels: row.operator.all_channels,
            last_seen_at: row.last_seen_at,
            channels: row.channels(),
        }),
    })
}

/// Locks a session and its operator until the transaction ends, and finds it once more: what the transaction does, it
/// does before the session ends, or the operator is disabled or changed, or not at all. `operator_id` is that of the
/// session. `None`: the session has ended.
pub async fn lock(
    tx: &mut PgConnection,
    keyring: &Keyring,
    token_hash: &[u8],
    operator_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Session>> {
    // The operator first, as where one is disabled; alone, so that overlapping forms cannot put that off.
    sqlx::query("select from operator where id = $1 for no key update")
        .bind(operator_id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("select from session where token_hash = $1 for key share")
        .bind(token_hash)
        .execute(&mut *tx)
        .await?;
    let found = find(tx, keyring, token_hash, now).await?.yes();
    Ok(found.filter(|session| session.operator_id == operator_id))
}

/// True if the session is not in the table at all, so that it can never be found again. One that has ended by time may
/// still be there.
pub async fn is_gone(conn: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<bool> {
    sqlx::query_scalar("select not exists (select from session where token_hash = $1)")
        .bind(token_hash)
        .fetch_one(conn)
        .await
}

/// Returns the sessions that have not ended. Idle sessions are included, because a long download sends no requests.
pub async fn alive(
    conn: &mut PgConnection,
    keyring: &Keyring,
    token_hashes: &[[u8; 32]],
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<[u8; 32]>> {
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "select ",
        session_columns!(),
        " where token_hash = any($1) and s.created_at > $2"
    ))
    .bind(token_hashes)
    .bind(now - LIFETIME)
    .fetch_all(conn)
    .await?;
    let alive = rows
        .into_iter()
        .filter(|row| row.is_genuine(keyring) && row.is_current(now));
    Ok(alive
        .filter_map(|row| row.token_hash.try_into().ok())
        .filter(|hash| token_hashes.contains(hash))
        .collect())
}

/// Records that the session was used at `now`; writes at most once a minute.
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

/// Ends a session and notifies every process. Returns its operator's id; `None`: there was no such session.
pub async fn end(conn: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<Option<Uuid>> {
    let ended: Option<(Uuid, ())> = sqlx::query_as(
        "with ended as (delete from session where token_hash = $1 returning operator_id)
         select operator_id, pg_notify('archive_sessions', '') from ended",
    )
    .bind(token_hash)
    .fetch_optional(conn)
    .await?;
    Ok(ended.map(|(operator_id, ())| operator_id))
}

/// Ends the sessions of an operator; every process is notified when the transaction commits.
pub(super) async fn end_all_of(conn: &mut PgConnection, operator_id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "with ended as (delete from session where operator_id = $1)
         select pg_notify('archive_sessions', '')",
    )
    .bind(operator_id)
    .execute(conn)
    .await
    .map(drop)
}

fn setup_facts(token_hash: &[u8], expires_at: DateTime<Utc>) -> Facts {
    Facts::of("setup link").bytes(token_hash).time(expires_at)
}

/// Creates the only valid setup link; an earlier one ends.
pub async fn make_setup_link(
    conn: &mut PgConnection,
    keyring: &Keyring,
    token_hash: &[u8],
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "with earlier as (delete from setup_link where token_hash <> $1)
         insert into setup_link (token_hash, expires_at, mac) values ($1, $2, $3)",
    )
    .bind(token_hash)
    .bind(expires_at)
    .bind(
        keyring
            .attestation()
            .mac(&setup_facts(token_hash, expires_at)),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends every setup link if there is an enabled administrator, so that no link becomes valid again when that
/// administrator is disabled.
pub(super) async fn end_setup_links(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "delete from setup_link
         where exists (select from operator where role = 'admin' and disabled_at is null)",
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Whether the setup link may still be used: it has not ended, and there is no enabled administrator.
pub async fn setup_link_lives(
    conn: &mut PgConnection,
    keyring: &Keyring,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Found<()>> {
    let row: Option<(DateTime<Utc>, Vec<u8>)> = sqlx::query_as(
        "select expires_at, mac from setup_link where token_hash = $1 and expires_at > $2
         and not exists (select from operator where role = 'admin' and disabled_at is null)",
    )
    .bind(token_hash)
    .bind(now)
    .fetch_optional(conn)
    .await?;
    Ok(setup_link(keyring, token_hash, row, now))
}

/// Uses the setup link up. [`Found::No`] if it may not be used: never made, used before, expired, or there is an
/// enabled administrator. A forged link is deleted, too. No operator can be added until the transaction ends, and one
/// that was being added meanwhile is waited for and seen.
pub async fn use_setup_link(
    conn: &mut PgConnection,
    keyring: &Keyring,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Found<()>> {
    let mut tx = conn.begin().await?;
    sqlx::query("lock table operator in share row exclusive mode")
        .execute(&mut *tx)
        .await?;
    let row: Option<(DateTime<Utc>, Vec<u8>)> = sqlx::query_as(
        "delete from setup_link where token_hash = $1 and expires_at > $2
         and not exists (select from operator where role = 'admin' and disabled_at is null)
         returning expires_at, mac",
    )
    .bind(token_hash)
    .bind(now)
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(setup_link(keyring, token_hash, row, now))
}

fn setup_link(
    keyring: &Keyring,
    token_hash: &[u8],
    row: Option<(DateTime<Utc>, Vec<u8>)>,
    now: DateTime<Utc>,
) -> Found<()> {
    match row {
        None => Found::No,
        Some((expires_at, mac))
            if expires_at > now
                && keyring
                    .attestation()
                    .verify(&setup_facts(token_hash, expires_at), &mac) =>
        {
            Found::Yes(())
        }
        Some(_) => Found::Forged,
    }
}
