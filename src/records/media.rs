//! Attachments: which files belong to a message, and the state of each file.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use super::sealed;
use crate::{
    live,
    objects::ObjectKey,
    seal::{Keyring, SealContext},
};

/// Largest width and height of a picture before it is opened, in CSS pixels.
pub const SHOWN: (u32, u32) = (320, 360);

/// The two files of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The file that was sent.
    Original,
    /// A small image of it.
    Preview,
}

/// State of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// Not fetched yet.
    Waiting,
    /// In the bucket.
    Kept,
    /// Cannot be fetched any more.
    Gone,
    /// Cannot be kept, or every attempt to fetch it failed.
    Failed,
    /// The message has no such file.
    None,
}

/// Why a file is gone or failed, or why it still waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Reason {
    /// HTTP 404 at every attempt.
    NotFound,
    /// HTTP 410: LINE has deleted it.
    Gone,
    /// LINE is still preparing it.
    Preparing,
    /// LINE could not prepare it.
    Unprepared,
    /// HTTP 403.
    Forbidden,
    /// Any other refusal.
    Rejected,
    /// The server failed, or did not answer in time.
    Trouble,
    /// The connection ended before the file did.
    Truncated,
    /// The answer was something else than the file: a page (HTML, JSON), or compressed against the request.
    NotTheFile,
    /// Larger than the limit.
    TooLarge,
    /// Not an image, or an image that cannot be read.
    Unreadable,
    /// Its URL is not a public `https` URL.
    Address,
    /// Content on another host than LINE's, which the archive is set not to fetch.
    Off,
    /// The preview waits for the original.
    Original,
    /// The process ended during the fetch, again and again.
    Crashed,
}

/// An attachment, with the columns of its message that jobs need.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Attachment {
    /// Our own id.
    pub id: Uuid,
    /// The channel it came through.
    pub channel_id: i32,
    /// LINE's id of the message, which is the name of the file at LINE.
    pub message_id: String,
    /// LINE's message type: image, video, audio or file.
    pub kind: String,
    /// `line`, or `external`: another host.
    pub provider: String,
    /// State of the original.
    pub original_state: State,
    /// Why the original is in this state, where known.
    pub original_reason: Option<Reason>,
    original_key: Option<String>,
    /// Media type that the server declared; not to be trusted.
    pub original_type: Option<String>,
    /// Size of the original in bytes.
    pub original_size: Option<i64>,
    /// State of the preview.
    pub preview_state: State,
    /// Why the preview is in this state, where known.
    pub preview_reason: Option<Reason>,
    preview_key: Option<String>,
    /// Media type of the preview, as found in its bytes.
    pub preview_type: Option<String>,
    largest: Option<i64>,
}

impl Attachment {
    /// Object of the original: kept, or lost by the bucket and not replaced yet.
    pub fn original_key(&self) -> Option<ObjectKey> {
        ObjectKey::parse(self.original_key.as_deref()?)
    }

    /// Object of the preview, also of one that stands in until the original is there.
    pub fn preview_key(&self) -> Option<ObjectKey> {
        ObjectKey::parse(self.preview_key.as_deref()?)
    }

    /// Bytes above which the channel does not keep an original; `None`: it has no limit of its own, or an operator
    /// asked for this original whatever its size.
    pub fn largest(&self) -> Option<u64> {
        self.largest.and_then(|bytes| bytes.try_into().ok())
    }

    /// State of one of the two files.
    pub fn state(&self, part: Part) -> State {
        match part {
            Part::Original => self.original_state,
            Part::Preview => self.preview_state,
        }
    }
}

/// One attachment; `None` once its message is erased.
pub async fn attachment(conn: &mut PgConnection, id: Uuid) -> Result<Option<Attachment>> {
    sqlx::query_as(
        "select a.*, m.message_id, case when not wanted then largest_file end as largest from (
             select id, message_id as message, channel_id, kind, provider,
                 original_state, original_reason, original_key, original_type, original_size,
                 preview_state, preview_reason, preview_key, preview_type, wanted
             from attachment where id = $1) a
         join message m on m.id = a.message join channel c on c.id = a.channel_id",
    )
    .bind(id)
    .fetch_optional(conn)
    .await
}

/// The raw webhook event that brought the attachment; it holds what a person sent.
pub async fn event(
    conn: &mut PgConnection,
    keyring: &Keyring,
    id: Uuid,
) -> Result<Option<Vec<u8>>> {
    let found: Option<(Uuid, Vec<u8>)> = sqlx::query_as(
        "select r.message_id, r.content from attachment a join revision r on r.message_id = a.message_id
         where a.id = $1 and not r.edited limit 1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    match found {
        Some((message, content)) => {
            sealed::open_one(keyring, SealContext::Message(message), Some(content)).await
        }
        None => Ok(None),
    }
}

/// The conversation of an attachment's message.
pub async fn conversation(conn: &mut PgConnection, id: Uuid) -> Result<Option<Uuid>> {
    sqlx::query_scalar(
        "select m.conversation_id from attachment a join message m on m.id = a.message_id where a.id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await
}

/// Conversation, message and time of the message, for an attachment that is in scope and not withheld.
pub async fn place(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
) -> Result<Option<(Uuid, Uuid, DateTime<Utc>)>> {
    sqlx::query_as(
        "select m.conversation_id, m.id, m.occurred_at from attachment a join message m on m.id = a.message_id
         where a.id = $1 and a.channel_id = any($2)
             and not exists (select from withheld w where w.message_id = m.id)",
    )
    .bind(id)
    .bind(channels)
    .fetch_optional(conn)
    .await
}

/// Locks the attachment until the transaction ends; an erasure of its message waits until then. Returns the state of
/// one of its files; `None` once the message is erased.
pub async fn lock(conn: &mut PgConnection, id: Uuid, part: Part) -> Result<Option<State>> {
    let sql = match part {
        Part::Original => "select original_state from attachment where id = $1 for update",
        Part::Preview => "select preview_state from attachment where id = $1 for update",
    };
    sqlx::query_scalar(sql).bind(id).fetch_optional(conn).await
}

/// Records that the original is in the bucket: `size` bytes, declared to be of `media_type`.
pub async fn keep_original(
    conn: &mut PgConnection,
    id: Uuid,
    key: ObjectKey,
    media_type: Option<&str>,
    size: u64,
) -> Result<()> {
    sqlx::query(
        "update attachment set original_state = 'kept', original_reason = null, percent = null,
             original_key = $2, original_type = $3, original_size = $4
         where id = $1",
    )
    .bind(id)
    .bind(key.to_string())
    .bind(media_type)
    .bind(i64::try_from(size).unwrap_or(i64::MAX))
    .execute(conn)
    .await?;
    Ok(())
}

/// A preview that is in the bucket.
#[derive(Clone, Copy, Debug)]
pub struct Preview<'a> {
    /// Media type, as found in its bytes.
    pub media_type: Option<&'a str>,
    /// Bytes of the smaller picture, which comes first in the object; `None`: the object holds one picture only.
    pub smaller: Option<usize>,
    /// Width and height of the larger picture.
    pub pixels: (u32, u32),
    /// Colours shown in place of the preview, sealed with the object's data key.
    pub placeholder: Option<&'a [u8]>,
    /// True: it stands in until the original is there and another preview is made of it.
    pub early: bool,
}

/// The object of the preview that is shown now, if there is one.
pub async fn preview_key(conn: &mut PgConnection, id: Uuid) -> Result<Option<ObjectKey>> {
    let key: Option<Option<String>> =
        sqlx::query_scalar("select preview_key from attachment where id = $1")
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(key.flatten().as_deref().and_then(ObjectKey::parse))
}

/// Records that the preview is in the bucket. An early one leaves the preview's state as it is.
pub async fn keep_preview(
    conn: &mut PgConnection,
    id: Uuid,
    key: ObjectKey,
    preview: Preview<'_>,
) -> Result<()> {
    sqlx::query(
        "update attachment set preview_state = case when $8 then preview_state else 'kept' end, preview_reason = null,
             preview_key = $2, preview_type = $3, preview_width = $4, preview_height = $5,
             preview_smaller = $6, placeholder = $7
         where id = $1",
    )
    .bind(id)
    .bind(key.to_string())
    .bind(preview.media_type)
    .bind(i32::try_from(preview.pixels.0).ok())
    .bind(i32::try_from(preview.pixels.1).ok())
    .bind(preview.smaller.and_then(|bytes| i32::try_from(bytes).ok()))
    .bind(preview.placeholder)
    .bind(preview.early)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the state of a file that is not kept, and why.
pub async fn mark(
    conn: &mut PgConnection,
    id: Uuid,
    part: Part,
    state: State,
    reason: Option<Reason>,
) -> Result<()> {
    let sql = match part {
        Part::Original => {
            "update attachment set original_state = $2, original_reason = $3, percent = null where id = $1"
        }
        Part::Preview => {
            "update attachment set preview_state = $2, preview_reason = $3 where id = $1"
        }
    };
    sqlx::query(sql)
        .bind(id)
        .bind(state)
        .bind(reason)
        .execute(conn)
        .await?;
    Ok(())
}

/// The reason recorded last for why the original is not there.
pub async fn original_reason(conn: &mut PgConnection, id: Uuid) -> Result<Option<Reason>> {
    let reason: Option<Option<Reason>> =
        sqlx::query_scalar("select original_reason from attachment where id = $1")
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(reason.flatten())
}

/// Clears the progress of an original that is not being fetched now.
pub async fn clear_progress(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    sqlx::query("update attachment set percent = null where id = $1 and percent is not null")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Records how many hundredths of an original have arrived, and notifies open pages.
pub async fn progress(conn: &mut PgConnection, id: Uuid, percent: i16) -> Result<()> {
    sqlx::query(
        "with come as (
             update attachment set percent = $2 where id = $1 and original_state = 'waiting' returning message_id
         )
         select pg_notify($3, m.conversation_id::text) from come join message m on m.id = come.message_id",
    )
    .bind(id)
    .bind(percent)
    .bind(live::CHANNEL)
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a preview that waits for its original run at `now`, and ends the lease of a process that is about to defer it.
pub async fn hurry_preview(conn: &mut PgConnection, id: Uuid, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "update job set run_at = $2, deferred = false, lease = null, leased_until = null
         where attachment_id = $1 and kind = 'preview'
         and exists (select from attachment where id = $1 and preview_reason = 'original')",
    )
    .bind(id)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
