//! The contents of a conversation, for an operator's order to erase all of it.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Result};
use uuid::Uuid;

/// How many messages and events a conversation has.
#[derive(FromRow, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Number of messages.
    pub messages: i64,
    /// Number of other events.
    pub events: i64,
}

/// Counts the messages and other events of a conversation.
pub async fn extent(conn: &mut PgConnection, conversation: Uuid) -> Result<Extent> {
    sqlx::query_as(
        "select (select count(*) from message where conversation_id = $1) as messages,
             (select count(*) from event where conversation_id = $1) as events",
    )
    .bind(conversation)
    .fetch_one(conn)
    .await
}

/// Our id of a message or event, and LINE's id if it is a message.
type Found = (Uuid, Option<String>);

/// Up to `limit` messages that were stored at or before `until`, the oldest first.
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

/// As [`messages`], for other events.
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
