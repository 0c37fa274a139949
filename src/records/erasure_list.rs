//! What was erased, for those who answer for it. Only reads.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{conversations::Cursor, sealed};
use crate::seal::{Keyring, Place};

/// An erasure, and where it happened. The profile and summary fields hold what people are called.
#[derive(sqlx::FromRow)]
pub struct Row {
    /// Our own id.
    pub id: Uuid,
    /// LINE's id of the message; `None`: it was another event, or what was known of a person.
    pub message_id: Option<String>,
    /// Our id of the event, if it was one.
    pub event_id: Option<Uuid>,
    /// What operators call the channel.
    pub channel: String,
    /// The channel was removed.
    pub channel_removed: bool,
    /// Why.
    pub cause: String,
    /// Timestamp of the unsend event; else when it was asked for.
    pub asked_at: DateTime<Utc>,
    /// When its rows were deleted.
    pub rows_gone_at: DateTime<Utc>,
    /// How many.
    pub rows_erased: i32,
    /// Objects that had to be purged.
    pub objects_found: i32,
    /// When all of them were confirmed gone.
    pub objects_gone_at: Option<DateTime<Utc>>,
    /// Keys that had to be destroyed.
    pub keys_found: i32,
    /// When all of them were.
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
    /// Profiles of four members, where the conversation has no name of its own.
    pub member_profiles: Vec<Option<Vec<u8>>>,
}

/// How far an erasure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// Rows, objects and keys are confirmed gone.
    Gone,
    /// Objects or keys are not confirmed gone.
    Pending,
    /// The same, since before `overdue_before`.
    Overdue,
}

/// Why something was erased: the words of `erasure.cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Why {
    /// Its sender took it back.
    Unsend,
    /// A retention rule.
    Retention,
    /// A person's request.
    Subject,
    /// An operator's order.
    Operator,
}

/// Which erasures are meant.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Channels, all of them in sight.
    pub channels: Vec<i32>,
    /// Only this one.
    pub only: Option<Uuid>,
    /// Only those for this cause.
    pub cause: Option<Why>,
    /// Only those in this state.
    pub state: Option<State>,
    /// Rows gone at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Rows gone before this time.
    pub until: Option<DateTime<Utc>>,
    /// Those that are not gone are overdue if their rows were gone before.
    pub overdue_before: DateTime<Utc>,
}

/// Erasures in numbers.
#[derive(sqlx::FromRow, Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// All of them.
    pub all: i64,
    /// Those confirmed gone.
    pub gone: i64,
    /// Those that are overdue.
    pub overdue: i64,
    /// Seconds from asked to gone, of those that are: half of them took no longer.
    pub median: Option<f64>,
    /// Seconds the slowest of them took.
    pub worst: Option<f64>,
}

/// The erasures that are meant, in numbers.
pub async fn figures(conn: &mut PgConnection, filter: &Filter) -> sqlx::Result<Figures> {
    sqlx::query_as(
        "select count(*) as all, count(gone_at) as gone,
            count(*) filter (where gone_at is null and rows_gone_at < $6) as overdue,
            percentile_cont(0.5) within group (order by extract(epoch from gone_at - asked_at)::float8) as median,
            max(extract(epoch from gone_at - asked_at)::float8) as worst
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

/// A page of the erasures that are meant, newest first.
pub async fn page(
    conn: &mut PgConnection,
    keyring: &Keyring,
    filter: &Filter,
    before: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<Row>> {
    let mut rows: Vec<Row> = sqlx::query_as(
        "select e.id, message_id, event_id, channel.name as channel,
            channel.removed_at is not null as channel_removed, cause, asked_at, rows_gone_at, rows_erased, objects_found,
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
                .map(|id| (Place::Summary(id), &mut row.summary)),
        );
        fields.extend(
            row.contact_id
                .map(|id| (Place::Profile(id), &mut row.profile)),
        );
        let members = row.member_ids.iter().zip(&mut row.member_profiles);
        fields.extend(members.map(|(id, profile)| (Place::Profile(*id), profile)));
    }
    sealed::open(keyring, fields).await?;
    Ok(rows)
}
