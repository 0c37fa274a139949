//! Attests the operators and channels of an archive that was made before rows had MACs. See [`super::attested`].

use sqlx::{Connection, PgConnection};

use super::{channels, operators};
use crate::seal::Keyring;

/// Rows whose MAC is missing or wrong.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Unattested {
    /// Logins of operators.
    pub operators: Vec<String>,
    /// Slugs of channels.
    pub channels: Vec<String>,
}

impl Unattested {
    /// True if every row is genuine.
    pub fn is_empty(&self) -> bool {
        self.operators.is_empty() && self.channels.is_empty()
    }
}

/// Finds the operators and channels whose MAC is missing or wrong.
///
/// # Errors
/// A query fails.
pub async fn unattested(conn: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<Unattested> {
    Ok(Unattested {
        operators: operators::unattested(conn, keyring).await?,
        channels: channels::unattested(conn, keyring).await?,
    })
}

/// Writes a MAC for every operator and channel, over the row as it is now. The caller has decided to trust the database
/// as it is.
///
/// # Errors
/// A statement fails; then no MAC is written.
pub async fn accept_all(conn: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<()> {
    let mut tx = conn.begin().await?;
    sqlx::query("lock table operator, operator_channel, channel in share row exclusive mode")
        .execute(&mut *tx)
        .await?;
    operators::accept_all(&mut tx, keyring).await?;
    channels::accept_all(&mut tx, keyring).await?;
    tx.commit().await
}
