//! Gives codes to the rows of an archive of before there were codes. See [`super::attested`].

use sqlx::{Connection, PgConnection};

use super::{channels, operators};
use crate::seal::Keyring;

/// Rows whose code is missing or wrong.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Unattested {
    /// The logins of operators.
    pub operators: Vec<String>,
    /// The slugs of channels.
    pub channels: Vec<String>,
}

impl Unattested {
    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.operators.is_empty() && self.channels.is_empty()
    }
}

/// Operators and channels whose code is missing or wrong.
///
/// # Errors
/// The database's.
pub async fn unattested(conn: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<Unattested> {
    Ok(Unattested {
        operators: operators::unattested(conn, keyring).await?,
        channels: channels::unattested(conn, keyring).await?,
    })
}

/// Gives every operator and channel a code for the row as it is now. The caller has decided that the database is to be
/// believed as it stands.
///
/// # Errors
/// The database's.
pub async fn accept_all(conn: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<()> {
    let mut tx = conn.begin().await?;
    sqlx::query("lock table operator, operator_channel, channel in share row exclusive mode")
        .execute(&mut *tx)
        .await?;
    operators::accept_all(&mut tx, keyring).await?;
    channels::accept_all(&mut tx, keyring).await?;
    tx.commit().await
}
