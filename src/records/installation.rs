//! Data about the archive as a whole: which secret key it belongs to.

use sqlx::{PgConnection, Result};

/// Returns whether this archive's secret key is the one that `check` was derived from. An archive without a secret key
/// takes that one.
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

/// Whether this archive's secret key is the one that `check` was derived from; `None`: the archive has no secret key
/// yet. Changes nothing.
pub async fn belongs_to(conn: &mut PgConnection, check: &[u8]) -> Result<Option<bool>> {
    sqlx::query_scalar("select secret_check = $1 from installation")
        .bind(check)
        .fetch_optional(conn)
        .await
}

/// Whether this archive has a secret key already.
pub async fn has_key(conn: &mut PgConnection) -> Result<bool> {
    sqlx::query_scalar("select exists (select from installation)")
        .fetch_one(conn)
        .await
}
