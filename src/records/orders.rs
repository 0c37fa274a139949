//! Operators' orders to erase everything in a conversation, and the contents of a conversation.

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

/// An order to insert.
#[derive(Clone, Copy, Debug)]
pub struct NewOrder<'a> {
    /// Number of the channel of the conversation.
    pub channel_id: i32,
    /// Id of the conversation.
    pub conversation_id: Uuid,
    /// Id of the operator who gives the order.
    pub operator_id: Uuid,
    /// One of the words that the column `reason` allows.
    pub reason: &'a str,
}

/// An order that goes on.
#[derive(FromRow, Clone, Debug)]
pub struct OpenOrder {
    /// Our own id.
    pub id: Uuid,
    /// Number of the channel of the conversation.
    pub channel_id: i32,
    /// Id of the conversation.
    pub conversation_id: Uuid,
    /// Id of the operator who gave it.
    pub operator_id: Uuid,
    /// One of the words that the column `reason` allows.
    pub reason: String,
    /// When it was given.
    pub ordered_at: DateTime<Utc>,
    /// Number of messages and events that were erased so far.
    pub erased: i64,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum End {
    /// Nothing was left to erase.
    Done,
    /// A hold stopped it. What was erased before stays erased.
    Held,
}

/// Inserts an order given at `now`. Returns its id; of two orders for the same conversation the first one goes on.
pub async fn insert(
    conn: &mut PgConnection,
    order: NewOrder<'_>,
    now: DateTime<Utc>,
) -> Result<Uuid> {
    sqlx::query_scalar(
        "insert into conversation_order (id, channel_id, conversation_id, operator_id, reason, ordered_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (conversation_id) where ended_at is null do update set erased = conversation_order.erased
         returning id",
    )
    .bind(Uuid::now_v7())
    .bind(order.channel_id)
    .bind(order.conversation_id)
    .bind(order.operator_id)
    .bind(order.reason)
    .bind(now)
    .fetch_one(conn)
    .await
}

/// The ids of all orders that go on, the oldest first.
pub async fn open(conn: &mut PgConnection) -> Result<Vec<Uuid>> {
    sqlx::query_scalar("select id from conversation_order where ended_at is null order by id")
        .fetch_all(conn)
        .await
}

/// The order for this conversation that goes on.
pub async fn find(conn: &mut PgConnection, conversation: Uuid) -> Result<Option<OpenOrder>> {
    sqlx::query_as(
        "select id, channel_id, conversation_id, operator_id, reason, ordered_at, erased
         from conversation_order where conversation_id = $1 and ended_at is null",
    )
    .bind(conversation)
    .fetch_optional(conn)
    .await
}

/// Locks an order until the transaction ends. `None`: it has ended, or another process works on it now.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<Option<OpenOrder>> {
    sqlx::query_as(
        "select id, channel_id, conversation_id, operator_id, reason, ordered_at, erased
         from conversation_order where id = $1 and ended_at is null for update skip locked",
    )
    .bind(id)
    .fetch_optional(conn)
    .await
}

/// Adds to the number of messages and events that an order has erased.
pub async fn advance(conn: &mut PgConnection, id: Uuid, erased: usize) -> Result<()> {
    sqlx::query("update conversation_order set erased = erased + $2 where id = $1")
        .bind(id)
        .bind(i64::try_from(erased).unwrap_or(i64::MAX))
        .execute(conn)
        .await?;
    Ok(())
}

/// Records that an order has ended.
pub async fn end(
    conn: &mut PgConnection,
    id: Uuid,
    outcome: End,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("update conversation_order set outcome = $2, ended_at = $3 where id = $1")
        .bind(id)
        .bind(outcome)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// How an order ended; `None`: it goes on.
pub async fn outcome(conn: &mut PgConnection, id: Uuid) -> Result<Option<End>> {
    sqlx::query_scalar("select outcome from conversation_order where id = $1")
        .bind(id)
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
