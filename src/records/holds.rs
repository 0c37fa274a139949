//! Legal holds: conversations in which no retention rule and no operator's order erases anything. Some holds cover
//! more.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Result};
use uuid::Uuid;

use super::{conversations::Conversation, locks, sealed};
use crate::seal::Keyring;

/// A hold, in force or lifted.
#[derive(FromRow)]
pub struct Hold {
    /// Our own id.
    #[sqlx(rename = "hold_id")]
    pub id: Uuid,
    /// The conversation that is held.
    #[sqlx(flatten)]
    pub conversation: Conversation,
    /// Why, in the words of the operator who set it.
    pub reason: String,
    /// True: it also stops an erasure that a person has requested.
    pub covers_subject: bool,
    /// True: messages that are unsent under it are withheld.
    pub covers_unsend: bool,
    /// Login of the operator who set it.
    pub set_by: String,
    /// When it was set.
    pub set_at: DateTime<Utc>,
    /// Login of the operator who lifted it.
    pub lifted_by: Option<String>,
    /// When it was lifted; `None`: it is in force.
    pub lifted_at: Option<DateTime<Utc>>,
    /// Number of messages that it withholds.
    pub withheld: i64,
}

/// A hold to set.
pub struct NewHold<'a> {
    /// The conversation to hold.
    pub conversation_id: Uuid,
    /// Why, in the operator's words.
    pub reason: &'a str,
    /// True: it also stops an erasure that a person has requested.
    pub covers_subject: bool,
    /// True: messages that are unsent under it are withheld; then `covers_subject` has to be true, too.
    pub covers_unsend: bool,
    /// Our id of the operator who sets it.
    pub by: Uuid,
}

/// Called before something is erased that a hold may stop: until the transaction ends, no hold is set. Who
/// sets one calls [`keep_out`] first, which waits for all transactions that have entered, so that nothing is erased after
/// a hold is set.
pub async fn enter(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock_shared($1)")
        .bind(locks::HOLDS)
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns the conversations that are held. With `subject`, counts only holds that stop a subject request too.
pub async fn held(
    conn: &mut PgConnection,
    conversations: &[Uuid],
    subject: bool,
) -> Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select distinct conversation_id from hold
         where conversation_id = any($1) and lifted_at is null and (covers_subject or not $2)",
    )
    .bind(conversations)
    .bind(subject)
    .fetch_all(conn)
    .await
}

/// Waits for the transactions that have entered ([`enter`]), and keeps others from entering until the transaction ends.
pub async fn keep_out(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(locks::HOLDS)
        .execute(conn)
        .await?;
    Ok(())
}

/// Inserts a hold with our id `id`. `false`: the conversation is not in scope.
pub async fn insert(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
    hold: &NewHold<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query(
        "insert into hold (id, conversation_id, reason, covers_subject, covers_unsend, set_by, set_at)
         select $1, id, $4, $5, $8, $6, $7 from conversation where id = $2 and channel_id = any($3)",
    )
    .bind(id)
    .bind(hold.conversation_id)
    .bind(channels)
    .bind(hold.reason)
    .bind(hold.covers_subject)
    .bind(hold.by)
    .bind(now)
    .bind(hold.covers_unsend)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A held conversation and its channel.
#[derive(FromRow, Clone, Debug)]
pub struct Held {
    /// The channel.
    pub channel_id: i32,
    /// Its slug.
    pub slug: String,
    /// The conversation.
    pub conversation_id: Uuid,
}

/// The conversation of a hold, in force or lifted, and its channel.
pub async fn held_by(conn: &mut PgConnection, id: Uuid) -> Result<Held> {
    sqlx::query_as(
        "select channel.id as channel_id, slug, c.id as conversation_id
         from hold h join conversation c on c.id = h.conversation_id
         join channel on channel.id = c.channel_id where h.id = $1",
    )
    .bind(id)
    .fetch_one(conn)
    .await
}

/// Ends a hold. `false`: no such hold is in force and in scope.
pub async fn end(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
    by: Uuid,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query(
        "update hold h set lifted_by = $3, lifted_at = $4 from conversation c
         where h.id = $1 and h.lifted_at is null and c.id = h.conversation_id and c.channel_id = any($2)",
    )
    .bind(id)
    .bind(channels)
    .bind(by)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The conversation of a hold in scope, lifted or not.
pub async fn of(conn: &mut PgConnection, channels: &[i32], id: Uuid) -> Result<Option<Uuid>> {
    sqlx::query_scalar(
        "select c.id from hold h join conversation c on c.id = h.conversation_id
         where h.id = $1 and c.channel_id = any($2)",
    )
    .bind(id)
    .bind(channels)
    .fetch_optional(conn)
    .await
}

/// The holds of the channels in scope, those in force first, the newest first, at most 500.
pub async fn list(
    conn: &mut PgConnection,
    keyring: &Keyring,
    channels: &[i32],
) -> Result<Vec<Hold>> {
    let mut holds: Vec<Hold> = sqlx::query_as(
        "select h.id as hold_id, reason, covers_subject, covers_unsend, s.login as set_by, set_at,
             l.login as lifted_by, lifted_at, (select count(*) from withheld where hold_id = h.id) as withheld,
             c.id, c.contact_id, c.channel_id, c.kind, source_id, present, presence_changed_at, summary,
             coalesce(c.picture_key, p.picture_key) as picture_key, c.created_at, follows, follow_changed_at, profile
         from hold h join conversation c on c.id = h.conversation_id left join contact p on p.id = c.contact_id
         join operator s on s.id = h.set_by left join operator l on l.id = h.lifted_by
         where c.channel_id = any($1)
         order by lifted_at is null desc, set_at desc limit 500",
    )
    .bind(channels)
    .fetch_all(conn)
    .await?;
    let fields = holds
        .iter_mut()
        .flat_map(|hold| hold.conversation.sealed_fields());
    sealed::open(keyring, fields.collect()).await?;
    Ok(holds)
}
