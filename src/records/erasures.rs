//! The rows of an erasure. What each function deletes is said by its name; in which order, and why, by `erasure`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::exports;

/// Why something is erased, and what or who says so.
#[derive(Clone, Copy, Debug)]
pub enum Cause<'a> {
    /// Its sender took it back.
    Unsend,
    /// It is older than this rule keeps it.
    Retention(Uuid),
    /// The person it is of has asked for it, by this request.
    Subject(Uuid),
    /// This operator ordered it, for this reason, a word of ours.
    Operator(Uuid, &'a str),
}

impl Cause<'_> {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unsend => "unsend",
            Self::Retention(_) => "retention",
            Self::Subject(_) => "subject",
            Self::Operator(..) => "operator",
        }
    }
}

/// What is erased.
#[derive(Clone, Copy, Debug)]
pub enum Erased<'a> {
    /// A message, by LINE's id.
    Message(&'a str),
    /// Another event.
    Event,
    /// What is known of a person.
    Person,
}

/// An erasure to be put on record.
#[derive(Clone, Copy)]
pub struct NewErasure<'a> {
    /// Our own id of the erasure.
    pub id: Uuid,
    /// The channel.
    pub channel_id: i32,
    /// What.
    pub erased: Erased<'a>,
    /// Our id of the message, event or contact.
    pub target: Uuid,
    /// Where it was said, where known.
    pub conversation_id: Option<Uuid>,
    /// LINE's `webhookEventId` of the unsend event, if it is one.
    pub webhook_event_id: Option<&'a str>,
    /// Timestamp of the unsend event; else when it was asked for.
    pub asked_at: DateTime<Utc>,
}

impl<'a> NewErasure<'a> {
    /// Of a message, or of an event, which has no id of LINE's to be found by; for another cause than an unsend.
    pub fn of(
        channel_id: i32,
        conversation_id: Uuid,
        target: Uuid,
        message_id: Option<&'a str>,
        asked_at: DateTime<Utc>,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            channel_id,
            erased: message_id.map_or(Erased::Event, Erased::Message),
            target,
            conversation_id: Some(conversation_id),
            webhook_event_id: None,
            asked_at,
        }
    }
}

/// An erasure now on record for the first time.
#[derive(FromRow, Clone, Copy)]
pub struct Asked {
    /// The erasure.
    pub id: Uuid,
    /// Our id of the message, event or contact to erase.
    pub message: Uuid,
}

/// Puts erasures on record. Those on record already are not in the answer. Nothing twice.
pub async fn ask(
    db: &mut PgConnection,
    erasures: &[NewErasure<'_>],
    cause: Cause<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Asked>> {
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
                 as w (id, channel_id, message_id, message, conversation_id, webhook_event_id, asked_at, event_id, contact_id)
         ), new as (
             insert into erasure
                 (id, channel_id, message_id, conversation_id, webhook_event_id, asked_at, cause, rows_gone_at,
                  event_id, contact_id, rule_id, request_id, operator_id, reason)
             select id, channel_id, message_id, conversation_id, webhook_event_id, asked_at, $11, $8,
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
    .bind(erasures.iter().map(|e| e.asked_at).collect::<Vec<_>>())
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

/// Locks what hangs on these messages, and these events, until the transaction ends: no download can finish into their
/// attachments from here on, and nothing under their keys is moved. No export begins before the end either. What a later
/// statement sees is as whoever held a row has left it.
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
    .bind(exports::LOCK)
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes messages and events that are locked. Revisions, attachments and jobs go with them by foreign key, every object
/// of theirs goes to the sweep in the name of its erasure, whatever its state, and the keys they are sealed under are said
/// to have to be destroyed. One that is being moved from one key to another is readable by both until the first one is
/// gone. What there was is counted on the record, which is closed where there is nothing to wait for. The sweep takes objects in
/// the order of `look_at`.
pub async fn delete(
    db: &mut PgConnection,
    asked: &[Asked],
    now: DateTime<Utc>,
    look_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "with asked as (
             select * from unnest($1::uuid[], $2::uuid[]) as e (id, message)
         ), objects as (
             select o.key, asked.id, key_of(o.sealed_key) as under
             from asked join attachment a on a.message_id = asked.message join object o on o.attachment_id = a.id
             order by o.key for update of o
         ), condemned as (
             update object o set state = 'purge', erasure_id = objects.id, look_at = $4, sealed_key = null
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
    .bind(look_at)
    .execute(db)
    .await?;
    Ok(())
}
