//! The database's clock, which all replicas share.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};

/// The database's present time; inside of a transaction, too, it goes on.
pub async fn read(conn: &mut PgConnection) -> Result<DateTime<Utc>> {
    sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(conn)
        .await
}
