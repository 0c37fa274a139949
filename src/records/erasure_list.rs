//! The list of erasures and their figures, for the people who are responsible for them. Only reads.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{conversations::Cursor, sealed};
use crate::seal::{Keyring, SealContext};

/// An erasure with its channel and conversation. The profile and summary fields hold people's names.
#[derive(sqlx::FromRow)]
pub struct Row {
    /// Our own id.
    pub id: Uuid,
    /// LINE's id of the message; `None`: another event, or a person's data, was erased.
    pub message_id: Option<String>,
    /// Our id of the event; `None`: a message, or a person's data, was erased.
    pub event_id: Option<Uuid>,
    /// Name that operators gave the channel.
    pub channel: String,
    /// True if the channel was removed.
    pub channel_removed: bool,
    /// The cause: one of the words of [`Why`].
    pub cause: String,
    /// Timestamp of the unsend event; for a retention rule the time of the erasure; else when it was requested.
    pub requested_at: DateTime<Utc>,
    /// When its rows were deleted.
    pub rows_gone_at: DateTime<Utc>,
    /// Number of rows deleted.
    pub rows_erased: i32,
    /// Number of objects that had to be purged.
    pub objects_found: i32,
    /// When all of them were confirmed gone; `None`: not yet.
    pub objects_gone_at: Option<DateTime<Utc>>,
    /// Number of keys that had to be destroyed.
    pub keys_found: i32,
    /// When all of them were confirmed destroyed; `None`: not yet.
    pub keys_gone_at: Option<DateTime<Utc>>,
    /// The conversation, where known.
    pub conversation_id: Option<Uuid>,
    /// `user`, `group`, `room` or `channel`.
    pub kind: Option<String>,
    /// LINE's id of the conversation.
    pub source_id: Option<String>,
    /// Group summary: LINE's JSON.
    pub summary: Option<Vec<u8>>,
    contact_id: Option<Uuid>,
    /// Profile of the other person: LINE's JSON.
    pub profile: Option<Vec<u8>>,
    member_ids: Vec<Uuid>,
    /// Profiles of up to four members, for a group or room without a summary.
    pub member_profiles: Vec<Option<Vec<u8>>>,
}

/// Progress of an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// Rows, objects and keys are confirmed gone.
    Gone,
    /// Objects or keys are not confirmed gone.
    Pending,
    /// As `Pending`, and the rows were deleted before [`Filter::overdue_before`].
    Overdue,
}

/// Cause of an erasure: the words of the column `erasure.cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Why {
    /// The sender unsent the message.
    Unsend,
    /// A retention rule.
    Retention,
    /// A person's request.
    Subject,
    /// An operator's order.
    Operator,
}

/// Selects erasures.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Channels whose erasures are selected; all of them are in scope.
    pub channels: Vec<i32>,
    /// Only this erasure. [`figures`] ignores it.
    pub only: Option<Uuid>,
    /// Only erasures with this cause.
    pub cause: Option<Why>,
    /// Only erasures in this state.
    pub state: Option<State>,
    /// Only erasures whose rows were deleted at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Only erasures whose rows were deleted before this time.
    pub until: Option<DateTime<Utc>>,
    /// An incomplete erasure is overdue if its rows were deleted before this time.
    pub overdue_before: DateTime<Utc>,
}

/// Figures about the selected erasures.
#[derive(sqlx::FromRow, Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Number of selected erasures.
    pub all: i64,
    /// Number of those confirmed gone.
    pub gone: i64,
    /// Number of those overdue.
    pub overdue: i64,
    /// Median time from the request to the confirmation, in seconds, of those confirmed gone.
    pub median: Option<f64>,
    /// Longest such time, in seconds.
    pub worst: Option<f64>,
}

/// Figures about the selected erasures; [`Filter::only`] is ignored.
pub async fn figures(conn: &mut PgConnection, filter: &Filter) -> sqlx::Result<Figures> {
    sqlx::query_as(
        "select count(*) as all, count(gone_at) as gone,
            count(*) filter (where gone_at is null and rows_gone_at < $6) as overdue,
            percentile_cont(0.5) within group (order by extract(epoch from gone_at - requested_at)::float8) as median,
            max(extract(epoch from gone_at - requested_at)::float8) as worst
         from (select *, case when objects_gone_at is not null and keys_gone_at is not null
                then greatest(objects_gone_at, keys_gone_at) end as gone_at from erasure) e
         where channel_id = any($1) and ($2::text is null or cause = $2)
            and ($3::text is null or $3 = case when gone_at is not null then 'gone'
                when rows_gone_at < $6 then 'overdue' else 'pending' end)
            and ($4::timestamptz is null or rows_gone_at >= $4) and ($5::timestamptz is null or rows_gone_at < $5)",
    )
    .bind(&filter.channels)
    .bind(filter.cause)
    .bind(filter.state)
    .bind(filter.from)
    .bind(filter.until)
    .bind(filter.overdue_before)
    .fetch_one(conn)
    .await
}

/// A page of the selected erasures, newest first.
pub async fn page(
    conn: &mut PgConnection,
    keyring: &Keyring,
    filter: &Filter,
    before: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<Row>> {
    let mut rows: Vec<Row> = sqlx::query_as(
        "select e.id, message_id, event_id, channel.name as channel,
            channel.removed_at is not null as channel_removed, cause, requested_at, rows_gone_at, rows_erased, objects_found,
            objects_gone_at, keys_found, keys_gone_at,
            c.id as conversation_id, c.kind, source_id, summary, c.contact_id, contact.profile,
            coalesce(few.ids, '{}') as member_ids, coalesce(few.profiles, '{}') as member_profiles
         from erasure e
         join channel on channel.id = e.channel_id
         left join conversation c on c.id = e.conversation_id and c.channel_id = e.channel_id
         left join contact on contact.id = c.contact_id
         left join lateral (
            select array_agg(contact_id) as ids, array_agg(profile) as profiles from (
                select contact_id, p.profile from member join contact p on p.id = member.contact_id
                where member.conversation_id = c.id and present and p.profile is not null
                order by changed_at, contact_id limit 4
            ) four
         ) few on summary is null and c.kind in ('group', 'room')
         where e.channel_id = any($1) and (rows_gone_at, e.id) < ($7, $8) and ($2::text is null or cause = $2)
            and ($10::uuid is null or e.id = $10)
            and ($3::text is null or $3 = case when objects_gone_at is not null and keys_gone_at is not null then 'gone'
                when rows_gone_at < $6 then 'overdue' else 'pending' end)
            and ($4::timestamptz is null or rows_gone_at >= $4) and ($5::timestamptz is null or rows_gone_at < $5)
         order by rows_gone_at desc, e.id desc limit $9",
    )
    .bind(&filter.channels)
    .bind(filter.cause)
    .bind(filter.state)
    .bind(filter.from)
    .bind(filter.until)
    .bind(filter.overdue_before)
    .bind(before.at)
    .bind(before.id)
    .bind(limit)
    .bind(filter.only)
    .fetch_all(conn)
    .await?;
    let mut fields = vec![];
    for row in &mut rows {
        fields.extend(
            row.conversation_id
                .map(|id| (SealContext::Summary(id), &mut row.summary)),
        );
        fields.extend(
            row.contact_id
                .map(|id| (SealContext::Profile(id), &mut row.profile)),
        );
        let members = row.member_ids.iter().zip(&mut row.member_profiles);
        fields.extend(members.map(|(id, profile)| (SealContext::Profile(*id), profile)));
    }
    sealed::open(keyring, fields).await?;
    Ok(rows)
}
