//! Which directories and buckets this archive has marked.

use sqlx::{PgConnection, Result};

/// The places that are marked; none if the schema is of a version without marks.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<String>> {
    let has_table = "select to_regclass('marked_place') is not null";
    if !sqlx::query_scalar(has_table).fetch_one(&mut *conn).await? {
        return Ok(vec![]);
    }
    sqlx::query_scalar("select place from marked_place")
        .fetch_all(conn)
        .await
}

/// Notes that a place is marked.
pub async fn add(conn: &mut PgConnection, place: &str) -> Result<()> {
    sqlx::query("insert into marked_place (place) values ($1) on conflict do nothing")
        .bind(place)
        .execute(conn)
        .await?;
    Ok(())
}
