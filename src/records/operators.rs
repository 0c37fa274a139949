//! Operators and the channels in their scope.
//!
//! A row is attested ([`super::attested`]). Each change of password, role, scope or state increments `version` under
//! the row's lock; this ends the sessions and device cookies of earlier versions.

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{
    attested::{Found, OperatorRow, operator_columns},
    login::{Login, spellings},
    sessions,
};
use crate::seal::Keyring;

/// The version of a new operator.
pub const FIRST_VERSION: i32 = 1;

/// A person who may sign in.
#[derive(sqlx::FromRow, Clone, Debug)]
pub struct Operator {
    /// Our own id.
    pub id: Uuid,
    /// The name typed at sign-in, normalised.
    pub login: String,
    /// `operator`, `compliance` or `admin`.
    pub role: String,
    /// Slugs of the channels in scope; `None`: every channel, later ones too.
    pub channels: Option<Vec<String>>,
    /// When the operator was added.
    pub created_at: DateTime<Utc>,
    /// When the operator was disabled; `None`: not disabled.
    pub disabled_at: Option<DateTime<Utc>>,
    /// False: the row was not written by this program, and the operator cannot sign in.
    #[sqlx(skip)]
    pub is_genuine: bool,
}

/// An operator to be added.
pub struct NewOperator<'a> {
    /// Normalised by [`Login::new`] where it is used.
    pub login: &'a str,
    /// argon2id, as a PHC string.
    pub password_hash: &'a str,
    /// `operator`, `compliance` or `admin`.
    pub role: &'a str,
    /// Ids of the channels in scope; `None`: every channel, later ones too.
    pub channels: Option<&'a [i32]>,
}

/// The data that a sign-in is verified against.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The operator's id.
    pub id: Uuid,
    /// The login as it is stored.
    pub login: String,
    /// The version that a session of this password is bound to.
    pub version: i32,
    /// argon2id, as a PHC string.
    pub password_hash: String,
}

/// Adds an operator. `None` if the login is taken, in another spelling too.
///
/// # Errors
/// A statement fails; [`sqlx::Error::Encode`] if [`Login::new`] refuses the login.
pub async fn add(
    conn: &mut PgConnection,
    keyring: &Keyring,
    new: &NewOperator<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Uuid>> {
    let login = Login::new(new.login).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let mut scope = new.channels.unwrap_or_default().to_vec();
    scope.sort_unstable();
    scope.dedup();
    let row = OperatorRow {
        operator_id: Uuid::now_v7(),
        login: login.into_text(),
        password_hash: new.password_hash.to_owned(),
        role: new.role.to_owned(),
        all_channels: new.channels.is_none(),
        scope,
        operator_created_at: now,
        disabled_at: None,
        version: FIRST_VERSION,
        operator_mac: None,
    };
    let added: Option<Uuid> = sqlx::query_scalar(
        "with added as (
            insert into operator (id, login, password_hash, role, all_channels, created_at, version, mac)
            select $1, $2, $3, $4, $5, $6, $7, $8 where not exists (select from operator where login = any($10))
            on conflict (login) do nothing
            returning id
        ), scoped as (
            insert into operator_channel (operator_id, channel_id)
            select added.id, channel_id from added, unnest($9::integer[]) as channel_id
        )
        select id from added",
    )
    .bind(row.operator_id)
    .bind(&row.login)
    .bind(&row.password_hash)
    .bind(&row.role)
    .bind(row.all_channels)
    .bind(row.operator_created_at)
    .bind(row.version)
    .bind(row.mac(keyring.attestation()))
    .bind(&row.scope)
    .bind(spellings(new.login))
    .fetch_optional(&mut *conn)
    .await?;
    sessions::end_setup_links(conn).await?;
    // The id that the MAC covers, whatever the database returns.
    Ok(added.map(|_| row.operator_id))
}

/// Every operator, disabled ones too, by login.
pub async fn list(conn: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<Vec<Operator>> {
    let mut operators: Vec<Operator> = sqlx::query_as(
        "select id, login, role, created_at, disabled_at, case when not all_channels then array(
            select slug from operator_channel join channel on channel.id = channel_id
            where operator_id = operator.id order by slug
         ) end as channels
         from operator order by login, id",
    )
    .fetch_all(&mut *conn)
    .await?;
    let rows = rows(conn).await?;
    for operator in &mut operators {
        let row = rows.iter().find(|row| row.operator_id == operator.id);
        operator.is_genuine = row.is_some_and(|row| row.is_genuine(keyring.attestation()));
    }
    Ok(operators)
}

impl OperatorRow {
    /// True if the row is genuine and has one of these logins. SQL only looks it up: the owner of the database decides
    /// what `=` and `operator` mean there. When the login was compared nowhere else, a password that was set for one
    /// operator was written into another operator's row, with a right MAC.
    fn is_meant(&self, logins: &[String], keyring: &Keyring) -> bool {
        self.is_genuine(keyring.attestation()) && logins.contains(&self.login)
    }
}

async fn rows(conn: &mut PgConnection) -> sqlx::Result<Vec<OperatorRow>> {
    sqlx::query_as(concat!("select ", operator_columns!(), " from operator o"))
        .fetch_all(conn)
        .await
}

/// Whether there is an administrator who is not disabled.
pub async fn any_admin(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from operator where role = 'admin' and disabled_at is null)",
    )
    .fetch_one(conn)
    .await
}

/// The credentials of an operator who is not disabled, by the login as it was typed.
pub async fn credentials(
    conn: &mut PgConnection,
    keyring: &Keyring,
    typed: &str,
) -> sqlx::Result<Found<Credentials>> {
    let spellings = spellings(typed);
    let row = find_row(conn, &spellings).await?;
    Ok(match row {
        None => Found::No,
        Some(row) if !row.is_meant(&spellings, keyring) => Found::Forged,
        Some(row) if row.disabled_at.is_some() => Found::No,
        Some(row) => Found::Yes(Credentials {
            id: row.operator_id,
            login: row.login,
            version: row.version,
            password_hash: row.password_hash,
        }),
    })
}

/// When the operator with this login was disabled; `Yes(None)`: they are not.
pub async fn disabled_at(
    conn: &mut PgConnection,
    keyring: &Keyring,
    typed: &str,
) -> sqlx::Result<Found<Option<DateTime<Utc>>>> {
    let spellings = spellings(typed);
    let row = find_row(conn, &spellings).await?;
    Ok(match row {
        None => Found::No,
        Some(row) if !row.is_meant(&spellings, keyring) => Found::Forged,
        Some(row) => Found::Yes(row.disabled_at),
    })
}

/// The row with one of these logins; the earlier ones in the list come first.
async fn find_row(
    conn: &mut PgConnection,
    spellings: &[String],
) -> sqlx::Result<Option<OperatorRow>> {
    sqlx::query_as(concat!(
        "select ",
        operator_columns!(),
        " from operator o where login = any($1) order by array_position($1, login) limit 1"
    ))
    .bind(spellings)
    .fetch_optional(conn)
    .await
}

/// Disables an operator and ends their sessions. Returns the operator's id; [`Found::No`] if no enabled operator has
/// that login.
pub async fn disable(
    conn: &mut PgConnection,
    keyring: &Keyring,
    typed: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Found<Uuid>> {
    change(conn, keyring, typed, |row| {
        let is_active = row.disabled_at.is_none();
        row.disabled_at = Some(now);
        is_active
    })
    .await
}

/// Lets a disabled operator sign in again, with the password they had. [`Found::No`] if no disabled operator has that
/// login.
pub async fn enable(
    conn: &mut PgConnection,
    keyring: &Keyring,
    typed: &str,
) -> sqlx::Result<Found<Uuid>> {
    let done = change(conn, keyring, typed, |row| row.disabled_at.take().is_some()).await?;
    sessions::end_setup_links(conn).await?;
    Ok(done)
}

/// Sets another password for an operator and ends their sessions. Returns the operator's id; [`Found::No`] if no
/// operator has that login.
pub async fn set_password(
    conn: &mut PgConnection,
    keyring: &Keyring,
    typed: &str,
    password_hash: &str,
) -> sqlx::Result<Found<Uuid>> {
    change(conn, keyring, typed, |row| {
        password_hash.clone_into(&mut row.password_hash);
        true
    })
    .await
}

/// Changes an operator under the row's lock, increments the version and ends the sessions. `alter` returns false if
/// there is nothing to change.
async fn change(
    conn: &mut PgConnection,
    keyring: &Keyring,
    typed: &str,
    alter: impl FnOnce(&mut OperatorRow) -> bool,
) -> sqlx::Result<Found<Uuid>> {
    let mut tx = conn.begin().await?;
    let spellings = spellings(typed);
    let row: Option<OperatorRow> = sqlx::query_as(concat!(
        "select ",
        operator_columns!(),
        " from operator o where login = any($1) order by array_position($1, login) limit 1 for update"
    ))
    .bind(&spellings)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(mut row) = row else {
        return Ok(Found::No);
    };
    if !row.is_meant(&spellings, keyring) {
        return Ok(Found::Forged);
    }
    if !alter(&mut row) {
        return Ok(Found::No);
    }
    row.version += 1;
    write(&mut tx, keyring, &row).await?;
    // A statement of its own, so that it sees a session whose transaction held the lock before this one.
    sessions::end_all_of(&mut tx, row.operator_id).await?;
    tx.commit().await?;
    Ok(Found::Yes(row.operator_id))
}

/// Writes the columns that [`change`] and [`rehash`] may alter, with a new MAC.
async fn write(conn: &mut PgConnection, keyring: &Keyring, row: &OperatorRow) -> sqlx::Result<()> {
    sqlx::query(
        "update operator set password_hash = $2, disabled_at = $3, version = $4, mac = $5 where id = $1",
    )
    .bind(row.operator_id)
    .bind(&row.password_hash)
    .bind(row.disabled_at)
    .bind(row.version)
    .bind(row.mac(keyring.attestation()))
    .execute(conn)
    .await
    .map(drop)
}

/// Replaces the hash of the password that was just verified by another hash of the same password. The version and the
/// sessions stay. Nothing happens if the password was changed meanwhile.
pub async fn rehash(
    conn: &mut PgConnection,
    keyring: &Keyring,
    verified: &Credentials,
    password_hash: &str,
) -> sqlx::Result<()> {
    let mut tx = conn.begin().await?;
    let row: Option<OperatorRow> = sqlx::query_as(concat!(
        "select ",
        operator_columns!(),
        " from operator o where id = $1 and version = $2 and password_hash = $3 for update"
    ))
    .bind(verified.id)
    .bind(verified.version)
    .bind(&verified.password_hash)
    .fetch_optional(&mut *tx)
    .await?;
    let is_verified = |row: &OperatorRow| {
        row.is_genuine(keyring.attestation())
            && (row.operator_id, row.version) == (verified.id, verified.version)
            && row.password_hash == verified.password_hash
    };
    if let Some(mut row) = row.filter(is_verified) {
        password_hash.clone_into(&mut row.password_hash);
        write(&mut tx, keyring, &row).await?;
    }
    tx.commit().await
}

/// The logins of operators whose MAC is missing or wrong.
pub(super) async fn unattested(
    conn: &mut PgConnection,
    keyring: &Keyring,
) -> sqlx::Result<Vec<String>> {
    let mut rows = rows(conn).await?;
    rows.retain(|row| !row.is_genuine(keyring.attestation()));
    Ok(rows.into_iter().map(|row| row.login).collect())
}

/// Writes a MAC for every operator, over the row as it is.
pub(super) async fn accept_all(conn: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<()> {
    for row in rows(conn).await? {
        write(conn, keyring, &row).await?;
    }
    Ok(())
}
