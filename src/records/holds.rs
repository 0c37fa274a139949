//! Legal holds: conversations in which nothing is erased by a rule or by an operator.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Result};
use uuid::Uuid;

/// A hold, in force or lifted.
#[derive(FromRow, Clone, Debug)]
pub struct Hold {
    /// Our own id.
    pub id: Uuid,
    /// What is held.
    pub conversation_id: Uuid,
    /// Why, in the words of whoever set it.
    pub reason: String,
    /// True: it also stops what a person has asked for.
    pub covers_subject: bool,
    /// Login of whoever set it.
    pub set_by: String,
    /// When.
    pub set_at: DateTime<Utc>,
    /// Login of whoever lifted it.
    pub lifted_by: Option<String>,
    /// When; `None`: it lasts.
    pub lifted_at: Option<DateTime<Utc>>,
}

/// A hold to set.
pub struct NewHold<'a> {
    /// What is held.
    pub conversation_id: Uuid,
    /// Why.
    pub reason: &'a str,
    /// True: it also stops what a person has asked for.
    pub covers_subject: bool,
    /// Who sets it.
    pub by: Uuid,
}

/// Begins to erase something that a hold may stop: until the transaction ends no hold is set. Whoever sets one waits for
/// all who have entered, so that nothing is erased any more once it is set.
pub async fn enter(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock_shared(726593044)")
        .execute(conn)
        .await?;
    Ok(())
}

/// Those of the conversations that are held; `subject`: only by holds that stop a person's request too.
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

/// Sets a hold, in a transaction; `false`: the conversation is not in sight.
pub async fn set(
    conn: &mut PgConnection,
    channels: &[i32],
    hold: &NewHold<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    sqlx::query("select pg_advisory_xact_lock(726593044)")
        .execute(&mut *conn)
        .await?;
    let done = sqlx::query(
        "insert into hold (id, conversation_id, reason, covers_subject, set_by, set_at)
         select $1, id, $4, $5, $6, $7 from conversation where id = $2 and channel_id = any($3)",
    )
    .bind(Uuid::now_v7())
    .bind(hold.conversation_id)
    .bind(channels)
    .bind(hold.reason)
    .bind(hold.covers_subject)
    .bind(hold.by)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lifts a hold; the rules of its channel look through everything anew. `None`: there is no such hold in sight.
pub async fn lift(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
    by: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>> {
    sqlx::query_scalar(
        "with lifted as (
             update hold h set lifted_by = $3, lifted_at = $4 from conversation c
             where h.id = $1 and h.lifted_at is null and c.id = h.conversation_id and c.channel_id = any($2)
             returning c.id, c.channel_id
         ), anew as (
             update retention_rule r set done_before = null, round = round + 1
             from lifted where r.channel_id = lifted.channel_id and r.switched_off_at is null
         )
         select id from lifted",
    )
    .bind(id)
    .bind(channels)
    .bind(by)
    .bind(now)
    .fetch_optional(conn)
    .await
}

/// The holds of the channels in sight, those in force first, the newest first; of one conversation if it is named.
pub async fn list(
    conn: &mut PgConnection,
    channels: &[i32],
    conversation: Option<Uuid>,
) -> Result<Vec<Hold>> {
    sqlx::query_as(
        "select h.id, h.conversation_id, reason, covers_subject, s.login as set_by, set_at,
             l.login as lifted_by, lifted_at
         from hold h join conversation c on c.id = h.conversation_id
         join operator s on s.id = h.set_by left join operator l on l.id = h.lifted_by
         where c.channel_id = any($1) and ($2 is null or c.id = $2)
         order by lifted_at is null desc, set_at desc limit 500",
    )
    .bind(channels)
    .bind(conversation)
    .fetch_all(conn)
    .await
}
