//! Messages that were unsent under a hold that covers unsends. They belong to the hold until it is lifted: no page,
//! search or copy of their conversation finds them there.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Result};
use uuid::Uuid;

use super::erasures::NewErasure;

/// A message that must not be erased now.
#[derive(FromRow, Clone, Copy, Debug)]
pub struct Kept {
    /// Our id of the message.
    pub message: Uuid,
    /// The hold that covers its unsend; `None`: it is withheld already.
    pub hold: Option<Uuid>,
}

/// Returns the messages whose unsend is covered by a hold. The caller's transaction has entered
/// ([`super::holds::enter`]) and holds their locks.
pub async fn covered(conn: &mut PgConnection, messages: &[Uuid]) -> Result<Vec<Kept>> {
    sqlx::query_as(
        "select m.id as message, case when w.message_id is null then h.id end as hold
         from message m left join withheld w on w.message_id = m.id left join lateral (
             select id from hold where conversation_id = m.conversation_id and lifted_at is null and covers_unsend
             order by set_at, id limit 1) h on true
         where m.id = any($1) and (w.message_id is not null or h.id is not null)",
    )
    .bind(messages)
    .fetch_all(conn)
    .await
}

/// Gives messages to the holds that cover their unsend (parallel slices).
pub async fn keep(
    conn: &mut PgConnection,
    unsends: &[NewErasure<'_>],
    holds: &[Uuid],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "with kept as (
             insert into withheld (message_id, hold_id, erasure_id, webhook_event_id, requested_at, withheld_at)
             select *, $6 from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[])
             returning message_id, hold_id
         )
         update message m set conversation_id = hold_id from kept where m.id = kept.message_id",
    )
    .bind(unsends.iter().map(|one| one.target).collect::<Vec<_>>())
    .bind(holds)
    .bind(unsends.iter().map(|one| one.id).collect::<Vec<_>>())
    .bind(unsends.iter().map(|one| one.webhook_event_id).collect::<Vec<_>>())
    .bind(unsends.iter().map(|one| one.requested_at).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// A message whose hold is lifted.
#[derive(FromRow, Clone, Debug)]
pub struct Freed {
    /// Our id of the message.
    pub message: Uuid,
    /// LINE's id of the message.
    pub message_id: String,
    /// The channel.
    pub channel_id: i32,
    /// The conversation it was sent in.
    pub conversation_id: Uuid,
    /// Id that its erasure will have.
    pub erasure_id: Uuid,
    /// LINE's `webhookEventId` of the unsend event.
    pub webhook_event_id: Option<String>,
    /// The unsend event's timestamp.
    pub requested_at: DateTime<Utc>,
    /// Another hold on the same conversation that covers unsends, if there is one.
    pub next: Option<Uuid>,
}

/// Up to `limit` messages of one channel whose hold is lifted; only those in `among`, if that is given.
pub async fn freed(
    conn: &mut PgConnection,
    among: Option<&[Uuid]>,
    limit: i64,
) -> Result<Vec<Freed>> {
    sqlx::query_as(
        "with one as (
             select m.channel_id from withheld w join hold h on h.id = w.hold_id join message m on m.id = w.message_id
             where h.lifted_at is not null and ($1::uuid[] is null or m.id = any($1)) limit 1
         )
         select m.id as message, m.message_id, m.channel_id, h.conversation_id, erasure_id, webhook_event_id, requested_at,
             (select id from hold o where o.conversation_id = h.conversation_id and o.lifted_at is null and o.covers_unsend
              order by set_at, id limit 1) as next
         from withheld w join hold h on h.id = w.hold_id join message m on m.id = w.message_id
         join one on one.channel_id = m.channel_id
         where h.lifted_at is not null and ($1::uuid[] is null or m.id = any($1))
         order by m.message_id limit $2",
    )
    .bind(among)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Gives messages to other holds, or back to their conversations (parallel slices), in a transaction that holds their
/// locks.
pub async fn give(conn: &mut PgConnection, messages: &[Uuid], to: &[Uuid]) -> Result<()> {
    sqlx::query(
        "with given as (
             select * from unnest($1::uuid[], $2::uuid[]) as g (message, place)
         ), held as (
             update withheld w set hold_id = place from given join hold on hold.id = place where w.message_id = message
         )
         update message m set conversation_id = place from given where m.id = message",
    )
    .bind(messages)
    .bind(to)
    .execute(conn)
    .await?;
    Ok(())
}
