//! LINE's data about people and groups: profiles, summaries, pictures.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use super::sealed;
use crate::{
    live,
    objects::ObjectKey,
    seal::{Keyring, SealContext},
};

/// A person or group with a name and a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A contact.
    Contact(Uuid),
    /// The conversation of a group chat.
    Group(Uuid),
}

impl Subject {
    /// Our own id; its document and its picture are sealed under the keys of this id.
    pub fn id(self) -> Uuid {
        match self {
            Self::Contact(id) | Self::Group(id) => id,
        }
    }

    /// Seal context of its document.
    pub fn seal_context(self) -> SealContext<'static> {
        match self {
            Self::Contact(id) => SealContext::Profile(id),
            Self::Group(id) => SealContext::Summary(id),
        }
    }
}

/// A contact whose profile is requested, and a chat with several people in which they were seen.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Person {
    /// LINE's user id.
    pub user_id: String,
    /// LINE's id of that chat; `None`: they were seen in no such chat.
    pub chat_id: Option<String>,
    /// True if it is a group chat, false if it is a multi-person chat ("room").
    pub chat_is_group: bool,
    /// True if it is the chat `conversation_id` of [`person`].
    pub asked_in_chat: bool,
}

/// Stored document and picture of a [`Subject`].
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StoredDocument {
    /// The document from LINE; it holds the name.
    pub document: Option<Vec<u8>>,
    picture_key: Option<String>,
}

impl StoredDocument {
    /// Object of the picture.
    pub fn picture_key(&self) -> Option<ObjectKey> {
        ObjectKey::parse(self.picture_key.as_deref()?)
    }
}

/// A contact, with the chat with several people that is `conversation_id`, or else the latest one they are in.
pub async fn person(
    conn: &mut PgConnection,
    contact_id: Uuid,
    conversation_id: Option<Uuid>,
) -> Result<Option<Person>> {
    sqlx::query_as(
        "select c.user_id, chat.source_id as chat_id,
             coalesce(chat.kind = 'group', false) as chat_is_group,
             coalesce(chat.id = $2, false) as asked_in_chat
         from contact c left join lateral (
             select v.id, v.kind, v.source_id from conversation v
             left join member m on m.conversation_id = v.id and m.contact_id = c.id
             where v.kind in ('group', 'room') and (v.id = $2 or m.present)
             order by v.id = $2 desc nulls last, m.changed_at desc limit 1
         ) chat on true
         where c.id = $1",
    )
    .bind(contact_id)
    .bind(conversation_id)
    .fetch_optional(conn)
    .await
}

/// LINE's id of a group chat; `None`: it is not a group chat.
pub async fn group_id(conn: &mut PgConnection, conversation_id: Uuid) -> Result<Option<String>> {
    sqlx::query_scalar("select source_id from conversation where id = $1 and kind = 'group'")
        .bind(conversation_id)
        .fetch_optional(conn)
        .await
}

/// The document that LINE gave last; it holds the name.
pub async fn document(
    conn: &mut PgConnection,
    keyring: &Keyring,
    subject: Subject,
) -> Result<Option<Vec<u8>>> {
    let (sql, id) = match subject {
        Subject::Contact(id) => ("select profile from contact where id = $1", id),
        Subject::Group(id) => ("select summary from conversation where id = $1", id),
    };
    let document: Option<Option<Vec<u8>>> = sqlx::query_scalar(sql)
        .bind(id)
        .fetch_optional(conn)
        .await?;
    sealed::open_one(keyring, subject.seal_context(), document.flatten()).await
}

/// The stored document and picture, locked until the transaction ends; `None`: the subject does not exist.
pub async fn lock(
    conn: &mut PgConnection,
    keyring: &Keyring,
    subject: Subject,
) -> Result<Option<StoredDocument>> {
    let (sql, id) = match subject {
        Subject::Contact(id) => (
            "select profile as document, picture_key from contact where id = $1 for no key update",
            id,
        ),
        Subject::Group(id) => (
            "select summary as document, picture_key from conversation where id = $1 for no key update",
            id,
        ),
    };
    let mut known: Option<StoredDocument> =
        sqlx::query_as(sql).bind(id).fetch_optional(conn).await?;
    if let Some(known) = &mut known {
        let document = known.document.take();
        known.document = sealed::open_one(keyring, subject.seal_context(), document).await?;
    }
    Ok(known)
}

/// Records LINE's answer at `now`: a `document` (sealed), or (`None`) that LINE has none. An earlier document stays
/// then.
pub async fn answered(
    conn: &mut PgConnection,
    subject: Subject,
    document: Option<&[u8]>,
    now: DateTime<Utc>,
) -> Result<()> {
    let (sql, id) = match subject {
        Subject::Contact(id) => (
            "update contact set profile = coalesce($2, profile), profile_asked_at = $3,
                 profile_state = case when $2 is null then 'not_found' else 'known' end
             where id = $1",
            id,
        ),
        Subject::Group(id) => (
            "update conversation set summary = coalesce($2, summary), summary_asked_at = $3,
                 summary_state = case when $2 is null then 'not_found' else 'known' end
             where id = $1",
            id,
        ),
    };
    sqlx::query(sql)
        .bind(id)
        .bind(document)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Replaces the picture by another one, given as its object and media type, or by none.
pub async fn set_picture(
    conn: &mut PgConnection,
    subject: Subject,
    picture: Option<(ObjectKey, Option<&str>)>,
) -> Result<()> {
    let (sql, id) = match subject {
        Subject::Contact(id) => (
            "update contact set picture_key = $2, picture_type = $3 where id = $1",
            id,
        ),
        Subject::Group(id) => (
            "update conversation set picture_key = $2, picture_type = $3 where id = $1",
            id,
        ),
    };
    sqlx::query(sql)
        .bind(id)
        .bind(picture.map(|(key, _)| key.to_string()))
        .bind(picture.and_then(|(_, media_type)| media_type))
        .execute(conn)
        .await?;
    Ok(())
}

/// Queues a fetch of the picture at `now`, in `flow`; `None`: in the subject's own flow. A fetch that is under way
/// begins again, because its URL is out of date.
pub async fn ask_for_picture(
    conn: &mut PgConnection,
    channel_id: i32,
    subject: Subject,
    flow: Option<i32>,
    now: DateTime<Utc>,
) -> Result<()> {
    let (sql, id) = match subject {
        Subject::Contact(id) => (
            "insert into job (kind, channel_id, contact_id, run_at, created_at, asks_line, flow)
             values ('picture', $1, $2, $3, $3, false, coalesce($4, job_flow($2)))
             on conflict (contact_id, kind) where contact_id is not null
             do update set run_at = $3, deferred = false, attempts = 0, lease = null, leased_until = null",
            id,
        ),
        Subject::Group(id) => (
            "insert into job (kind, channel_id, conversation_id, run_at, created_at, asks_line, flow)
             values ('picture', $1, $2, $3, $3, false, coalesce($4, job_flow($2)))
             on conflict (conversation_id, kind) where contact_id is null and attachment_id is null
             do update set run_at = $3, deferred = false, attempts = 0, lease = null, leased_until = null",
            id,
        ),
    };
    sqlx::query(sql)
        .bind(channel_id)
        .bind(id)
        .bind(now)
        .bind(flow)
        .execute(conn)
        .await?;
    Ok(())
}

/// Tells open pages, once the transaction commits, that the conversations that show the subject look different.
pub async fn notify(conn: &mut PgConnection, subject: Subject) -> Result<()> {
    let (sql, id) = match subject {
        Subject::Contact(id) => (
            "select pg_notify($2, id::text) from (
                 select id from conversation where contact_id = $1
                 union select conversation_id from member where contact_id = $1) shown",
            id,
        ),
        Subject::Group(id) => ("select pg_notify($2, $1::text)", id),
    };
    sqlx::query(sql)
        .bind(id)
        .bind(live::CHANNEL)
        .execute(conn)
        .await?;
    Ok(())
}
