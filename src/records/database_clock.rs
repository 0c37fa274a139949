//! The database's clock, which all replicas share.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};

/// The database's present time; it advances inside a transaction too.
pub async fn read(conn: &mut PgConnection) -> Result<DateTime<Utc>> {
    sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(conn)
        .await
}
