//! The SQL of an erasure: inserts it, locks its targets, deletes their rows. The head of the module `erasure` says in
//! which order, and why.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::locks;

/// Why something is erased, and by which rule, request or operator.
#[derive(Clone, Copy, Debug)]
pub enum Cause<'a> {
    /// The sender unsent the message.
    Unsend,
    /// It is older than the rule with this id keeps it.
    Retention(Uuid),
    /// A person requested the erasure of their data, in the subject request with this id.
    Subject(Uuid),
    /// The operator with this id ordered it, for this reason: one of the words that the column `erasure.reason` allows.
    Operator(Uuid, &'a str),
}

impl Cause<'_> {
    /// The word for the column `erasure.cause`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unsend => "unsend",
            Self::Retention(_) => "retention",
            Self::Subject(_) => "subject",
            Self::Operator(..) => "operator",
        }
    }
}

/// Kind of thing that is erased.
#[derive(Clone, Copy, Debug)]
pub enum Erased<'a> {
    /// A message, by LINE's id.
    Message(&'a str),
    /// Another event.
    Event,
    /// A person's profile, picture and memberships.
    Person,
}

/// An erasure to insert.
#[derive(Clone, Copy)]
pub struct NewErasure<'a> {
    /// Our own id of the erasure.
    pub id: Uuid,
    /// The channel.
    pub channel_id: i32,
    /// Kind of the target.
    pub erased: Erased<'a>,
    /// Our id of the message, event or contact.
    pub target: Uuid,
    /// The conversation of the target, where known.
    pub conversation_id: Option<Uuid>,
    /// LINE's `webhookEventId` of the unsend event, if the cause is an unsend.
    pub webhook_event_id: Option<&'a str>,
    /// Timestamp of the unsend event; for a retention rule the time of the erasure; else when it was requested.
    pub requested_at: DateTime<Utc>,
}

impl<'a> NewErasure<'a> {
    /// An erasure of a message, or of another event (`message_id` is `None`), for another cause than an unsend. An
    /// event is named by our id alone.
    pub fn of(
        channel_id: i32,
        conversation_id: Uuid,
        target: Uuid,
        message_id: Option<&'a str>,
        requested_at: DateTime<Utc>,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            channel_id,
            erased: message_id.map_or(Erased::Event, Erased::Message),
            target,
            conversation_id: Some(conversation_id),
            webhook_event_id: None,
            requested_at,
        }
    }
}

/// An erasure that was just inserted.
#[derive(FromRow, Clone, Copy)]
pub struct Requested {
    /// Our own id of the erasure.
    pub id: Uuid,
    /// Our id of the message, event or contact to erase.
    pub message: Uuid,
}

/// Inserts erasures. Returns the new ones; those that existed already are left out. No erasure may be passed twice.
pub async fn insert(
    db: &mut PgConnection,
    erasures: &[NewErasure<'_>],
    cause: Cause<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Requested>> {
    let message_id = |e: &NewErasure<'_>| match e.erased {
        Erased::Message(id) => Some(id.to_owned()),
        _ => None,
    };
    let event_id = |e: &NewErasure<'_>| matches!(e.erased, Erased::Event).then_some(e.target);
    let contact_id = |e: &NewErasure<'_>| matches!(e.erased, Erased::Person).then_some(e.target);
    let (rule, request, operator) = match cause {
        Cause::Unsend => (None, None, None),
        Cause::Retention(rule) => (Some(rule), None, None),
        Cause::Subject(request) => (None, Some(request), None),
        Cause::Operator(operator, reason) => (None, None, Some((operator, reason))),
    };
    sqlx::query_as(
        "with wanted as (
             select * from unnest($1::uuid[], $2::int[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::timestamptz[],
                                  $9::uuid[], $10::uuid[])
                 as w (id, channel_id, message_id, message, conversation_id, webhook_event_id, requested_at, event_id, contact_id)
         ), new as (
             insert into erasure
                 (id, channel_id, message_id, conversation_id, webhook_event_id, requested_at, cause, rows_gone_at,
                  event_id, contact_id, rule_id, request_id, operator_id, reason)
             select id, channel_id, message_id, conversation_id, webhook_event_id, requested_at, $11, $8,
                    event_id, contact_id, $12, $13, $14, $15
             from wanted order by channel_id, message_id, event_id
             on conflict do nothing
             returning id
         )
         select id, message from wanted join new using (id)",
    )
    .bind(erasures.iter().map(|e| e.id).collect::<Vec<_>>())
    .bind(erasures.iter().map(|e| e.channel_id).collect::<Vec<_>>())
    .bind(erasures.iter().map(message_id).collect::<Vec<_>>())
    .bind(erasures.iter().map(|e| e.target).collect::<Vec<_>>())
    .bind(erasures.iter().map(|e| e.conversation_id).collect::<Vec<_>>())
    .bind(erasures.iter().map(|e| e.webhook_event_id).collect::<Vec<_>>())
    .bind(erasures.iter().map(|e| e.requested_at).collect::<Vec<_>>())
    .bind(now)
    .bind(erasures.iter().map(event_id).collect::<Vec<_>>())
    .bind(erasures.iter().map(contact_id).collect::<Vec<_>>())
    .bind(cause.word())
    .bind(rule)
    .bind(request)
    .bind(operator.map(|(operator, _)| operator))
    .bind(operator.map(|(_, reason)| reason))
    .fetch_all(db)
    .await
}

/// Locks the attachments and revisions of these messages, and these events, until the transaction ends: from now on no
/// download can finish into the attachments, and none of their documents is moved to another wrapping key. No export
/// begins before the end either. A later statement sees each row as the transaction that held it before has left it.
pub async fn lock(db: &mut PgConnection, targets: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query(
        "with attachments as (
             select from attachment where message_id = any($1) order by id for update
         ), revisions as (
             select from revision where message_id = any($1) order by message_id, webhook_event_id, edited for update
         ), events as (
             select from event where id = any($1) order by id for update
         )
         select pg_advisory_xact_lock_shared($2)::text, (select count(*) from attachments),
             (select count(*) from revisions), (select count(*) from events)",
    )
    .bind(targets)
    .bind(locks::EXPORTS)
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes messages and events that are locked. Their revisions, attachments and jobs are deleted by foreign key. Every
/// object of theirs, whatever its state, is handed to the sweep in the name of its erasure. Marks the wrapping keys of
/// the erased rows and objects for destruction, and with them the conversation's closed keys: a document that is being
/// moved from one key to another is readable with both until the first one is destroyed. The erasure counts what was
/// deleted, and is complete at once where there is no object or key to wait for. The sweep takes objects in the order
/// of `next_attempt_at`.
pub async fn delete(
    db: &mut PgConnection,
    asked: &[Requested],
    now: DateTime<Utc>,
    next_attempt_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "with asked as (
             select * from unnest($1::uuid[], $2::uuid[]) as e (id, message)
         ), objects as (
             select o.key, asked.id, key_of(o.sealed_key) as under
             from asked join attachment a on a.message_id = asked.message join object o on o.attachment_id = a.id
             order by o.key for update of o
         ), condemned as (
             update object o set state = 'purge', erasure_id = objects.id, next_attempt_at = $4, sealed_key = null
             from objects where o.key = objects.key
         ), said as (
             select asked.id, m.conversation_id,
                 1 + (select count(*) from revision r where r.message_id = m.id)
                 + (select count(*) from attachment a where a.message_id = m.id)
                 + (select count(*) from job j join attachment a on a.id = j.attachment_id where a.message_id = m.id) as n
             from asked join message m on m.id = asked.message
             union all
             select asked.id, v.conversation_id, 1 from asked join event v on v.id = asked.message
         ), under as (
             select id, encode(under, 'hex')::uuid as key from objects where under is not null
             union
             select asked.id, encode(key_of(r.content), 'hex')::uuid
             from asked join revision r on r.message_id = asked.message
             union
             select asked.id, encode(key_of(v.content), 'hex')::uuid from asked join event v on v.id = asked.message
             union
             select said.id, k.id
             from said join keyring_key k on k.subject = said.conversation_id and k.closed_at is not null
         ), linked as (
             insert into erasure_key (erasure_id, key_id) select id, key from under on conflict do nothing
         ), dirty as (
             select id from keyring_key where dirty_at is null and id in (select key from under)
             order by id for no key update
         ), dirtied as (
             update keyring_key k set dirty_at = $3 from dirty where k.id = dirty.id
         ), messages as (
             delete from message m using asked where m.id = asked.message
         ), events as (
             delete from event v using asked where v.id = asked.message
         ), counted as (
             select id, coalesce((select n from said where said.id = asked.id), 0) as rows,
                 (select count(*) from objects where objects.id = asked.id) as objects,
                 (select count(*) from under where under.id = asked.id) as keys
             from asked
         )
         update erasure e
         set rows_erased = c.rows, objects_found = e.objects_found + c.objects, keys_found = e.keys_found + c.keys,
             objects_gone_at = case when e.objects_found + c.objects = 0 then $3 end,
             keys_gone_at = case when e.keys_found + c.keys = 0 then $3 end
         from counted c where e.id = c.id",
    )
    .bind(asked.iter().map(|a| a.id).collect::<Vec<_>>())
    .bind(asked.iter().map(|a| a.message).collect::<Vec<_>>())
    .bind(now)
    .bind(next_attempt_at)
    .execute(db)
    .await?;
    Ok(())
}
