//! What an operator may order to be erased as a whole: all that is in a conversation.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Result};
use uuid::Uuid;

/// How much there is.
#[derive(FromRow, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Messages.
    pub messages: i64,
    /// Other events.
    pub events: i64,
}

/// How much is in a conversation.
pub async fn extent(conn: &mut PgConnection, conversation: Uuid) -> Result<Extent> {
    sqlx::query_as(
        "select (select count(*) from message where conversation_id = $1) as messages,
             (select count(*) from event where conversation_id = $1) as events",
    )
    .bind(conversation)
    .fetch_one(conn)
    .await
}

/// Our id of a message or event, and LINE's of a message.
type Found = (Uuid, Option<String>);

/// Up to `limit` messages, the oldest first, that were stored until then.
pub async fn messages(
    conn: &mut PgConnection,
    conversation: Uuid,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Found>> {
    found(
        conn,
        "select id, message_id from message where conversation_id = $1 and received_at <= $2
         order by occurred_at, id limit $3",
        conversation,
        until,
        limit,
    )
    .await
}

/// The same of other events.
pub async fn events(
    conn: &mut PgConnection,
    conversation: Uuid,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Found>> {
    found(
        conn,
        "select id, null::text from event where conversation_id = $1 and received_at <= $2
         order by occurred_at, id limit $3",
        conversation,
        until,
        limit,
    )
    .await
}

async fn found(
    conn: &mut PgConnection,
    sql: &'static str,
    conversation: Uuid,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Found>> {
    sqlx::query_as(sql)
        .bind(conversation)
        .bind(until)
        .bind(limit)
        .fetch_all(conn)
        .await
}
