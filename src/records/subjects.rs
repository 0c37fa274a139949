//! Subject requests: a person wants a copy of their data, its erasure, or both.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Result};
use uuid::Uuid;

use super::{erasures::Requested, export_failure::Failure};

/// A request, as pages show it.
#[derive(FromRow, Clone, Debug)]
pub struct Request {
    /// Our own id.
    pub id: Uuid,
    /// Login of the operator who entered it.
    pub requested_by: String,
    /// When it was entered.
    pub requested_at: DateTime<Utc>,
    /// `none`, `asked`, `running`, `ready`, `over` or `failed`.
    pub export_state: String,
    /// Failed attempts to make the export, without those that failed because database, bucket or keyring were
    /// unreachable.
    pub export_attempts: i32,
    /// Why the last attempt failed.
    pub export_failure: Option<Failure>,
    /// When the next attempt is due; `None`: at once.
    pub export_next_attempt_at: Option<DateTime<Utc>>,
    /// When the last export was made.
    pub exported_at: Option<DateTime<Utc>>,
    /// Login of the operator who entered the erasure.
    pub erase_requested_by: Option<String>,
    /// When the erasure was requested; `None`: it was not.
    pub erase_requested_at: Option<DateTime<Utc>>,
    /// When the last row was deleted.
    pub erased_at: Option<DateTime<Utc>>,
    /// Messages erased.
    pub messages_erased: i32,
    /// Other events erased.
    pub events_erased: i32,
}

/// A request to work on.
#[derive(FromRow, Clone, Debug)]
pub struct Task {
    /// Our own id.
    pub id: Uuid,
    /// The channel.
    pub channel_id: i32,
    /// The person.
    pub contact_id: Uuid,
    /// When the erasure was requested, if it was; messages and events stored later are not part of it.
    pub erase_requested_at: Option<DateTime<Utc>>,
}

/// A message or event of a person.
#[derive(FromRow, Clone, Debug)]
pub struct PersonItem {
    /// Our own id.
    pub id: Uuid,
    /// LINE's id of the message; `None`: it is an event.
    pub message_id: Option<String>,
    /// The conversation it is in.
    pub conversation_id: Uuid,
    /// LINE's timestamp.
    pub occurred_at: DateTime<Utc>,
}

/// Position among a person's messages or events (keyset pagination): conversation, time and id. The id decides between
/// equal times, of which there may be more than a page.
pub type From = (Uuid, DateTime<Utc>, Uuid);

/// The first page begins here.
pub const START: From = (Uuid::nil(), DateTime::UNIX_EPOCH, Uuid::nil());

impl PersonItem {
    /// The position after this entry, where the next page begins.
    pub fn end(&self) -> From {
        (self.conversation_id, self.occurred_at, self.id)
    }
}

/// Kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A copy of their data.
    Export,
    /// The erasure of their data.
    Erasure,
}

/// Enters a request, in a transaction: as part of the person's open request, if there is one. `None`: no contact in
/// scope has this id.
pub async fn ask(
    conn: &mut PgConnection,
    channels: &[i32],
    contact_id: Uuid,
    wish: RequestKind,
    by: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>> {
    let channel: Option<i32> = sqlx::query_scalar(
        "select channel_id from contact where id = $1 and channel_id = any($2) for no key update",
    )
    .bind(contact_id)
    .bind(channels)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(channel) = channel else {
        return Ok(None);
    };
    let open: Option<Uuid> = sqlx::query_scalar(
        // An export that waits for its next attempt is the one that is meant, even if an erasure waits for it.
        "select id from subject_request where contact_id = $1
             and (erase_requested_at is null or ($2 and erased_at is null and export_state = 'asked'))
         order by requested_at desc limit 1",
    )
    .bind(contact_id)
    .bind(matches!(wish, RequestKind::Export))
    .fetch_optional(&mut *conn)
    .await?;
    let id = open.unwrap_or_else(Uuid::now_v7);
    sqlx::query(
        "insert into subject_request (id, channel_id, contact_id, requested_by, requested_at) values ($1, $2, $3, $4, $5)
         on conflict do nothing",
    )
    .bind(id)
    .bind(channel)
    .bind(contact_id)
    .bind(by)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    let update = match wish {
        RequestKind::Export => {
            sqlx::query(
                // An export that waits for its next attempt is made at once: the cause of the failure may be repaired.
                "update subject_request set export_state = 'asked',
                     export_attempts = 0, export_failure = null, export_next_attempt_at = null
                 where id = $1 and export_state in ('none', 'over', 'failed', 'asked')",
            )
            .bind(id)
        }
        RequestKind::Erasure => sqlx::query(
            "update subject_request set erase_requested_by = $2, erase_requested_at = $3 where id = $1",
        )
        .bind(id)
        .bind(by)
        .bind(now),
    };
    update.execute(conn).await?;
    Ok(Some(id))
}

/// The requests of a person, the newest first.
pub async fn of(
    conn: &mut PgConnection,
    channels: &[i32],
    contact_id: Uuid,
) -> Result<Vec<Request>> {
    sqlx::query_as(
        "select r.id, a.login as requested_by, requested_at, export_state, export_attempts, export_failure, export_next_attempt_at,
             exported_at, e.login as erase_requested_by, erase_requested_at, erased_at, messages_erased, events_erased
         from subject_request r join operator a on a.id = r.requested_by
         left join operator e on e.id = r.erase_requested_by
         where contact_id = $2 and channel_id = any($1) order by requested_at desc, r.id desc",
    )
    .bind(channels)
    .bind(contact_id)
    .fetch_all(conn)
    .await
}

/// Requests whose erasure was requested and is not complete. A copy that was requested, too, is made first.
pub async fn to_erase(conn: &mut PgConnection) -> Result<Vec<Task>> {
    sqlx::query_as(
        "select id, channel_id, contact_id, erase_requested_at from subject_request
         where erase_requested_at is not null and erased_at is null and export_state not in ('asked', 'running')
         order by erase_requested_at, id",
    )
    .fetch_all(conn)
    .await
}

/// Up to `limit` messages of a person that were stored at or before `until`, after `from`: everything in their own
/// chat, and their messages elsewhere. The query looks in every group of the channel, so that none is missed.
pub async fn messages(
    conn: &mut PgConnection,
    task: &Task,
    until: DateTime<Utc>,
    from: From,
    limit: i64,
) -> Result<Vec<PersonItem>> {
    theirs(
        conn,
        "select m.* from (
             select id, coalesce(contact_id = $2, false) as own from conversation
             where channel_id = $1 and id >= $3 and (kind <> 'user' or contact_id = $2) order by id
         ) c cross join lateral (
             select m.id, m.message_id, m.conversation_id, m.occurred_at from message m
             where m.conversation_id = c.id and (c.id > $3 or (m.occurred_at, m.id) > ($4, $7))
                 and (own or m.contact_id = $2) and m.received_at <= $5
             order by m.occurred_at, m.id limit $6
         ) m order by m.conversation_id, m.occurred_at, m.id limit $6",
        task,
        until,
        from,
        limit,
    )
    .await
}

/// As [`messages`], for other events.
pub async fn events(
    conn: &mut PgConnection,
    task: &Task,
    until: DateTime<Utc>,
    from: From,
    limit: i64,
) -> Result<Vec<PersonItem>> {
    theirs(
        conn,
        "select m.* from (
             select id, coalesce(contact_id = $2, false) as own from conversation
             where channel_id = $1 and id >= $3 and (kind <> 'user' or contact_id = $2) order by id
         ) c cross join lateral (
             select v.id, null::text as message_id, v.conversation_id, v.occurred_at from event v
             where v.conversation_id = c.id and (c.id > $3 or (v.occurred_at, v.id) > ($4, $7))
                 and (own or v.contact_id = $2) and v.received_at <= $5
             order by v.occurred_at, v.id limit $6
         ) m order by m.conversation_id, m.occurred_at, m.id limit $6",
        task,
        until,
        from,
        limit,
    )
    .await
}

async fn theirs(
    conn: &mut PgConnection,
    sql: &'static str,
    task: &Task,
    until: DateTime<Utc>,
    (place, at, id): From,
    limit: i64,
) -> Result<Vec<PersonItem>> {
    sqlx::query_as(sql)
        .bind(task.channel_id)
        .bind(task.contact_id)
        .bind(place)
        .bind(at)
        .bind(until)
        .bind(limit)
        .bind(id)
        .fetch_all(conn)
        .await
}

/// Locks the request until the transaction ends. `false`: its erasure is complete.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<bool> {
    let found: Option<i32> = sqlx::query_scalar(
        "select 1 from subject_request where id = $1 and erased_at is null for update",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Adds to the numbers of erased messages and events.
pub async fn count(conn: &mut PgConnection, id: Uuid, messages: i32, events: i32) -> Result<()> {
    sqlx::query(
        "update subject_request set messages_erased = messages_erased + $2, events_erased = events_erased + $3
         where id = $1",
    )
    .bind(id)
    .bind(messages)
    .bind(events)
    .execute(conn)
    .await?;
    Ok(())
}

/// Empties the contact: deletes profile, picture, memberships, and the jobs that fetch data about them. The row stays,
/// because committers remember its id; the next event of the same person finds it as if it were new. The erasure
/// `asked` counts what was deleted.
pub async fn empty(
    conn: &mut PgConnection,
    task: &Task,
    asked: &Requested,
    now: DateTime<Utc>,
) -> Result<()> {
    // Locks the contact before its jobs and its picture, in the same order as the worker that stores a picture.
    lock_contact(conn, task.contact_id).await?;
    delete_jobs(conn, task.contact_id).await?;
    delete_memberships_and_picture(conn, task.contact_id, asked, now).await?;
    reset_contact(conn, task.contact_id, now).await?;
    sqlx::query("update subject_request set erased_at = $2 where id = $1")
        .bind(task.id)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

async fn lock_contact(conn: &mut PgConnection, contact_id: Uuid) -> Result<()> {
    sqlx::query("select from contact where id = $1 for update")
        .bind(contact_id)
        .execute(conn)
        .await?;
    Ok(())
}

async fn delete_jobs(conn: &mut PgConnection, contact_id: Uuid) -> Result<()> {
    sqlx::query("delete from job where contact_id = $1")
        .bind(contact_id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes the memberships, hands the object of the picture to the sweep, marks the wrapping keys of the contact and of
/// its own chat for destruction, and counts all of this in the erasure.
async fn delete_memberships_and_picture(
    conn: &mut PgConnection,
    contact_id: Uuid,
    asked: &Requested,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "with linked as (
             insert into erasure_key (erasure_id, key_id)
             select $1, encode(key_of(sealed_key), 'hex')::uuid from object
             where key = (select picture_key from contact where id = $2) and sealed_key is not null
             union
             select $1, encode(key_of(profile), 'hex')::uuid from contact where id = $2 and profile is not null
             union
             select $1, id from keyring_key
             where subject in (select $2 union select id from conversation where contact_id = $2)
             on conflict do nothing
             returning key_id
         ), dirty as (
             update keyring_key set dirty_at = coalesce(dirty_at, $3) where id in (select key_id from linked)
         ), condemned as (
             update object set state = 'purge', erasure_id = $1, next_attempt_at = $3, sealed_key = null
             where key = (select picture_key from contact where id = $2)
             returning key
         ), gone as (
             delete from member where contact_id = $2 returning 1
         )
         update erasure set
             rows_erased = (select count(*) from gone) + (select count(profile) from contact where id = $2),
             objects_found = (select count(*) from condemned),
             objects_gone_at = case when not exists (select from condemned) then $3 end,
             keys_found = (select count(*) from linked),
             keys_gone_at = case when not exists (select from linked) then $3 end
         where id = $1",
    )
    .bind(asked.id)
    .bind(contact_id)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets the contact back to what it was when it was new.
async fn reset_contact(
    conn: &mut PgConnection,
    contact_id: Uuid,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "update contact set profile = null, profile_state = 'unknown', profile_asked_at = null,
             picture_key = null, picture_type = null, follows = null, follow_changed_at = null, first_seen_at = $2,
             forgotten_at = $2
         where id = $1",
    )
    .bind(contact_id)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
