//! `NOTIFY`: tells other processes and open pages the ids of conversations that changed, and no content.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::live;

/// Moves conversations up the list and tells open pages and workers, by their ids, that something changed. No
/// conversation may occur twice.
pub async fn touch(
    db: &mut PgConnection,
    conversations: &[(Uuid, DateTime<Utc>)],
) -> sqlx::Result<()> {
    sqlx::query(
        "with moved as (
             update conversation c set last_at = t.at
             from (select * from unnest($1::uuid[], $2::timestamptz[]) as t (id, at) order by id) t
             where c.id = t.id and c.last_at < t.at
         )
         select pg_notify($4, $3)",
    )
    .bind(conversations.iter().map(|c| c.0).collect::<Vec<_>>())
    .bind(conversations.iter().map(|c| c.1).collect::<Vec<_>>())
    .bind(payload(conversations))
    .bind(live::CHANNEL)
    .execute(db)
    .await?;
    Ok(())
}

/// Tells open pages that something in these conversations changed.
pub async fn conversations_changed(
    db: &mut PgConnection,
    conversations: &[Uuid],
) -> sqlx::Result<()> {
    let at = DateTime::UNIX_EPOCH;
    let ids: Vec<_> = conversations.iter().map(|id| (*id, at)).collect();
    sqlx::query("select pg_notify($2, $1)")
        .bind(payload(&ids))
        .bind(live::CHANNEL)
        .execute(db)
        .await?;
    Ok(())
}

/// Tells open pages, once the transaction commits, that the conversation of this attachment looks different.
pub async fn attachment_changed(db: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "select pg_notify($2, m.conversation_id::text)
         from attachment a join message m on m.id = a.message_id where a.id = $1",
    )
    .bind(id)
    .bind(live::CHANNEL)
    .execute(db)
    .await?;
    Ok(())
}

/// The ids, or `*` for "read everything again": PostgreSQL accepts 8,000 bytes in a payload.
pub(super) fn payload(conversations: &[(Uuid, DateTime<Utc>)]) -> String {
    if conversations.len() > 200 {
        return "*".to_owned();
    }
    let ids: Vec<String> = conversations.iter().map(|(id, _)| id.to_string()).collect();
    ids.join(",")
}
