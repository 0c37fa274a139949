//! The files of one conversation: photos, videos, files, voice messages; and its texts, in which the gallery looks for
//! links. Only reads.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use super::{conversations::Cursor, sealed, timeline::Attachment};
use crate::seal::{Keyring, SealContext};

/// A message with its file. The content field holds what a person sent.
#[derive(sqlx::FromRow)]
pub struct Item {
    /// Our own id of the message.
    pub id: Uuid,
    /// LINE's timestamp.
    pub occurred_at: DateTime<Utc>,
    /// The sender, where known.
    pub contact_id: Option<Uuid>,
    /// Raw webhook event of the newest revision; `None` if it cannot be opened.
    pub content: Option<Vec<u8>>,
    /// Its file.
    #[sqlx(flatten)]
    pub attachment: Attachment,
}

// The inner query repeats the list of kinds, so that a plan for any `kind` may use the index, which is partial
// (measured in a conversation of 500,000 messages: 0.2 ms, and 218 ms without).
macro_rules! files {
    ($beyond:literal, $order:literal) => {
        concat!(
            "select m.id, m.occurred_at, m.contact_id, (
                 select content from revision where revision.message_id = m.id
                 order by edited desc, revision.occurred_at desc, webhook_event_id desc limit 1
             ) as content, a.id as attachment_id, original_state, original_reason, percent,
                 original_state <> 'kept' and original_key is not null as is_lost, provider = 'line' as is_at_line,
                 original_type, original_size, preview_width, preview_height, preview_smaller, placeholder, preview_key,
                 o.sealed_key as preview_head
             from (
                 select id, occurred_at, contact_id from message
                 where conversation_id = $1 and kind = $2 and kind in ('image', 'video', 'audio', 'file')
                     and (occurred_at, id) ",
            $beyond,
            " ($3, $4)
                 order by occurred_at ", $order, ", id ", $order, " limit $5
             ) m left join attachment a on a.message_id = m.id
             left join object o on o.key = preview_key and o.state = 'kept'
             order by m.occurred_at ", $order, ", m.id ", $order
        )
    };
}

/// Direction from the cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To older messages, the newest first.
    Older,
    /// To newer messages, the oldest first.
    Newer,
}

/// The messages of one kind (`image`, `video`, `audio` or `file`) next to the cursor.
pub async fn files(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation_id: Uuid,
    kind: &str,
    (way, cursor): (Direction, Cursor),
    limit: i64,
) -> Result<Vec<Item>> {
    let items = sqlx::query_as(match way {
        Direction::Older => files!("<", "desc"),
        Direction::Newer => files!(">", "asc"),
    })
    .bind(conversation_id)
    .bind(kind)
    .bind(cursor.at)
    .bind(cursor.id)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    opened(keyring, items).await
}

/// A message in which the gallery looks for links. The content field holds what a person wrote.
#[derive(sqlx::FromRow)]
pub struct LinkCandidate {
    /// Our own id of the message.
    pub id: Uuid,
    /// LINE's timestamp.
    pub occurred_at: DateTime<Utc>,
    /// The sender, where known.
    pub contact_id: Option<Uuid>,
    /// Raw webhook event of the newest revision of a text; `None` for another kind, or if it cannot be opened.
    pub content: Option<Vec<u8>>,
}

/// The newest messages before the cursor, newest first, with the contents of the texts among them.
pub async fn texts(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation_id: Uuid,
    before: Cursor,
    limit: i64,
) -> Result<Vec<LinkCandidate>> {
    let mut looked: Vec<LinkCandidate> = sqlx::query_as(
        "select m.id, m.occurred_at, m.contact_id, case m.kind when 'text' then (
             select content from revision where revision.message_id = m.id
             order by edited desc, revision.occurred_at desc, webhook_event_id desc limit 1
         ) end as content
         from (
             select id, occurred_at, contact_id, kind from message
             where conversation_id = $1 and (occurred_at, id) < ($2, $3)
             order by occurred_at desc, id desc limit $4
         ) m order by m.occurred_at desc, m.id desc",
    )
    .bind(conversation_id)
    .bind(before.at)
    .bind(before.id)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let fields = looked
        .iter_mut()
        .map(|one| (SealContext::Message(one.id), &mut one.content));
    sealed::open(keyring, fields.collect()).await?;
    Ok(looked)
}

async fn opened(keyring: &Keyring, mut items: Vec<Item>) -> Result<Vec<Item>> {
    let fields = items
        .iter_mut()
        .map(|item| (SealContext::Message(item.id), &mut item.content));
    sealed::open(keyring, fields.collect()).await?;
    let placeholders = items.iter_mut().filter_map(|item| item.attachment.beside());
    sealed::open_beside(keyring, placeholders.collect()).await?;
    Ok(items)
}
