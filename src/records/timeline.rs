//! The entries of one conversation: messages, events, and tombstones of unsent or erased messages. Only reads.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    conversations::{Cursor, EntryKind},
    media::{Reason, State},
    sealed,
};
use crate::seal::{Keyring, SealContext};

/// An entry of a conversation. The content field holds what people wrote.
#[derive(sqlx::FromRow)]
pub struct Entry {
    /// Kind of the entry.
    pub entry_kind: EntryKind,
    /// Our own id.
    pub id: Uuid,
    /// LINE's timestamp.
    pub occurred_at: DateTime<Utc>,
    /// Type of the message or event; of an erased message the cause; empty for an unsent message.
    pub kind: String,
    /// The sender, where known.
    pub contact_id: Option<Uuid>,
    /// Timestamp of the newest edit.
    pub edited_at: Option<DateTime<Utc>>,
    /// LINE's id of the message that is quoted.
    pub quoted_message_id: Option<String>,
    /// When it was unsent or erased.
    pub gone_at: Option<DateTime<Utc>>,
    /// Raw webhook event of an event; `None` for a message, whose contents are in [`Revision`].
    pub content: Option<Vec<u8>>,
    /// The file that came with it.
    #[sqlx(flatten)]
    pub attachment: Attachment,
}

/// The file of a message, as pages show it. All fields are `None` if the message has no file.
#[derive(sqlx::FromRow)]
pub struct Attachment {
    /// Our own id.
    pub attachment_id: Option<Uuid>,
    /// State of the original.
    pub original_state: Option<State>,
    /// Why the original is in this state, where known.
    pub original_reason: Option<Reason>,
    /// Hundredths of the original that have arrived; `None`: not known, or not being fetched.
    pub percent: Option<i16>,
    /// True if the original was kept, and its object is missing or damaged now.
    pub is_lost: Option<bool>,
    /// True if the file is at LINE, false if it is on another server.
    pub is_at_line: Option<bool>,
    /// Declared media type of the original.
    pub original_type: Option<String>,
    /// Size of the original in bytes.
    pub original_size: Option<i64>,
    /// Width of the preview in pixels.
    pub preview_width: Option<i32>,
    /// Height of the preview in pixels.
    pub preview_height: Option<i32>,
    /// Bytes of the smaller one of two pictures in the preview's object; `None`: it holds one.
    pub preview_smaller: Option<i32>,
    /// Red, green and blue of each cell of a grid of four by four, to stand in for the preview.
    pub placeholder: Option<Vec<u8>>,
    preview_key: Option<String>,
    preview_head: Option<Vec<u8>>,
}

impl Attachment {
    /// True if there is a preview, even one that only stands in for now.
    pub fn has_preview(&self) -> bool {
        self.preview_key.is_some()
    }

    /// The placeholder, with the object that opens it; `None` if there is no such object.
    pub(super) fn beside(&mut self) -> Option<sealed::Beside<'_>> {
        let (key, head) = (self.preview_key.as_deref()?, self.preview_head.as_deref()?);
        Some((key, head, &mut self.placeholder))
    }
}

/// The newest entries before the cursor, newest first.
pub async fn page(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation_id: Uuid,
    before: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = sqlx::query_as(
        "with entry as (
            (select 'message' as entry_kind, id, occurred_at, kind, contact_id, edited_at, quoted_message_id,
                null::timestamptz as gone_at, null::bytea as content
             from message where conversation_id = $1 and (occurred_at, id) < ($2, $3)
             order by occurred_at desc, id desc limit $4)
            union all
            (select 'event', id, occurred_at, kind, contact_id, null, null, null, content
             from event where conversation_id = $1 and (occurred_at, id) < ($2, $3)
             order by occurred_at desc, id desc limit $4)
            union all
            (select case when unsent_at is null then 'erased' else 'unsent' end, id, occurred_at,
                case when unsent_at is null then erased_cause else '' end, null, null, null,
                coalesce(unsent_at, erased_at), null
             from message_ref where conversation_id = $1 and (occurred_at, id) < ($2, $3)
                and (unsent_at is not null or erased_at is not null) and occurred_at is not null
             order by occurred_at desc, id desc limit $4)
            order by occurred_at desc, id desc limit $4
        )
        select entry.*, a.id as attachment_id, original_state, original_reason, percent,
            original_state <> 'kept' and original_key is not null as is_lost, provider = 'line' as is_at_line,
            original_type, original_size,
            preview_width, preview_height, preview_smaller, placeholder, preview_key,
            o.sealed_key as preview_head
        from entry left join attachment a on entry_kind = 'message' and a.message_id = entry.id
        left join object o on o.key = preview_key and o.state = 'kept'
        order by occurred_at desc, entry.id desc",
    )
    .bind(conversation_id)
    .bind(before.at)
    .bind(before.id)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let fields = entries
        .iter_mut()
        .map(|entry| (SealContext::Event(entry.id), &mut entry.content));
    sealed::open(keyring, fields.collect()).await?;
    let placeholders = entries
        .iter_mut()
        .filter_map(|entry| entry.attachment.beside());
    sealed::open_beside(keyring, placeholders.collect()).await?;
    Ok(entries)
}

/// A revision of a message: the original, or an edit. Holds what people wrote.
#[derive(sqlx::FromRow)]
pub struct Revision {
    /// The message.
    pub message_id: Uuid,
    /// The event's timestamp.
    pub occurred_at: DateTime<Utc>,
    /// True: an edit; false: the original.
    pub edited: bool,
    /// The raw webhook event; `None` if it cannot be opened.
    pub content: Option<Vec<u8>>,
}

/// Every revision of these messages; of each message the newest comes first, the original last.
pub async fn revisions(
    conn: &mut PgConnection,
    keyring: &Keyring,
    message_ids: &[Uuid],
) -> sqlx::Result<Vec<Revision>> {
    let mut revisions: Vec<Revision> = sqlx::query_as(
        "select message_id, occurred_at, edited, content from revision where message_id = any($1)
         order by message_id, edited desc, occurred_at desc, webhook_event_id desc",
    )
    .bind(message_ids)
    .fetch_all(conn)
    .await?;
    let fields = revisions.iter_mut().map(|revision| {
        (
            SealContext::Message(revision.message_id),
            &mut revision.content,
        )
    });
    sealed::open(keyring, fields.collect()).await?;
    Ok(revisions)
}

/// A message that others quote, as it is now. Holds what people wrote.
#[derive(sqlx::FromRow)]
pub struct Quoted {
    /// LINE's id, by which it is quoted.
    pub message_id: String,
    /// True: it was unsent, and nothing else is known of it.
    pub unsent: bool,
    /// True: it was erased for another cause.
    pub erased: bool,
    /// Our id; `None`: it was unsent or erased.
    pub id: Option<Uuid>,
    /// LINE's timestamp.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Raw webhook event of the newest revision.
    pub content: Option<Vec<u8>>,
    /// Our id of its sender.
    pub contact_id: Option<Uuid>,
    /// LINE's id of its sender.
    pub user_id: Option<String>,
    /// Profile of its sender.
    pub profile: Option<Vec<u8>>,
}

/// Returns the quoted messages that are in this conversation, or that were unsent or erased.
pub async fn quoted(
    conn: &mut PgConnection,
    keyring: &Keyring,
    channel_id: i32,
    conversation_id: Uuid,
    message_ids: &[String],
) -> sqlx::Result<Vec<Quoted>> {
    let mut quoted: Vec<Quoted> = sqlx::query_as(
        "select ref.message_id, ref.unsent_at is not null as unsent,
         ref.erased_at is not null as erased, m.id, m.occurred_at, m.contact_id,
         user_id, profile, (
            select content from revision where revision.message_id = m.id
            order by edited desc, revision.occurred_at desc, webhook_event_id desc limit 1
         ) as content
         from message_ref ref
         left join message m on m.id = ref.id and m.conversation_id = $2
         left join contact on contact.id = m.contact_id
         where ref.channel_id = $1 and ref.message_id = any($3) 
         and (ref.unsent_at is not null or ref.erased_at is not null or m.id is not null)",
    )
    .bind(channel_id)
    .bind(conversation_id)
    .bind(message_ids)
    .fetch_all(conn)
    .await?;
    let mut fields = vec![];
    for one in &mut quoted {
        fields.extend(
            one.id
                .map(|id| (SealContext::Message(id), &mut one.content)),
        );
        fields.extend(
            one.contact_id
                .map(|id| (SealContext::Profile(id), &mut one.profile)),
        );
    }
    sealed::open(keyring, fields).await?;
    Ok(quoted)
}

/// A person who is named in a conversation.
#[derive(sqlx::FromRow)]
pub struct Person {
    /// Our own id.
    pub id: Uuid,
    /// LINE's id.
    pub user_id: String,
    /// Profile of the person: LINE's JSON.
    pub profile: Option<Vec<u8>>,
    /// Object with the person's picture.
    pub picture_key: Option<String>,
}

/// People by our ids or by LINE's.
pub async fn people(
    conn: &mut PgConnection,
    keyring: &Keyring,
    channel_id: i32,
    ids: &[Uuid],
    user_ids: &[String],
) -> sqlx::Result<Vec<Person>> {
    let mut people: Vec<Person> = sqlx::query_as(
        "select id, user_id, profile, picture_key from contact where id = any($2)
         union
         select id, user_id, profile, picture_key from contact where channel_id = $1 and user_id = any($3)",
    )
    .bind(channel_id)
    .bind(ids)
    .bind(user_ids)
    .fetch_all(conn)
    .await?;
    let fields = people
        .iter_mut()
        .map(|person| (SealContext::Profile(person.id), &mut person.profile));
    sealed::open(keyring, fields.collect()).await?;
    Ok(people)
}

/// A file to serve: its objects, and the raw webhook event that brought it, which may hold its name.
#[derive(sqlx::FromRow)]
pub struct File {
    /// The original's object, if it is kept.
    pub original_key: Option<String>,
    /// State of the original.
    pub original_state: State,
    /// True if the original was kept, and its object is missing or damaged now.
    pub is_lost: bool,
    /// True if the file is at LINE, false if it is on another server.
    pub is_at_line: bool,
    /// The preview's object, even of a preview that only stands in for now.
    pub preview_key: Option<String>,
    /// Bytes of the smaller one of two pictures in the preview's object; `None`: it holds one.
    pub preview_smaller: Option<i32>,
    message_id: Uuid,
    /// The message's raw webhook event.
    pub content: Option<Vec<u8>>,
}

/// The file of an attachment, if its channel is in scope; also of a message that is withheld.
pub async fn file(
    conn: &mut PgConnection,
    keyring: &Keyring,
    channels: &[i32],
    attachment_id: Uuid,
) -> sqlx::Result<Option<File>> {
    let mut file: Option<File> = sqlx::query_as(
        "select case original_state when 'kept' then original_key end as original_key,
            original_state, original_state <> 'kept' and original_key is not null as is_lost,
            provider = 'line' as is_at_line, preview_key,
            preview_smaller, message_id, (
            select content from revision where revision.message_id = attachment.message_id
            order by edited, occurred_at desc limit 1
         ) as content
         from attachment where id = $2 and channel_id = any($1)",
    )
    .bind(channels)
    .bind(attachment_id)
    .fetch_optional(conn)
    .await?;
    if let Some(file) = &mut file {
        let field = (SealContext::Message(file.message_id), &mut file.content);
        sealed::open(keyring, vec![field]).await?;
    }
    Ok(file)
}
