//! What belongs to the archive as a whole.

use sqlx::{PgConnection, Result};

/// Says whether this archive's secret key is the one that `check` was derived from, and makes it that where none came to it
/// yet.
pub async fn claim(conn: &mut PgConnection, check: &[u8]) -> Result<bool> {
    sqlx::query("insert into installation (secret_check) values ($1) on conflict do nothing")
        .bind(check)
        .execute(&mut *conn)
        .await?;
    sqlx::query_scalar("select secret_check = $1 from installation")
        .bind(check)
        .fetch_one(conn)
        .await
}

/// Whether this archive's secret key is the one that `check` was derived from; `None` if none came to it yet. Settles
/// nothing.
pub async fn belongs_to(conn: &mut PgConnection, check: &[u8]) -> Result<Option<bool>> {
    sqlx::query_scalar("select secret_check = $1 from installation")
        .bind(check)
        .fetch_optional(conn)
        .await
}

/// Whether a secret key came to this archive already.
pub async fn has_key(conn: &mut PgConnection) -> Result<bool> {
    sqlx::query_scalar("select exists (select from installation)")
        .fetch_one(conn)
        .await
}
