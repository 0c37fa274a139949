//! Contacts, conversations and members for the committer, which finds or creates them for a whole batch in one
//! statement.

use chrono::{DateTime, Duration, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// A profile or group summary older than this is requested from LINE again.
pub const PROFILE_MAX_AGE: Duration = Duration::hours(24);

/// How long LINE's answer "not found" counts: people consent, follow and come back.
pub const NOT_FOUND_MAX_AGE: Duration = Duration::hours(6);

/// A contact that exists now. The caller matches the rows with the ids it asked for: a join in the statement would
/// compare each with each.
#[derive(FromRow)]
pub struct Contact {
    /// The channel.
    pub channel_id: i32,
    /// LINE's user id.
    pub user_id: String,
    /// Our id.
    pub id: Uuid,
    /// True if its profile has to be requested from LINE.
    pub due: bool,
}

/// A conversation that now exists.
#[derive(FromRow)]
pub struct Conversation {
    /// The channel.
    pub channel_id: i32,
    /// `user`, `group`, `room` or `channel`.
    pub kind: String,
    /// LINE's id of the chat.
    pub source_id: String,
    /// Our id.
    pub id: Uuid,
    /// True if its summary has to be requested from LINE.
    pub due: bool,
}

/// Finds or creates the contacts with these LINE user ids (parallel slices; no pair may occur twice). `at`: when the
/// newest event that names them happened. An event that is older than the person's erasure does not make their profile
/// due.
///
/// Another replica may create one at the same moment, which this statement does not see; the caller calls again for the
/// ids that are missing in the answer.
pub async fn contacts(
    db: &mut PgConnection,
    channels: &[i32],
    user_ids: &[&str],
    at: &[DateTime<Utc>],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Contact>> {
    let new: Vec<Uuid> = user_ids.iter().map(|_| Uuid::now_v7()).collect();
    sqlx::query_as(
        "with wanted as (
             select * from unnest($1::int[], $2::text[], $3::uuid[], $7::timestamptz[]) as w (channel_id, user_id, id, at)
         ), made as (
             insert into contact (id, channel_id, user_id, first_seen_at)
             select id, channel_id, user_id, $4 from wanted w
             where not exists (select from contact c where c.channel_id = w.channel_id and c.user_id = w.user_id)
             order by channel_id, user_id
             on conflict do nothing
             returning id, channel_id, user_id
         )
         select c.channel_id, c.user_id, c.id, coalesce(c.profile_asked_at
                    < case c.profile_state when 'not_found' then $6 else $5 end, true)
                and coalesce(c.forgotten_at < w.at, true) as due
         from wanted w join contact c using (channel_id, user_id)
         union all
         select channel_id, user_id, id, true from made",
    )
    .bind(channels)
    .bind(user_ids)
    .bind(&new)
    .bind(now)
    .bind(now - PROFILE_MAX_AGE)
    .bind(now - NOT_FOUND_MAX_AGE)
    .bind(at)
    .fetch_all(db)
    .await
}

/// A conversation to find or create.
pub struct Wanted<'a> {
    /// The channel.
    pub channel_id: i32,
    /// `user`, `group`, `room` or `channel`.
    pub kind: &'a str,
    /// LINE's id of the chat.
    pub source_id: &'a str,
    /// The other person of a one-on-one chat.
    pub contact_id: Option<Uuid>,
    /// Time of the newest event in it, for a conversation that has to be created.
    pub last_at: DateTime<Utc>,
}

/// Finds or creates conversations; none may occur twice. As with [`contacts`], some may be missing in the answer.
pub async fn conversations(
    db: &mut PgConnection,
    wanted: &[Wanted<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Conversation>> {
    let new: Vec<Uuid> = wanted.iter().map(|_| Uuid::now_v7()).collect();
    sqlx::query_as(
        "with wanted as (
             select * from unnest($1::int[], $2::text[], $3::text[], $4::uuid[], $5::timestamptz[], $6::uuid[])
                 as w (channel_id, kind, source_id, contact_id, last_at, id)
         ), made as (
             insert into conversation (id, channel_id, kind, source_id, contact_id, last_at, created_at)
             select id, channel_id, kind, source_id, contact_id, last_at, $9 from wanted w
             where not exists (select from conversation c where c.channel_id = w.channel_id
                               and c.kind = w.kind and c.source_id = w.source_id)
             order by channel_id, kind, source_id
             on conflict do nothing
             returning id, channel_id, kind, source_id
         )
         select c.channel_id, c.kind, c.source_id, c.id, c.kind = 'group' and coalesce(c.summary_asked_at
                    < case c.summary_state when 'not_found' then $8 else $7 end, true) as due
         from wanted w join conversation c using (channel_id, kind, source_id)
         union all
         select channel_id, kind, source_id, id, kind = 'group' from made",
    )
    .bind(wanted.iter().map(|w| w.channel_id).collect::<Vec<_>>())
    .bind(wanted.iter().map(|w| w.kind).collect::<Vec<_>>())
    .bind(wanted.iter().map(|w| w.source_id).collect::<Vec<_>>())
    .bind(wanted.iter().map(|w| w.contact_id).collect::<Vec<_>>())
    .bind(wanted.iter().map(|w| w.last_at).collect::<Vec<_>>())
    .bind(&new)
    .bind(now - PROFILE_MAX_AGE)
    .bind(now - NOT_FOUND_MAX_AGE)
    .bind(now)
    .fetch_all(db)
    .await
}

/// Locks conversations, in the order of their ids, for a batch that changes more of them than their position in the
/// list.
pub async fn lock(db: &mut PgConnection, conversations: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query("select from conversation where id = any($1) order by id for no key update")
        .bind(conversations)
        .execute(db)
        .await?;
    Ok(())
}

/// Queues jobs that request profiles: one job per contact, however many messages wait for it. The conversation is where
/// the contact was seen: LINE is asked for a group member's profile there.
pub async fn queue_profile_jobs(
    db: &mut PgConnection,
    asked: &[(i32, Uuid, Option<Uuid>)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into job (kind, channel_id, contact_id, conversation_id, flow, run_at)
         select 'profile', a.channel_id, a.contact_id, a.conversation_id,
             job_flow(coalesce(a.conversation_id, a.contact_id)), $4
         from unnest($1::int[], $2::uuid[], $3::uuid[]) as a (channel_id, contact_id, conversation_id)
         order by a.contact_id
         on conflict do nothing",
    )
    .bind(asked.iter().map(|a| a.0).collect::<Vec<_>>())
    .bind(asked.iter().map(|a| a.1).collect::<Vec<_>>())
    .bind(asked.iter().map(|a| a.2).collect::<Vec<_>>())
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Queues jobs that request group summaries: one job per group.
pub async fn queue_summary_jobs(
    db: &mut PgConnection,
    asked: &[(i32, Uuid)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into job (kind, channel_id, conversation_id, flow, run_at)
         select 'summary', a.channel_id, a.conversation_id, job_flow(a.conversation_id), $3
         from unnest($1::int[], $2::uuid[]) as a (channel_id, conversation_id)
         order by a.conversation_id
         on conflict do nothing",
    )
    .bind(asked.iter().map(|a| a.0).collect::<Vec<_>>())
    .bind(asked.iter().map(|a| a.1).collect::<Vec<_>>())
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Whether a contact follows, or the Official Account is in a conversation, according to one event.
pub struct StatusChange {
    /// Our id of the contact or conversation.
    pub id: Uuid,
    /// True: follows, or is present.
    pub yes: bool,
    /// The event's timestamp. The largest one decides, whatever the order of arrival.
    pub at: DateTime<Utc>,
}

/// Applies follows and unfollows. No contact may occur twice. An event from before the person's erasure has no effect.
pub async fn follows(db: &mut PgConnection, changes: &[StatusChange]) -> sqlx::Result<()> {
    standing(
        db,
        "update contact c set follows = s.yes, follow_changed_at = s.at
         from unnest($1::uuid[], $2::bool[], $3::timestamptz[]) as s (id, yes, at)
         where c.id = s.id and coalesce(c.follow_changed_at <= s.at, true) and coalesce(c.forgotten_at < s.at, true)",
        changes,
    )
    .await
}

/// Applies joins and leaves of the Official Account itself. No conversation may occur twice.
pub async fn presence(db: &mut PgConnection, changes: &[StatusChange]) -> sqlx::Result<()> {
    standing(
        db,
        "update conversation c set present = s.yes, presence_changed_at = s.at
         from unnest($1::uuid[], $2::bool[], $3::timestamptz[]) as s (id, yes, at)
         where c.id = s.id and coalesce(c.presence_changed_at <= s.at, true)",
        changes,
    )
    .await
}

async fn standing(
    db: &mut PgConnection,
    statement: &'static str,
    changes: &[StatusChange],
) -> sqlx::Result<()> {
    sqlx::query(statement)
        .bind(changes.iter().map(|s| s.id).collect::<Vec<_>>())
        .bind(changes.iter().map(|s| s.yes).collect::<Vec<_>>())
        .bind(changes.iter().map(|s| s.at).collect::<Vec<_>>())
        .execute(db)
        .await?;
    Ok(())
}

/// Applies joins and leaves of group and room members. No pair (conversation, contact) may occur twice. An event from
/// before the person's erasure has no effect.
pub async fn members(
    db: &mut PgConnection,
    changes: &[(Uuid, Uuid, bool, DateTime<Utc>)],
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into member as m (conversation_id, contact_id, present, changed_at)
         select w.* from unnest($1::uuid[], $2::uuid[], $3::bool[], $4::timestamptz[]) as w (conversation_id, contact_id, present, at)
         where not exists (select from contact where id = w.contact_id and forgotten_at >= at) order by 1, 2
         on conflict (conversation_id, contact_id) do update
             set present = excluded.present, changed_at = excluded.changed_at
             where m.changed_at <= excluded.changed_at",
    )
    .bind(changes.iter().map(|c| c.0).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.1).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.2).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.3).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
