//! The list of what was unsent, for those who answer for it. Only reads.

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
    /// LINE's id of the message.
    pub message_id: String,
    /// What operators call the channel.
    pub channel: String,
    /// Why.
    pub cause: String,
    /// Timestamp of the unsend event.
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

/// A page of erasures, newest first.
pub async fn page(
    conn: &mut PgConnection,
    keyring: &Keyring,
    channels: &[i32],
    before: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<Row>> {
    let mut rows: Vec<Row> = sqlx::query_as(
        "select e.id, message_id, channel.name as channel, cause, asked_at, rows_gone_at, rows_erased, objects_found,
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
         where e.channel_id = any($1) and (rows_gone_at, e.id) < ($2, $3)
         order by rows_gone_at desc, e.id desc limit $4",
    )
    .bind(channels)
    .bind(before.at)
    .bind(before.id)
    .bind(limit)
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

/// Erasures whose objects or keys are not confirmed gone, and those of them whose rows were gone before `overdue_before`.
pub async fn open(
    conn: &mut PgConnection,
    channels: &[i32],
    overdue_before: DateTime<Utc>,
) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "select count(*), count(*) filter (where rows_gone_at < $2) from erasure
         where (objects_gone_at is null or keys_gone_at is null) and channel_id = any($1)",
    )
    .bind(channels)
    .bind(overdue_before)
    .fetch_one(conn)
    .await
}
