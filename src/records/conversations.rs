//! Conversations as an operator sees them: the list, one conversation, its members. Only reads. Every query but that of
//! [`members`] is limited to the channels in the operator's scope.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::sealed;
use crate::seal::{Keyring, SealContext};

/// Kind of an entry of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum EntryKind {
    /// A message.
    Message,
    /// Another event.
    Event,
    /// The tombstone of a message that was unsent.
    Unsent,
    /// The tombstone of a message that was erased for another cause.
    Erased,
}

/// A position in a list ordered by time, newest first (keyset pagination): the entries after it are older.
#[derive(sqlx::FromRow, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// Time of the entry.
    pub at: DateTime<Utc>,
    /// Id of the entry; decides between equal times.
    pub id: Uuid,
}

impl Cursor {
    /// Before every entry: the first page begins here.
    pub const NEWEST: Self = Self {
        at: DateTime::<Utc>::MAX_UTC,
        id: Uuid::max(),
    };
}

/// A channel in scope.
#[derive(sqlx::FromRow, Clone, Debug)]
pub struct Channel {
    /// The archive's own number.
    pub id: i32,
    /// The part of page URLs that names it.
    pub slug: String,
    /// Name that operators gave it.
    pub name: String,
    /// When LINE last refused its current access token; `None` also if the channel is removed.
    pub token_refused_at: Option<DateTime<Utc>>,
    /// True if the channel is removed, and so receives no webhooks.
    pub removed: bool,
}

/// A conversation and its newest entry. The profile, summary and content fields hold what people wrote.
#[derive(sqlx::FromRow)]
pub struct Row {
    /// Our own id.
    pub id: Uuid,
    /// Its channel.
    pub channel_id: i32,
    /// `user`, `group`, `room` or `channel`.
    pub kind: String,
    /// LINE's id of the conversation.
    pub source_id: String,
    /// Time by which the list is ordered.
    pub last_at: DateTime<Utc>,
    /// Group summary: LINE's JSON.
    pub summary: Option<Vec<u8>>,
    /// Object with the picture of the group, or else of the other person.
    pub picture_key: Option<String>,
    contact_id: Option<Uuid>,
    /// Profile of the other person: LINE's JSON.
    pub profile: Option<Vec<u8>>,
    member_ids: Vec<Uuid>,
    /// Profiles of up to four members, for a group or room without a summary.
    pub member_profiles: Vec<Option<Vec<u8>>>,
    /// Kind of the newest entry; `None`: the conversation never had one.
    pub last_entry_kind: Option<EntryKind>,
    /// Type of that message or event; of an erased message the cause.
    pub last_kind: Option<String>,
    last_id: Option<Uuid>,
    /// LINE's timestamp of that entry.
    pub last_occurred_at: Option<DateTime<Utc>>,
    /// Raw webhook event of that entry; of a message its newest revision.
    pub last_content: Option<Vec<u8>>,
    last_contact_id: Option<Uuid>,
    /// LINE's id of its sender.
    pub last_user_id: Option<String>,
    /// Profile of its sender.
    pub last_profile: Option<Vec<u8>>,
}

/// A page of the list, newest first. The newest entry of each conversation is read now and not kept as a copy, so that
/// nothing unsent stays visible.
pub async fn page(
    conn: &mut PgConnection,
    keyring: &Keyring,
    channels: &[i32],
    before: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<Row>> {
    let mut rows: Vec<Row> = sqlx::query_as(
        "with page as (
            select * from conversation
            where channel_id = any($1) and (last_at, id) < ($2, $3)
            order by last_at desc, id desc limit $4
        )
        select page.id, page.channel_id, page.kind, source_id, last_at, summary,
            coalesce(page.picture_key, person.picture_key) as picture_key, page.contact_id, person.profile,
            coalesce(few.ids, '{}') as member_ids, coalesce(few.profiles, '{}') as member_profiles,
            last.entry_kind as last_entry_kind, last.id as last_id, last.contact_id as last_contact_id, last.kind as last_kind, last.occurred_at as last_occurred_at,
            case last.entry_kind when 'event' then last.content when 'message' then (
                select content from revision where message_id = last.id
                order by edited desc, occurred_at desc, webhook_event_id desc limit 1
            ) end as last_content,
            sender.user_id as last_user_id, sender.profile as last_profile
        from page
        left join contact person on person.id = page.contact_id
        left join lateral (
            select array_agg(contact_id) as ids, array_agg(profile) as profiles from (
                select contact_id, profile from member join contact on contact.id = member.contact_id
                where member.conversation_id = page.id and present and profile is not null
                order by changed_at, contact_id limit 4
            ) four
        ) few on summary is null and page.kind in ('group', 'room')
        left join lateral (
            (select 'message' as entry_kind, id, occurred_at, kind, contact_id, null::bytea as content
             from message where conversation_id = page.id order by occurred_at desc, id desc limit 1)
            union all
            (select 'event', id, occurred_at, kind, contact_id, content
             from event where conversation_id = page.id order by occurred_at desc, id desc limit 1)
            union all
            (select case when unsent_at is null then 'erased' else 'unsent' end, id, occurred_at, erased_cause, null, null
             from message_ref where conversation_id = page.id
                and (unsent_at is not null or erased_at is not null) and occurred_at is not null
             order by occurred_at desc, id desc limit 1)
            order by occurred_at desc, id desc limit 1
        ) last on true
        left join contact sender on sender.id = last.contact_id
        order by last_at desc, page.id desc",
    )
    .bind(channels)
    .bind(before.at)
    .bind(before.id)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let fields = rows.iter_mut().flat_map(sealed_fields);
    sealed::open(keyring, fields.collect()).await?;
    Ok(rows)
}

/// The sealed fields of a row with their contexts.
fn sealed_fields(row: &mut Row) -> Vec<(SealContext<'_>, &mut Option<Vec<u8>>)> {
    let mut fields = vec![(SealContext::Summary(row.id), &mut row.summary)];
    fields.extend(
        row.contact_id
            .map(|id| (SealContext::Profile(id), &mut row.profile)),
    );
    let members = row.member_ids.iter().zip(&mut row.member_profiles);
    fields.extend(members.map(|(id, profile)| (SealContext::Profile(*id), profile)));
    let sender = row.last_contact_id.map(SealContext::Profile);
    fields.extend(sender.map(|context| (context, &mut row.last_profile)));
    let last = match row.last_entry_kind {
        Some(EntryKind::Event) => row.last_id.map(SealContext::Event),
        _ => row.last_id.map(SealContext::Message),
    };
    fields.extend(last.map(|context| (context, &mut row.last_content)));
    fields
}

/// One conversation and the other person in it.
#[derive(sqlx::FromRow)]
pub struct Conversation {
    /// Our own id.
    pub id: Uuid,
    /// Its channel.
    pub channel_id: i32,
    /// `user`, `group`, `room` or `channel`.
    pub kind: String,
    /// LINE's id of the conversation.
    pub source_id: String,
    /// Groups and rooms: true if the Official Account is a member.
    pub present: Option<bool>,
    /// When `present` last changed.
    pub presence_changed_at: Option<DateTime<Utc>>,
    /// Group summary: LINE's JSON.
    pub summary: Option<Vec<u8>>,
    /// Object with the picture of the group, or else of the other person.
    pub picture_key: Option<String>,
    /// When the first event arrived.
    pub created_at: DateTime<Utc>,
    /// True if the other person follows the Official Account.
    pub follows: Option<bool>,
    /// When `follows` last changed.
    pub follow_changed_at: Option<DateTime<Utc>>,
    /// Our id of the other person.
    pub contact_id: Option<Uuid>,
    /// Profile of the other person: LINE's JSON.
    pub profile: Option<Vec<u8>>,
}

impl Conversation {
    /// The sealed fields with their contexts.
    pub(super) fn sealed_fields(&mut self) -> Vec<(SealContext<'_>, &mut Option<Vec<u8>>)> {
        let mut fields = vec![(SealContext::Summary(self.id), &mut self.summary)];
        fields.extend(
            self.contact_id
                .map(|id| (SealContext::Profile(id), &mut self.profile)),
        );
        fields
    }
}

/// A conversation, if it is in scope.
pub async fn find(
    conn: &mut PgConnection,
    keyring: &Keyring,
    channels: &[i32],
    id: Uuid,
) -> sqlx::Result<Option<Conversation>> {
    let mut found: Option<Conversation> = sqlx::query_as(
        "select c.id, c.contact_id, c.channel_id, c.kind, source_id, present, presence_changed_at, summary,
            coalesce(c.picture_key, p.picture_key) as picture_key, c.created_at, follows, follow_changed_at, profile
         from conversation c left join contact p on p.id = c.contact_id
         where c.id = $2 and c.channel_id = any($1)",
    )
    .bind(channels)
    .bind(id)
    .fetch_optional(conn)
    .await?;
    if let Some(one) = &mut found {
        sealed::open(keyring, one.sealed_fields()).await?;
    }
    Ok(found)
}

/// A contact who is, or was, in a group or room.
#[derive(sqlx::FromRow)]
pub struct Member {
    /// Our own id of the person.
    pub contact_id: Uuid,
    /// LINE's id of the person.
    pub user_id: String,
    /// True if the person is still a member.
    pub present: bool,
    /// When `present` last changed.
    pub changed_at: DateTime<Utc>,
    /// Profile of the person: LINE's JSON.
    pub profile: Option<Vec<u8>>,
    /// Object with the person's picture.
    pub picture_key: Option<String>,
}

/// The members of a conversation: those present first, then by the time of their last change, the earliest first. At
/// most 500, because no LINE group has more. Does not check the operator's scope.
pub async fn members(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation_id: Uuid,
) -> sqlx::Result<Vec<Member>> {
    let mut members: Vec<Member> = sqlx::query_as(
        "select contact_id, user_id, present, changed_at, profile, picture_key
         from member join contact on contact.id = contact_id
         where conversation_id = $1 order by present desc, changed_at, contact_id limit 500",
    )
    .bind(conversation_id)
    .fetch_all(conn)
    .await?;
    let fields = members
        .iter_mut()
        .map(|member| (SealContext::Profile(member.contact_id), &mut member.profile));
    sealed::open(keyring, fields.collect()).await?;
    Ok(members)
}

/// Returns the conversations that are in scope.
pub async fn among(
    conn: &mut PgConnection,
    channels: &[i32],
    ids: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("select id from conversation where id = any($2) and channel_id = any($1)")
        .bind(channels)
        .bind(ids)
        .fetch_all(conn)
        .await
}

/// The channels in scope, removed ones too: their conversations stay readable.
pub async fn channels(conn: &mut PgConnection, ids: &[i32]) -> sqlx::Result<Vec<Channel>> {
    sqlx::query_as(
        "select id, slug, name, case when removed_at is null then token_refused_at end as token_refused_at,
            removed_at is not null as removed
         from channel where id = any($1) order by slug",
    )
        .bind(ids)
        .fetch_all(conn)
        .await
}

/// The object with the picture of a conversation: the group's, or else the other person's.
pub async fn picture(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
) -> sqlx::Result<Option<String>> {
    let key: Option<Option<String>> = sqlx::query_scalar(
        "select coalesce(c.picture_key, p.picture_key)
         from conversation c left join contact p on p.id = c.contact_id
         where c.id = $2 and c.channel_id = any($1)",
    )
    .bind(channels)
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(key.flatten())
}

/// The object with a person's picture.
pub async fn contact_picture(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
) -> sqlx::Result<Option<String>> {
    let key: Option<Option<String>> = sqlx::query_scalar(
        "select picture_key from contact where id = $2 and channel_id = any($1)",
    )
    .bind(channels)
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(key.flatten())
}

/// LINE's id and the profile of a person in scope.
pub async fn contact(
    conn: &mut PgConnection,
    keyring: &Keyring,
    channels: &[i32],
    id: Uuid,
) -> sqlx::Result<Option<(String, Option<Vec<u8>>)>> {
    let found: Option<(String, Option<Vec<u8>>)> = sqlx::query_as(
        "select user_id, profile from contact where id = $2 and channel_id = any($1)",
    )
    .bind(channels)
    .bind(id)
    .fetch_optional(conn)
    .await?;
    match found {
        Some((user_id, profile)) => {
            let profile = sealed::open_one(keyring, SealContext::Profile(id), profile).await?;
            Ok(Some((user_id, profile)))
        }
        None => Ok(None),
    }
}
