//! Documents that survive the destruction of their wrapping key: the queries find them by that key, and give them heads
//! that are wrapped with another key.

use sqlx::{PgConnection, Result};
use uuid::Uuid;

/// A table whose documents are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Messages.
    Revision,
    /// Other events.
    Event,
    /// Profiles.
    Contact,
    /// Group summaries.
    Conversation,
    /// Objects.
    Object,
}

/// All tables whose documents are sealed.
pub const TABLES: [Table; 5] = [
    Table::Revision,
    Table::Event,
    Table::Contact,
    Table::Conversation,
    Table::Object,
];

/// A document that survives its key: its row, which keeps its place until the transaction ends, and its head.
#[derive(sqlx::FromRow)]
pub struct Survivor {
    /// `ctid` of the row, as text.
    pub row: String,
    /// The head of the document: 89 bytes with its wrapped data key.
    pub head: Vec<u8>,
}

/// Up to 500 documents under these keys, locked, without the rows in `but`. Skips rows that another transaction has
/// locked.
pub async fn survivors(
    conn: &mut PgConnection,
    table: Table,
    keys: &[Uuid],
    but: &[String],
) -> Result<Vec<Survivor>> {
    let sql = match table {
        Table::Revision => {
            "select ctid::text as row, substring(content for 89) as head from revision
             where key_of(content) = any($1)
                 and ctid <> all($2::text[]::tid[]) limit 500 for update skip locked"
        }
        Table::Event => {
            "select ctid::text as row, substring(content for 89) as head from event
             where key_of(content) = any($1)
                 and ctid <> all($2::text[]::tid[]) limit 500 for update skip locked"
        }
        Table::Contact => {
            "select ctid::text as row, substring(profile for 89) as head from contact
             where profile is not null and key_of(profile) = any($1)
                 and ctid <> all($2::text[]::tid[]) limit 500 for no key update skip locked"
        }
        Table::Conversation => {
            "select ctid::text as row, substring(summary for 89) as head from conversation
             where summary is not null and key_of(summary) = any($1)
                 and ctid <> all($2::text[]::tid[]) limit 500 for no key update skip locked"
        }
        Table::Object => {
            "select ctid::text as row, sealed_key as head from object
             where sealed_key is not null and key_of(sealed_key) = any($1)
                 and ctid <> all($2::text[]::tid[]) limit 500 for update skip locked"
        }
    };
    sqlx::query_as(sql)
        .bind(bytes(keys))
        .bind(but)
        .fetch_all(conn)
        .await
}

/// Gives survivors their new heads (parallel slices), in the transaction that found them.
pub async fn rewrap(
    conn: &mut PgConnection,
    table: Table,
    rows: &[String],
    heads: &[Vec<u8>],
) -> Result<()> {
    let sql = match table {
        Table::Revision => {
            "update revision t set content = w.head || substring(content from 90)
             from unnest($1::text[], $2::bytea[]) as w (place, head) where t.ctid = w.place::tid"
        }
        Table::Event => {
            "update event t set content = w.head || substring(content from 90)
             from unnest($1::text[], $2::bytea[]) as w (place, head) where t.ctid = w.place::tid"
        }
        Table::Contact => {
            "update contact t set profile = w.head || substring(profile from 90)
             from unnest($1::text[], $2::bytea[]) as w (place, head) where t.ctid = w.place::tid"
        }
        Table::Conversation => {
            "update conversation t set summary = w.head || substring(summary from 90)
             from unnest($1::text[], $2::bytea[]) as w (place, head) where t.ctid = w.place::tid"
        }
        Table::Object => {
            "update object t set sealed_key = w.head
             from unnest($1::text[], $2::bytea[]) as w (place, head) where t.ctid = w.place::tid"
        }
    };
    sqlx::query(sql)
        .bind(rows)
        .bind(heads)
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns the keys that still seal a row, locked or not.
pub async fn in_use(conn: &mut PgConnection, keys: &[Uuid]) -> Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from unnest($1::uuid[], $2::bytea[]) as k (id, bytes)
         where exists (select from revision where key_of(content) = bytes)
             or exists (select from event where key_of(content) = bytes)
             or exists (select from contact where profile is not null and key_of(profile) = bytes)
             or exists (select from conversation where summary is not null and key_of(summary) = bytes)
             or exists (select from object where sealed_key is not null and key_of(sealed_key) = bytes)",
    )
    .bind(keys)
    .bind(bytes(keys))
    .fetch_all(conn)
    .await
}

/// Ids as the bytes that a head contains.
fn bytes(keys: &[Uuid]) -> Vec<&[u8]> {
    keys.iter().map(|key| key.as_bytes().as_slice()).collect()
}
