//! Asks for failed and gone files again: of one attachment, of a conversation, or of a channel and a period.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use super::{conversations::Conversation, notify, sealed};
use crate::seal::Keyring;

/// Most attachments that one call for a conversation or a channel asks for.
pub const BATCH_FILES: u64 = 1000;

/// The largest number that [`count_conversation`] counts exactly.
pub const MAX_COUNTED: i64 = 1000;

// An attachment `a` that can be fetched again, in the channels $1. Its original has failed or is gone; or its preview
// alone is, because of LINE: a preview that cannot be made of a kept original would fail again.
macro_rules! can_be_refetched {
    () => {
        "a.channel_id = any($1)
         and (a.original_state in ('failed', 'gone') or a.preview_state in ('failed', 'gone')
             and a.preview_reason in ('not_found', 'gone', 'rejected', 'forbidden', 'trouble', 'truncated', 'not_the_file'))
         and not exists (select from withheld w where w.message_id = a.message_id)
         and (a.provider <> 'line' or exists (
             select from channel c where c.id = a.channel_id and c.removed_at is null))"
    };
}

// Of many attachments, those are left out whose size is above the channel's limit: only an operator who asks for that
// one file overrides it.
macro_rules! select_refetchable {
    ($which:literal) => {
        concat!(
            "select a.id from message m join attachment a on a.message_id = m.id where ",
            can_be_refetched!(),
            " and a.original_reason is distinct from 'too_large' and ",
            $which
        )
    };
}

// Queues the chosen attachments at $2, and returns their ids and conversations. `materialized`: as a subquery the choice
// was read again for each row, and its limit did not hold.
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
                 where a.id in (select id from chosen) and ", can_be_refetched!(), "
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
             select w.id, m.conversation_id from wanted w join message m on m.id = w.message_id"
        )
    };
}

// Queues up to $4 attachments of the channel $channel after the id $3 (keyset pagination). The equality with one channel
// lets a batch begin in the index `attachment_lacking` where the last one ended; `= any($1)` alone made PostgreSQL read the
// kept attachments too. Locked rows are skipped, because an erasure locks in another order.
macro_rules! retry_batch {
    ($which:literal, $channel:literal) => {
        retry!(concat!(
            select_refetchable!($which),
            " and a.channel_id = ",
            $channel,
            " and a.id > $3 order by a.id limit $4 for update of a skip locked"
        ))
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
    let found: Vec<(Uuid, Uuid)> = sqlx::query_as(retry!("select $3::uuid as id"))
        .bind(channels)
        .bind(now)
        .bind(id)
        .fetch_all(&mut *conn)
        .await?;
    Ok(notify_and_count(conn, found).await?.files > 0)
}

/// The result of one call for a conversation or a channel.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The number of attachments that were asked for.
    pub files: u64,
    /// The id after which the next batch begins. `None`: no attachment is left.
    pub next: Option<Uuid>,
}

/// Queues the failed and gone files of up to [`BATCH_FILES`] attachments of a conversation in scope to be fetched again,
/// without those that were too large. Takes attachments with ids greater than `after`; the nil id: all.
pub async fn retry_conversation(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
    after: Uuid,
    now: DateTime<Utc>,
) -> Result<Batch> {
    let found: Vec<(Uuid, Uuid)> = sqlx::query_as(retry_batch!(
        "m.conversation_id = $5",
        "(select channel_id from conversation where id = $5)"
    ))
    .bind(channels)
    .bind(now)
    .bind(after)
    .bind(BATCH_FILES.cast_signed())
    .bind(id)
    .fetch_all(&mut *conn)
    .await?;
    notify_and_count(conn, found).await
}

/// A period: from its first moment (`None`: from the first message on) until before its end (`None`: without an end).
#[derive(Clone, Copy, Debug, Default)]
pub struct Period {
    /// Its first moment.
    pub from: Option<DateTime<Utc>>,
    /// Its end, which does not belong to it.
    pub until: Option<DateTime<Utc>>,
}

/// Queues the failed and gone files of up to [`BATCH_FILES`] attachments of a channel to be fetched again, whose messages
/// were sent in `period`, without those that were too large. Takes attachments with ids greater than `after`; the nil id:
/// all. The caller checks that the channel is in scope.
pub async fn retry_period(
    conn: &mut PgConnection,
    channel: i32,
    period: Period,
    after: Uuid,
    now: DateTime<Utc>,
) -> Result<Batch> {
    let found: Vec<(Uuid, Uuid)> = sqlx::query_as(retry_batch!(
        "($5::timestamptz is null or m.occurred_at >= $5) and ($6::timestamptz is null or m.occurred_at < $6)",
        "$7"
    ))
    .bind([channel])
    .bind(now)
    .bind(after)
    .bind(BATCH_FILES.cast_signed())
    .bind(period.from)
    .bind(period.until)
    .bind(channel)
    .fetch_all(&mut *conn)
    .await?;
    notify_and_count(conn, found).await
}

/// Notifies open pages of the conversations of these attachments, given as pairs of attachment and conversation, and
/// counts the attachments.
async fn notify_and_count(conn: &mut PgConnection, found: Vec<(Uuid, Uuid)>) -> Result<Batch> {
    let files = found.len() as u64;
    let last = found.iter().map(|(id, _)| *id).max();
    let mut conversations: Vec<Uuid> = found.into_iter().map(|(_, id)| id).collect();
    conversations.sort_unstable();
    conversations.dedup();
    if files > 0 {
        notify::conversations_changed(conn, &conversations).await?;
    }
    Ok(Batch {
        files,
        next: last.filter(|_| files == BATCH_FILES),
    })
}

/// The number of attachments of a conversation in scope that [`retry_conversation`] would ask for, at most one more than
/// [`MAX_COUNTED`]: each page of the gallery counts them.
pub async fn count_conversation(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
) -> Result<i64> {
    sqlx::query_scalar(concat!(
        "select count(*) from (",
        select_refetchable!("m.conversation_id = $2"),
        " limit $3) refetchable"
    ))
    .bind(channels)
    .bind(id)
    .bind(MAX_COUNTED + 1)
    .fetch_one(conn)
    .await
}

/// The channels in scope with files that [`retry_period`] would ask for, and the number of attachments of each.
pub async fn count_channels(conn: &mut PgConnection, channels: &[i32]) -> Result<Vec<(i32, i64)>> {
    sqlx::query_as(concat!(
        "select channel_id, count(*) from attachment where id in (",
        select_refetchable!("true"),
        ") group by channel_id"
    ))
    .bind(channels)
    .fetch_all(conn)
    .await
}

/// The number of attachments in scope that wait to be fetched or for their preview.
pub async fn count_waiting(conn: &mut PgConnection, channels: &[i32]) -> Result<i64> {
    sqlx::query_scalar(
        "select count(distinct a.id) from job j join attachment a on a.id = j.attachment_id
         where j.channel_id = any($1)
             and not exists (select from withheld w where w.message_id = a.message_id)",
    )
    .bind(channels)
    .fetch_one(conn)
    .await
}

/// A conversation with files that can be fetched again.
#[derive(sqlx::FromRow)]
pub struct LackingConversation {
    /// The conversation.
    #[sqlx(flatten)]
    pub conversation: Conversation,
    /// The number of its attachments that [`retry_conversation`] would ask for.
    pub files: i64,
    /// The number of all conversations in scope with such files, also of those beyond the limit.
    pub of: i64,
}

/// Up to `limit` conversations in scope with files that can be fetched again, those with the most files first.
pub async fn lacking_conversations(
    conn: &mut PgConnection,
    keyring: &Keyring,
    channels: &[i32],
    limit: i64,
) -> Result<Vec<LackingConversation>> {
    let mut found: Vec<LackingConversation> = sqlx::query_as(concat!(
        "with lacking as (
             select m.conversation_id, count(*) as files from message m join attachment a on a.message_id = m.id
             where a.id in (",
        select_refetchable!("true"),
        ") group by m.conversation_id
         )
         select files, count(*) over () as of,
             c.id, c.contact_id, c.channel_id, c.kind, source_id, present, presence_changed_at, summary,
             coalesce(c.picture_key, p.picture_key) as picture_key, c.created_at, follows, follow_changed_at, profile
         from lacking join conversation c on c.id = lacking.conversation_id left join contact p on p.id = c.contact_id
         order by files desc, c.id limit $2"
    ))
    .bind(channels)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let fields = found
        .iter_mut()
        .flat_map(|one| one.conversation.sealed_fields());
    sealed::open(keyring, fields.collect()).await?;
    Ok(found)
}

/// The files of an archive that were given up.
#[derive(sqlx::FromRow, Clone, Copy, Debug)]
pub struct GivenUp {
    /// Originals that LINE, or another server, no longer has.
    pub gone: i64,
    /// Originals that could not be fetched. Without those that a setting excludes: too large, or not at LINE.
    pub failed: i64,
}

/// Counts the originals of the archive that were given up.
pub async fn count_given_up(conn: &mut PgConnection) -> Result<GivenUp> {
    sqlx::query_as(
        "select count(*) filter (where original_state = 'gone') as gone,
             count(*) filter (where original_state = 'failed'
                 and original_reason is distinct from 'too_large' and original_reason is distinct from 'off') as failed
         from attachment a
         where (original_state in ('failed', 'gone') or preview_state in ('failed', 'gone'))
             and not exists (select from withheld w where w.message_id = a.message_id)",
    )
    .fetch_one(conn)
    .await
}
