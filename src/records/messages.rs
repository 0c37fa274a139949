//! Messages, written in batches.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::notify;
use crate::live;

/// A LINE message id that occurs in a batch, perhaps with its unsend.
pub struct Mention<'a> {
    /// The channel.
    pub channel_id: i32,
    /// LINE's message id.
    pub message_id: &'a str,
    /// The conversation, where known.
    pub conversation_id: Option<Uuid>,
    /// When it was sent; `None` if only its unsend is in the batch.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Timestamp of its unsend, if that is in the batch.
    pub unsent_at: Option<DateTime<Utc>>,
}

/// A message id as the database knows it now. The row is locked until the transaction ends.
#[derive(FromRow, Clone)]
pub struct Ref {
    /// The channel.
    pub channel_id: i32,
    /// LINE's message id.
    pub message_id: String,
    /// Our id.
    pub id: Uuid,
    /// True if it occurs for the first time.
    #[sqlx(skip)]
    pub fresh: bool,
    /// True if it is unsent, or was erased: nothing of it may be written.
    pub gone: bool,
    /// When it was sent, as far as known.
    pub occurred_at: Option<DateTime<Utc>>,
    /// The conversation, where known.
    pub conversation_id: Option<Uuid>,
}

/// Inserts or locks the `message_ref` row of each message id, which every writer of content locks, and inserts
/// tombstones.
///
/// This one statement serializes a message with its unsend: the transaction that commits second sees the first. The
/// rows are locked in the order of their keys, so that two replicas never deadlock. No pair (channel, message id) may
/// be passed twice.
pub async fn lock_message_refs(
    db: &mut PgConnection,
    mentions: &[Mention<'_>],
) -> sqlx::Result<Vec<Ref>> {
    let new: Vec<Uuid> = mentions.iter().map(|_| Uuid::now_v7()).collect();
    let mut refs: Vec<Ref> = sqlx::query_as(
        "insert into message_ref as r (channel_id, message_id, id, conversation_id, occurred_at, unsent_at)
         select * from unnest($1::int[], $2::text[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::timestamptz[])
         order by 1, 2
         on conflict (channel_id, message_id) do update
             set conversation_id = coalesce(r.conversation_id, excluded.conversation_id),
                 occurred_at = least(r.occurred_at, excluded.occurred_at),
                 unsent_at = coalesce(r.unsent_at, excluded.unsent_at)
         returning channel_id, message_id, id, unsent_at is not null or erased_at is not null as gone,
             occurred_at, conversation_id",
    )
    .bind(mentions.iter().map(|m| m.channel_id).collect::<Vec<_>>())
    .bind(mentions.iter().map(|m| m.message_id).collect::<Vec<_>>())
    .bind(&new)
    .bind(mentions.iter().map(|m| m.conversation_id).collect::<Vec<_>>())
    .bind(mentions.iter().map(|m| m.occurred_at).collect::<Vec<_>>())
    .bind(mentions.iter().map(|m| m.unsent_at).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    let new: HashSet<Uuid> = new.into_iter().collect();
    for found in &mut refs {
        found.fresh = new.contains(&found.id);
    }
    Ok(refs)
}

/// Location of a message that is not erased.
#[derive(FromRow, Clone, Debug)]
pub struct MessageLocation {
    /// Our id.
    pub id: Uuid,
    /// The channel.
    pub channel_id: i32,
    /// LINE's id.
    pub message_id: String,
    /// The conversation it is in.
    pub conversation_id: Uuid,
    /// LINE's timestamp.
    pub occurred_at: DateTime<Utc>,
}

/// A message by our id, if it is in scope, and neither erased nor withheld.
pub async fn locate(
    db: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
) -> sqlx::Result<Option<MessageLocation>> {
    sqlx::query_as(
        "select id, channel_id, message_id, conversation_id, occurred_at from message
         where id = $1 and channel_id = any($2) and not exists (select from withheld where message_id = $1)",
    )
    .bind(id)
    .bind(channels)
    .fetch_optional(db)
    .await
}

/// Locks the rows of messages of a channel (LINE's ids), as [`lock_message_refs`] does. A statement of its own, so that
/// the next one sees what the transactions that held the rows have written.
pub async fn lock(
    db: &mut PgConnection,
    channel_id: i32,
    message_ids: &[&str],
) -> sqlx::Result<()> {
    sqlx::query(
        "select from message_ref where channel_id = $1 and message_id = any($2) order by message_id for update",
    )
    .bind(channel_id)
    .bind(message_ids)
    .execute(db)
    .await?;
    Ok(())
}

/// Inserts tombstones for messages of a channel (LINE's ids) that are erased for another cause than an unsend. Their
/// rows are locked until the transaction ends, as by [`lock_message_refs`].
pub async fn insert_tombstones(
    db: &mut PgConnection,
    channel_id: i32,
    message_ids: &[&str],
    cause: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    // A batch of other events, which have no tombstones.
    if message_ids.is_empty() {
        return Ok(());
    }
    lock(db, channel_id, message_ids).await?;
    sqlx::query(
        "update message_ref set erased_at = $4, erased_cause = $3
         where channel_id = $1 and message_id = any($2) and unsent_at is null and erased_at is null",
    )
    .bind(channel_id)
    .bind(message_ids)
    .bind(cause)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the messages (our ids) whose original is stored. An edit can arrive before the original.
pub async fn with_original(db: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("select message_id from revision where message_id = any($1) and not edited")
        .bind(ids)
        .fetch_all(db)
        .await
}

/// A message to write, or to complete.
pub struct NewMessage<'a> {
    /// Our id, from [`lock_message_refs`].
    pub id: Uuid,
    /// The channel.
    pub channel_id: i32,
    /// LINE's id.
    pub message_id: &'a str,
    /// The conversation.
    pub conversation_id: Uuid,
    /// The sender, if LINE says who it was.
    pub contact_id: Option<Uuid>,
    /// LINE's message type.
    pub kind: &'a str,
    /// LINE's timestamp.
    pub occurred_at: DateTime<Utc>,
    /// LINE's id of the quoted message.
    pub quoted_message_id: Option<&'a str>,
}

/// A revision of a message, as its raw event.
pub struct NewRevision<'a> {
    /// Our id of the message.
    pub message: Uuid,
    /// LINE's `webhookEventId`.
    pub webhook_event_id: &'a str,
    /// The event's timestamp.
    pub occurred_at: DateTime<Utc>,
    /// True: an edit; false: the original.
    pub edited: bool,
    /// The event's raw bytes, sealed.
    pub content: Vec<u8>,
}

/// Writes messages with their revisions. A message that its edit has created earlier takes the original's time.
pub async fn write(
    db: &mut PgConnection,
    messages: &[NewMessage<'_>],
    revisions: &[NewRevision<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "with written as (
             insert into message as m
                 (id, channel_id, message_id, conversation_id, contact_id, kind, occurred_at, quoted_message_id, received_at)
             select *, $14::timestamptz
             from unnest($1::uuid[], $2::int[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::timestamptz[], $8::text[])
             on conflict (id) do update
                 set occurred_at = least(m.occurred_at, excluded.occurred_at),
                     contact_id = coalesce(m.contact_id, excluded.contact_id),
                     quoted_message_id = coalesce(m.quoted_message_id, excluded.quoted_message_id)
         )
         insert into revision (message_id, webhook_event_id, occurred_at, edited, content)
         select * from unnest($9::uuid[], $10::text[], $11::timestamptz[], $12::bool[], $13::bytea[])
         on conflict do nothing",
    )
    .bind(messages.iter().map(|m| m.id).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.channel_id).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.message_id).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.conversation_id).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.contact_id).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.kind).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.occurred_at).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.quoted_message_id).collect::<Vec<_>>())
    .bind(revisions.iter().map(|r| r.message).collect::<Vec<_>>())
    .bind(revisions.iter().map(|r| r.webhook_event_id).collect::<Vec<_>>())
    .bind(revisions.iter().map(|r| r.occurred_at).collect::<Vec<_>>())
    .bind(revisions.iter().map(|r| r.edited).collect::<Vec<_>>())
    .bind(revisions.iter().map(|r| r.content.as_slice()).collect::<Vec<_>>())
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Result of [`write_new`].
pub enum Written {
    /// All messages are written.
    All,
    /// One of the message ids was known already. No message is written, but the new ids are, as by
    /// [`lock_message_refs`]: the caller has to continue with that function, which finds them without their original.
    Known,
    /// No message is written, because only these keys are open.
    Closed(Vec<Uuid>),
}

/// Writes messages whose ids were never stored before, with their originals, and moves their conversations up the list:
/// everything [`lock_message_refs`], [`write()`] and [`notify::touch`] do, in one statement and so in one transaction. No
/// message, conversation or key may be passed twice.
pub async fn write_new(
    db: &mut PgConnection,
    messages: &[NewMessage<'_>],
    originals: &[NewRevision<'_>],
    conversations: &[(Uuid, DateTime<Utc>)],
    keys: &[Uuid],
    now: DateTime<Utc>,
) -> sqlx::Result<Written> {
    let (met, open): (i64, Vec<Uuid>) = sqlx::query_as(
        "with opened as materialized (
             select keys_open($16) as ids
         ), wanted as materialized (
             select * from unnest($1::uuid[], $2::int[], $3::text[], $4::uuid[], $5::uuid[], $6::text[],
                                  $7::timestamptz[], $8::text[], $9::text[], $10::bytea[])
                 as w (id, channel_id, message_id, conversation_id, contact_id, kind,
                       occurred_at, quoted_message_id, webhook_event_id, content)
             where (select cardinality(ids) from opened) = cardinality($16)
         ), met as (
             insert into message_ref (channel_id, message_id, id, conversation_id, occurred_at)
             select channel_id, message_id, id, conversation_id, occurred_at from wanted
             order by channel_id, message_id
             on conflict do nothing
             returning id
         ), written as (
             insert into message
                 (id, channel_id, message_id, conversation_id, contact_id, kind, occurred_at, quoted_message_id, received_at)
             select id, channel_id, message_id, conversation_id, contact_id, kind, occurred_at, quoted_message_id, $14
             from wanted where (select count(*) from met) = $13
         ), said as (
             insert into revision (message_id, webhook_event_id, occurred_at, edited, content)
             select id, webhook_event_id, occurred_at, false, content
             from wanted where (select count(*) from met) = $13
         ), moved as (
             update conversation c set last_at = t.at
             from (select * from unnest($11::uuid[], $12::timestamptz[]) as t (id, at) order by id) t
             where c.id = t.id and c.last_at < t.at
         ), told as (
             select pg_notify($17, $15)
         )
         select (select count(*) from met), ids from opened, told",
    )
    .bind(messages.iter().map(|m| m.id).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.channel_id).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.message_id).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.conversation_id).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.contact_id).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.kind).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.occurred_at).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.quoted_message_id).collect::<Vec<_>>())
    .bind(originals.iter().map(|r| r.webhook_event_id).collect::<Vec<_>>())
    .bind(originals.iter().map(|r| r.content.as_slice()).collect::<Vec<_>>())
    .bind(conversations.iter().map(|c| c.0).collect::<Vec<_>>())
    .bind(conversations.iter().map(|c| c.1).collect::<Vec<_>>())
    .bind(i64::try_from(messages.len()).unwrap_or(i64::MAX))
    .bind(now)
    .bind(notify::payload(conversations))
    .bind(keys)
    .bind(live::CHANNEL)
    .fetch_one(db)
    .await?;
    Ok(match usize::try_from(met) {
        _ if open.len() < keys.len() => Written::Closed(open),
        Ok(met) if met == messages.len() => Written::All,
        _ => Written::Known,
    })
}

/// Marks messages as edited at the time of their newest edit.
pub async fn mark_edited(db: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query(
        "update message set edited_at = newest.at
         from (select message_id, max(occurred_at) as at from revision
               where message_id = any($1) and edited group by message_id) newest
         where message.id = newest.message_id",
    )
    .bind(ids)
    .execute(db)
    .await?;
    Ok(())
}

/// A file to fetch.
pub struct NewAttachment<'a> {
    /// Our id of the message.
    pub message: Uuid,
    /// The channel.
    pub channel_id: i32,
    /// image, video, audio or file.
    pub kind: &'a str,
    /// True if another host than LINE has it.
    pub external: bool,
    /// Contact that sent it; the conversation, if LINE does not say who did. Fetches take turns by sender.
    pub sender: Uuid,
}

/// Writes attachments and the jobs that fetch them.
pub async fn attach(
    db: &mut PgConnection,
    attachments: &[NewAttachment<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = attachments.iter().map(|_| Uuid::now_v7()).collect();
    sqlx::query(
        "with written as (
             insert into attachment (id, message_id, channel_id, kind, provider, preview_state, created_at)
             select id, message_id, channel_id, kind, case when external then 'external' else 'line' end,
                    case when kind in ('image', 'video') then 'waiting' else 'none' end, $7
             from unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::bool[])
                 as a (id, message_id, channel_id, kind, external)
             on conflict do nothing
             returning id, channel_id, kind in ('video', 'file') as large, preview_state,
                 provider = 'line' as asks_line
         ), flows as (
             select id, job_flow(sender) as flow from unnest($1::uuid[], $6::uuid[]) as a (id, sender)
         )
         insert into job (kind, channel_id, attachment_id, asks_line, large, flow, run_at)
         select 'preview', channel_id, id, asks_line, false, flow, $7
         from written join flows using (id) where preview_state = 'waiting'
         union all
         select 'original', channel_id, id, asks_line, large, flow, $7 from written join flows using (id)
         on conflict do nothing",
    )
    .bind(&ids)
    .bind(attachments.iter().map(|a| a.message).collect::<Vec<_>>())
    .bind(attachments.iter().map(|a| a.channel_id).collect::<Vec<_>>())
    .bind(attachments.iter().map(|a| a.kind).collect::<Vec<_>>())
    .bind(attachments.iter().map(|a| a.external).collect::<Vec<_>>())
    .bind(attachments.iter().map(|a| a.sender).collect::<Vec<_>>())
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}
