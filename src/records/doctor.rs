//! Reads the database's settings, statistics, indexes and privileges. Only reads, and returns no content: only names,
//! versions, counts and values of settings.

use sqlx::{FromRow, PgConnection, Result};

/// Columns, of whatever table, that hold what people wrote, their names, or a secret.
const CONTENT: &[&str] = &[
    "content",
    "profile",
    "summary",
    "access_token",
    "secret",
    "sealed_key",
];

/// A server setting, with its value in the server's own unit.
#[derive(FromRow, Debug)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The values of these settings, in this order. A setting that the server does not know is left out.
pub async fn settings(db: &mut PgConnection, names: &[&str]) -> Result<Vec<Setting>> {
    sqlx::query_as(
        "select name, coalesce(setting, '') as value from pg_settings where name = any($1) order by array_position($1, name)",
    )
    .bind(names)
    .fetch_all(db)
    .await
}

/// Versions of the schema that are in the database; empty if the archive's schema is not there.
pub async fn migrations(db: &mut PgConnection) -> Result<Vec<i64>> {
    let any: bool = sqlx::query_scalar("select to_regclass('public._sqlx_migrations') is not null")
        .fetch_one(&mut *db)
        .await?;
    if !any {
        return Ok(vec![]);
    }
    sqlx::query_scalar("select version from _sqlx_migrations where success order by version")
        .fetch_all(db)
        .await
}

/// Number of replication slots that no client reads: each keeps the write-ahead log for ever.
pub async fn idle_slots(db: &mut PgConnection) -> Result<i64> {
    sqlx::query_scalar("select count(*) from pg_replication_slots where not active")
        .fetch_one(db)
        .await
}

/// Columns with content for which the server may keep values as statistics, and those for which it does.
pub async fn statistics(db: &mut PgConnection) -> Result<(Vec<String>, Vec<String>)> {
    let sampled = sqlx::query_scalar(
        "select c.relname || '.' || a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
            and a.atttypid = 'bytea'::regtype and a.attname = any($1) and coalesce(a.attstattarget, -1) <> 0
         order by 1",
    )
    .bind(CONTENT)
    .fetch_all(&mut *db)
    .await?;
    let kept = sqlx::query_scalar(
        "select distinct tablename || '.' || attname from pg_stats
         where schemaname = 'public' and attname = any($1)
            and (most_common_vals is not null or histogram_bounds is not null)
         order by 1",
    )
    .bind(CONTENT)
    .fetch_all(db)
    .await?;
    Ok((sampled, kept))
}

/// GIN indexes whose keys are words rather than numbers: such an index never forgets a key.
pub async fn word_indexes(db: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "select distinct c.relname::text from pg_class c join pg_am m on m.oid = c.relam and m.amname = 'gin'
         join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'public'::regnamespace and a.atttypid not in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
         order by 1",
    )
    .fetch_all(db)
    .await
}

/// The ledger's tables, without `ledger_pending`, and for each whether the service's role may change or empty it. That
/// role is `line_chat_archive_app`, if the connection's role is a member of it and can take it on as `serve` does; else
/// it is the connection's own role.
pub async fn ledger(db: &mut PgConnection) -> Result<Vec<(String, bool)>> {
    sqlx::query_as(
        "select relname::text, has_table_privilege(coalesce(
             (select rolname from pg_roles
              where rolname = 'line_chat_archive_app' and pg_has_role(oid, 'member')), current_user),
             pg_class.oid, 'update, delete, truncate') from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and relname like 'ledger%' and relname <> 'ledger_pending'
         order by 1",
    )
    .fetch_all(db)
    .await
}
