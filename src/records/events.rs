//! Events that are neither a message nor an unsend.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// An event to write.
pub struct NewEvent<'a> {
    /// The channel.
    pub channel_id: i32,
    /// LINE's `webhookEventId`.
    pub webhook_event_id: &'a str,
    /// The conversation that shows it.
    pub conversation_id: Uuid,
    /// The contact that LINE named, if any.
    pub contact_id: Option<Uuid>,
    /// LINE's event type.
    pub kind: &'a str,
    /// LINE's timestamp.
    pub occurred_at: DateTime<Utc>,
    /// Our own id.
    pub id: Uuid,
    /// The event's raw bytes, sealed.
    pub content: Vec<u8>,
}

/// Writes events. An event that was written before, in this batch or an earlier one, is skipped.
pub async fn write(
    db: &mut PgConnection,
    events: &[NewEvent<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "with wanted as (
             select distinct on (channel_id, webhook_event_id, kind) *
             from unnest($1::uuid[], $2::int[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::timestamptz[], $8::bytea[])
                 as w (id, channel_id, webhook_event_id, conversation_id, contact_id, kind, occurred_at, content)
             order by channel_id, webhook_event_id, kind
         ), fresh as (
             insert into event_ref (channel_id, webhook_event_id, kind)
             select channel_id, webhook_event_id, kind from wanted
             on conflict do nothing
             returning channel_id, webhook_event_id, kind
         )
         insert into event
             (id, channel_id, webhook_event_id, conversation_id, contact_id, kind, occurred_at, content, received_at)
         select wanted.*, $9 from wanted join fresh using (channel_id, webhook_event_id, kind)",
    )
    .bind(events.iter().map(|e| e.id).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.channel_id).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.webhook_event_id).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.conversation_id).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.contact_id).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.kind).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.occurred_at).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.content.as_slice()).collect::<Vec<_>>())
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}
