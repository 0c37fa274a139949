//! Asks for failed and gone files again: of one attachment, of a conversation, or of a channel and a period.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use super::notify;

/// Most attachments that one call for a conversation or a channel asks for.
pub const BATCH_FILES: u64 = 1000;

// An attachment `a` that can be fetched again, in the channels $1. Its original has failed or is gone; or its preview
// alone is, because of LINE: a preview that cannot be made of a kept original would fail again.
macro_rules! lacking {
    () => {
        "a.channel_id = any($1)
         and (a.original_state in ('failed', 'gone') or a.preview_state in ('failed', 'gone')
             and a.preview_reason in ('not_found', 'gone', 'rejected', 'forbidden', 'trouble', 'truncated'))
         and not exists (select from withheld w where w.message_id = a.message_id)
         and (a.provider <> 'line' or exists (
             select from channel c where c.id = a.channel_id and c.removed_at is null))"
    };
}

// Of many attachments, those are left out whose size is above the channel's limit: only an operator who asks for that
// one file overrides it. Locked rows are skipped, because an erasure locks in another order.
macro_rules! lacking_many {
    ($which:literal) => {
        concat!(
            "select a.id from message m join attachment a on a.message_id = m.id where ",
            lacking!(),
            " and a.original_reason is distinct from 'too_large' and ",
            $which
        )
    };
}

// Queues the chosen attachments at $2, and returns their conversations. `materialized`: as a subquery the choice was read
// again for each row, and its limit did not hold.
macro_rules! retry {
    ($chosen:expr) => {
        concat!(
            "with chosen as materialized (", $chosen, "), wanted as (
                 update attachment a set
                     original_state = case when original_state in ('failed', 'gone') then 'waiting' else original_state end,
                     original_reason = case when original_state in ('failed', 'gone') then null else original_reason end,
                     wanted = wanted or original_reason is not distinct from 'too_large',
                     preview_state = case when preview_state in ('failed', 'gone') then 'waiting' else preview_state end,
                     preview_reason = case when preview_state in ('failed', 'gone') then null else preview_reason end
                 where a.id in (select id from chosen) and ", lacking!(), "
                 returning id, message_id, channel_id, provider = 'line' as asks_line, original_state, preview_state,
                     kind in ('video', 'file') as large
             ), queued as (
                 insert into job (kind, channel_id, attachment_id, asks_line, large, flow, run_at, created_at)
                 select job.kind, w.channel_id, w.id, asks_line, large and job.kind = 'original',
                     job_flow(coalesce(m.contact_id, m.conversation_id)), $2, $2
                 from wanted w join message m on m.id = w.message_id
                     cross join unnest(array['original', 'preview']) as job (kind)
                 where case job.kind when 'original' then original_state else preview_state end = 'waiting'
                 on conflict (attachment_id, kind) where attachment_id is not null do nothing
             )
             select m.conversation_id from wanted w join message m on m.id = w.message_id"
        )
    };
}

/// Queues the failed or gone files of an attachment in scope to be fetched again; an original that was too large,
/// whatever its size. `false`: there is nothing to fetch.
pub async fn retry_fetch(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<bool> {
    let found: Vec<Uuid> = sqlx::query_scalar(retry!("select $3::uuid as id"))
        .bind(channels)
        .bind(now)
        .bind(id)
        .fetch_all(&mut *conn)
        .await?;
    Ok(tell(conn, found).await? > 0)
}

/// Queues the failed and gone files of up to [`BATCH_FILES`] attachments of a conversation in scope to be fetched again,
/// without those that were too large. Returns the number of attachments.
pub async fn retry_conversation(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<u64> {
    let found: Vec<Uuid> = sqlx::query_scalar(retry!(concat!(
        lacking_many!("m.conversation_id = $3"),
        " order by a.id limit $4 for update of a skip locked"
    )))
    .bind(channels)
    .bind(now)
    .bind(id)
    .bind(BATCH_FILES.cast_signed())
    .fetch_all(&mut *conn)
    .await?;
    tell(conn, found).await
}

/// A period: from its first moment (`None`: from the first message on) until before its end (`None`: without an end).
#[derive(Clone, Copy, Debug, Default)]
pub struct Period {
    /// Its first moment.
    pub from: Option<DateTime<Utc>>,
    /// Its end, which does not belong to it.
    pub until: Option<DateTime<Utc>>,
}

/// Queues the failed and gone files of up to [`BATCH_FILES`] attachments of messages that were sent in `period` to be
/// fetched again, without those that were too large. Returns the number of attachments.
pub async fn retry_period(
    conn: &mut PgConnection,
    channels: &[i32],
    period: Period,
    now: DateTime<Utc>,
) -> Result<u64> {
    let found: Vec<Uuid> = sqlx::query_scalar(retry!(concat!(
        lacking_many!(
            "($3::timestamptz is null or m.occurred_at >= $3) and ($4::timestamptz is null or m.occurred_at < $4)"
        ),
        " order by a.id limit $5 for update of a skip locked"
    )))
    .bind(channels)
    .bind(now)
    .bind(period.from)
    .bind(period.until)
    .bind(BATCH_FILES.cast_signed())
    .fetch_all(&mut *conn)
    .await?;
    tell(conn, found).await
}

/// Notifies open pages of these conversations, one for each attachment, and returns the number of attachments.
async fn tell(conn: &mut PgConnection, mut conversations: Vec<Uuid>) -> Result<u64> {
    let attachments = conversations.len() as u64;
    conversations.sort_unstable();
    conversations.dedup();
    if attachments > 0 {
        notify::conversations_changed(conn, &conversations).await?;
    }
    Ok(attachments)
}

/// The number of attachments of a conversation in scope that [`retry_conversation`] would ask for.
pub async fn count_conversation(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
) -> Result<i64> {
    sqlx::query_scalar(concat!(
        "select count(*) from (",
        lacking_many!("m.conversation_id = $2"),
        ") lacking"
    ))
    .bind(channels)
    .bind(id)
    .fetch_one(conn)
    .await
}

/// The channels in scope with files that [`retry_period`] would ask for, and the number of attachments of each.
pub async fn count_channels(conn: &mut PgConnection, channels: &[i32]) -> Result<Vec<(i32, i64)>> {
    sqlx::query_as(concat!(
        "select channel_id, count(*) from attachment where id in (",
        lacking_many!("true"),
        ") group by channel_id"
    ))
    .bind(channels)
    .fetch_all(conn)
    .await
}
