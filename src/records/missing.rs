//! Objects that are in use but not in the bucket: which rows use them, and the jobs that fetch them again.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use super::{media::Part, people::Subject};
use crate::objects::ObjectKey;

/// The user of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// An attachment.
    Attachment(Uuid, Part),
    /// A person or group of this channel, as their picture.
    Picture(Subject, i32),
}

/// The user of the object; `None`: it is no longer used.
pub async fn user(conn: &mut PgConnection, key: ObjectKey) -> Result<Option<User>> {
    let key = key.to_string();
    let attachment: Option<(Uuid, bool)> = sqlx::query_as(
        "select a.id, a.original_key is not distinct from o.key
         from object o join attachment a on a.id = o.attachment_id
         where o.key = $1 and o.key in (a.original_key, a.preview_key)",
    )
    .bind(&key)
    .fetch_optional(&mut *conn)
    .await?;
    if let Some((id, original)) = attachment {
        let part = if original {
            Part::Original
        } else {
            Part::Preview
        };
        return Ok(Some(User::Attachment(id, part)));
    }
    // Few rows, and a rare query: no index helps here.
    let picture: Option<(Uuid, i32, bool)> = sqlx::query_as(
        "select id, channel_id, true from contact where picture_key = $1
         union all
         select id, channel_id, false from conversation where picture_key = $1
         limit 1",
    )
    .bind(&key)
    .fetch_optional(conn)
    .await?;
    Ok(picture.map(|(id, channel_id, contact)| {
        let subject = if contact {
            Subject::Contact(id)
        } else {
            Subject::Group(id)
        };
        User::Picture(subject, channel_id)
    }))
}

/// Sets a file of an attachment back to waiting, and queues its fetch at `now`. `false`: it has another object by now,
/// is gone, or is waiting already.
pub async fn fetch_again(
    conn: &mut PgConnection,
    id: Uuid,
    part: Part,
    key: ObjectKey,
    now: DateTime<Utc>,
) -> Result<bool> {
    let (sql, kind) = match part {
        Part::Original => (
            // Its key stays until another object is there: a copy of this one may yet be restored.
            "update attachment set original_state = 'waiting', original_reason = null
             where id = $1 and original_key = $2 and original_state = 'kept'",
            "original",
        ),
        Part::Preview => (
            "update attachment set preview_state = 'waiting', preview_reason = null,
                 preview_key = null, preview_type = null, preview_width = null, preview_height = null,
                 preview_smaller = null, placeholder = null
             where id = $1 and preview_key = $2",
            "preview",
        ),
    };
    let done = sqlx::query(sql)
        .bind(id)
        .bind(key.to_string())
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "insert into job (kind, channel_id, attachment_id, asks_line, large, flow, run_at, created_at)
         select $2, a.channel_id, a.id, provider = 'line', $2 = 'original' and a.kind in ('video', 'file'),
             job_flow(coalesce(m.contact_id, m.conversation_id)), $3, $3
         from attachment a join message m on m.id = a.message_id where a.id = $1
         on conflict (attachment_id, kind) where attachment_id is not null do nothing",
    )
    .bind(id)
    .bind(kind)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(true)
}

/// Up to `limit` attachments whose original the bucket has lost, with the keys of the lost objects.
pub async fn lost(conn: &mut PgConnection, limit: i64) -> Result<Vec<(Uuid, String)>> {
    sqlx::query_as(
        "select a.id, a.original_key from attachment a join object o on o.key = a.original_key
         where a.original_state <> 'kept' and o.state = 'kept' limit $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Records that the bucket has the original of an attachment again, and queues at `now` a preview that could not be
/// made without it. `false`: the attachment has another original by now, or is gone.
pub async fn found(
    conn: &mut PgConnection,
    id: Uuid,
    key: ObjectKey,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query(
        "with found as (
             update attachment set original_state = 'kept', original_reason = null, percent = null,
                 preview_state = case when preview_state in ('gone', 'failed') then 'waiting' else preview_state end
             where id = $1 and original_key = $2 and original_state <> 'kept'
             returning id, message_id, channel_id, provider, preview_state
         ), asked as (
             insert into job (kind, channel_id, attachment_id, asks_line, flow, run_at, created_at)
             select 'preview', f.channel_id, f.id, provider = 'line',
                 job_flow(coalesce(m.contact_id, m.conversation_id)), $3, $3
             from found f join message m on m.id = f.message_id where preview_state = 'waiting'
             on conflict (attachment_id, kind) where attachment_id is not null do nothing
         )
         select id from found",
    )
    .bind(id)
    .bind(key.to_string())
    .bind(now)
    .fetch_optional(conn)
    .await?;
    Ok(done.is_some())
}

/// The object of an original, even if the bucket has lost it.
pub async fn original_key(conn: &mut PgConnection, id: Uuid) -> Result<Option<ObjectKey>> {
    let key: Option<Option<String>> =
        sqlx::query_scalar("select original_key from attachment where id = $1")
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(key.flatten().and_then(|key| ObjectKey::parse(&key)))
}

/// Forgets the lost object of an original, so that a restored copy of it is not used again.
pub async fn lose_original(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    sqlx::query(
        "update attachment set original_key = null, original_type = null, original_size = null where id = $1",
    )
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}
