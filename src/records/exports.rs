//! Exports: copies for people of their data. This module decides what belongs in an export, and when it ends.
//!
//! A message in an export can be unsent at any moment. So a transaction that erases or withholds something of a person
//! also withdraws their export, finished or not, and the worker makes another one. Only the erasure that the person
//! requested leaves the export in place.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Result};
use uuid::Uuid;

use super::{erasures::Requested, export_failure::Failure, locks, sealed, subjects::Task};
use crate::{
    objects::ObjectKey,
    seal::{Keyring, SealContext},
};

/// Maximum number of attempts at an export. The pauses between them double from one minute and add up to 34 hours, in
/// which an administrator can repair the cause.
pub const MAX_ATTEMPTS: i32 = 12;

/// An export to be made.
#[derive(FromRow, Clone, Debug)]
pub struct Due {
    /// The request, with its person.
    #[sqlx(flatten)]
    pub task: Task,
    /// Attempts that failed, without those that failed because database, bucket or keyring were unreachable.
    pub attempts: i32,
}

/// Exports to make at `now`, among them those that a process has begun and abandoned.
pub async fn due(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Due>> {
    sqlx::query_as(
        "select id, channel_id, contact_id, erase_requested_at, export_attempts as attempts from subject_request
         where (export_state = 'asked' or (export_state = 'running'
                 and not exists (select from object where key = export_key and state = 'writing')))
             and (export_next_attempt_at is null or export_next_attempt_at <= $1)
         order by requested_at, id",
    )
    .bind(now)
    .fetch_all(conn)
    .await
}

/// Records a failed attempt, whose object the caller has discarded. The next attempt is due at `again`; `None`: the
/// export is given up. Does nothing if another process is making the export by now.
pub async fn record_failure(
    conn: &mut PgConnection,
    id: Uuid,
    attempts: i32,
    failure: Failure,
    again: Option<DateTime<Utc>>,
) -> Result<()> {
    sqlx::query(
        "update subject_request set export_state = case when $4::timestamptz is null then 'failed' else 'asked' end,
             export_key = null, export_attempts = $2, export_failure = $3, export_next_attempt_at = $4
         where id = $1 and export_state in ('asked', 'running')
             and not exists (select from object where key = export_key and state = 'writing')",
    )
    .bind(id)
    .bind(attempts)
    .bind(failure)
    .bind(again)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up failing exports for which an erasure requested at or before `since` waits, whatever the cause of the
/// failure: a bucket that cannot be written to may be full until something is erased. Returns how many.
pub async fn give_up(conn: &mut PgConnection, since: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query(
        "update subject_request set export_state = 'failed', export_next_attempt_at = null
         where export_state = 'asked' and export_failure is not null and erased_at is null and erase_requested_at <= $1",
    )
    .bind(since)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Begins an export, in a transaction: an erasure of something in it withdraws it from now on. `false`: the export is
/// not wanted any more.
pub async fn begin(conn: &mut PgConnection, id: Uuid, key: ObjectKey) -> Result<bool> {
    // Waits for erasures that have already looked for exports and have not found this one.
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(locks::EXPORTS)
        .execute(&mut *conn)
        .await?;
    let done = sqlx::query(
        "update subject_request set export_state = 'running', export_key = $2, export_next_attempt_at = null
         where id = $1 and export_state in ('asked', 'running')",
    )
    .bind(id)
    .bind(key.to_string())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Marks the export as ready. `false`: something in it was erased meanwhile.
pub async fn finish(
    conn: &mut PgConnection,
    id: Uuid,
    key: ObjectKey,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query(
        "update subject_request set export_state = 'ready', exported_at = $3,
             export_attempts = 0, export_failure = null, export_next_attempt_at = null
         where id = $1 and export_key = $2 and export_state = 'running'",
    )
    .bind(id)
    .bind(key.to_string())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends the exports made at or before `before`, and marks their objects and keys for destruction. Returns how many.
pub async fn expire(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64> {
    let done = sqlx::query(
        "with over as (
             update subject_request set export_state = 'over', export_key = null
             from (select id as old, export_key as key from subject_request
                   where export_state = 'ready' and exported_at <= $1 for update) o
             where id = o.old returning id, o.key
         ), dirty as (
             update keyring_key set dirty_at = coalesce(dirty_at, $2) where subject in (select id from over)
         )
         update object set state = 'purge', next_attempt_at = $2, sealed_key = null where key in (select key from over)",
    )
    .bind(before)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// An export that holds something that is being erased or withheld.
#[derive(FromRow, Clone, Copy, Debug)]
pub struct Affected {
    request: Uuid,
    /// Our id of the message or event.
    erased: Uuid,
}

/// Exports of the people whose messages and events these are. The caller's transaction holds the lock `locks::EXPORTS`.
pub async fn affected(conn: &mut PgConnection, targets: &[Uuid]) -> Result<Vec<Affected>> {
    sqlx::query_as(
        "select distinct on (r.id) r.id as request, e.id as erased
         from subject_request r join (
             select id, contact_id, conversation_id from message where id = any($1)
             union all select id, contact_id, conversation_id from event where id = any($1)
         ) e on e.contact_id = r.contact_id
             or e.conversation_id in (select id from conversation c where c.contact_id = r.contact_id)
         where export_state in ('running', 'ready') order by r.id",
    )
    .bind(targets)
    .fetch_all(conn)
    .await
}

/// Withdraws exports without an erasure, so that others are made: a withheld message must not be in them.
pub async fn take_back(
    conn: &mut PgConnection,
    affected: &[Affected],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<Uuid> = affected.iter().map(|one| one.request).collect();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "with taken as (
             update subject_request set export_state = 'asked', export_key = null
             from (select id as old, export_key as key from subject_request
                   where id = any($1) and export_state in ('running', 'ready') order by id for update) o
             where id = o.old returning id, o.key
         ), dirty as (
             update keyring_key set dirty_at = coalesce(dirty_at, $2) where subject in (select id from taken)
         )
         update object set state = 'purge', next_attempt_at = $2, sealed_key = null where key in (select key from taken)",
    )
    .bind(ids)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Withdraws exports in the name of the erasures, so that others are made.
pub async fn withdraw(
    conn: &mut PgConnection,
    affected: &[Affected],
    asked: &[Requested],
    now: DateTime<Utc>,
) -> Result<()> {
    for one in affected {
        let erasure = asked.iter().find(|asked| asked.message == one.erased);
        let key: Option<Option<String>> = sqlx::query_scalar(
            "select export_key from subject_request where id = $1 and export_state in ('running', 'ready') for update",
        )
        .bind(one.request)
        .fetch_optional(&mut *conn)
        .await?;
        let (Some(Some(key)), Some(erasure)) = (key, erasure) else {
            continue;
        };
        sqlx::query(
            "with linked as (
                 insert into erasure_key (erasure_id, key_id)
                 select $2, id from keyring_key where subject = $1 on conflict do nothing returning key_id
             ), dirty as (
                 update keyring_key set dirty_at = coalesce(dirty_at, $4) where id in (select key_id from linked)
             ), condemned as (
                 update object set state = 'purge', erasure_id = $2, next_attempt_at = $4, sealed_key = null
                 where key = $3 returning 1
             ), again as (
                 update subject_request set export_state = 'asked', export_key = null where id = $1
             )
             update erasure set objects_found = objects_found + (select count(*) from condemned),
                 keys_found = keys_found + (select count(*) from linked)
             where id = $2",
        )
        .bind(one.request)
        .bind(erasure.id)
        .bind(key)
        .bind(now)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// The object of an export that can be downloaded, if its channel is in scope.
pub async fn find(conn: &mut PgConnection, channels: &[i32], id: Uuid) -> Result<Option<String>> {
    let key: Option<Option<String>> = sqlx::query_scalar(
        "select export_key from subject_request where id = $1 and channel_id = any($2) and export_state = 'ready'",
    )
    .bind(id)
    .bind(channels)
    .fetch_optional(conn)
    .await?;
    Ok(key.flatten())
}

/// A contact, as the export describes it. The profile holds the person's name.
#[derive(FromRow)]
pub struct Person {
    /// LINE's user id.
    pub user_id: String,
    /// True if they follow the Official Account.
    pub follows: Option<bool>,
    /// When their first event arrived, or the time of their last erasure.
    pub first_seen_at: DateTime<Utc>,
    /// Profile of the person: LINE's JSON.
    pub profile: Option<Vec<u8>>,
    /// Object with their picture.
    pub picture_key: Option<String>,
}

/// The person of a request.
pub async fn person(conn: &mut PgConnection, keyring: &Keyring, task: &Task) -> Result<Person> {
    let mut person: Person = sqlx::query_as(
        "select user_id, follows, first_seen_at, profile, picture_key from contact where id = $1",
    )
    .bind(task.contact_id)
    .fetch_one(conn)
    .await?;
    let profile = person.profile.take();
    person.profile =
        sealed::open_one(keyring, SealContext::Profile(task.contact_id), profile).await?;
    Ok(person)
}

/// A group or room that the person is, or was, in.
#[derive(FromRow)]
pub struct Membership {
    /// `group` or `room`.
    pub kind: String,
    /// LINE's id of the group or room.
    pub source_id: String,
    /// True if the person is still a member.
    pub present: bool,
    /// When `present` last changed.
    pub changed_at: DateTime<Utc>,
}

/// The memberships of the person.
pub async fn memberships(conn: &mut PgConnection, task: &Task) -> Result<Vec<Membership>> {
    sqlx::query_as(
        "select kind, source_id, m.present, changed_at from member m join conversation c on c.id = conversation_id
         where m.contact_id = $1 order by changed_at",
    )
    .bind(task.contact_id)
    .fetch_all(conn)
    .await
}

/// A message without its content, or an event with it.
#[derive(FromRow)]
pub struct Item {
    /// Our own id.
    pub id: Uuid,
    /// LINE's id of the message, or of the event.
    pub line_id: String,
    /// LINE's type of the message or event.
    pub kind: String,
    /// LINE's timestamp.
    pub occurred_at: DateTime<Utc>,
    /// When it was stored.
    pub received_at: DateTime<Utc>,
    /// Kind of the conversation: `user`, `group` or `room`.
    pub place: String,
    /// LINE's id of the conversation.
    pub source_id: String,
    /// Object with the original of its attachment, if that is kept.
    pub original_key: Option<String>,
    /// Raw webhook event of an event; `None` for a message, or if it cannot be opened.
    pub content: Option<Vec<u8>>,
}

/// Messages by our ids, in order of time.
pub async fn messages(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Item>> {
    sqlx::query_as(
        "select m.id, m.message_id as line_id, m.kind, m.occurred_at, m.received_at, c.kind as place, c.source_id,
             case original_state when 'kept' then original_key end as original_key, null::bytea as content
         from message m join conversation c on c.id = m.conversation_id left join attachment a on a.message_id = m.id
         where m.id = any($1) order by m.occurred_at, m.id",
    )
    .bind(ids)
    .fetch_all(conn)
    .await
}

/// Events by our ids, in order of time, with their content.
pub async fn events(conn: &mut PgConnection, keyring: &Keyring, ids: &[Uuid]) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = sqlx::query_as(
        "select v.id, v.webhook_event_id as line_id, v.kind, v.occurred_at, v.received_at, c.kind as place, c.source_id,
             null as original_key, v.content
         from event v join conversation c on c.id = v.conversation_id
         where v.id = any($1) order by v.occurred_at, v.id",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    let fields = items
        .iter_mut()
        .map(|item| (SealContext::Event(item.id), &mut item.content));
    sealed::open(keyring, fields.collect()).await?;
    Ok(items)
}
