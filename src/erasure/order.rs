//! What an operator orders to be erased: one message, or all that is in a conversation. A hold stops it.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::erase;
use crate::clock::Clock;
use crate::records::{
    erasures::{Cause, NewErasure},
    holds,
    messages::{self, Place},
    news, orders,
};

/// The reasons an operator may give: words of ours, so that a record cannot repeat what was erased.
pub const REASONS: [(&str, &str); 6] = [
    ("sender_asked", "Its sender asked for it"),
    ("other_asked", "Somebody else it is about asked for it"),
    ("unlawful", "It must not be kept by law"),
    ("misdirected", "It was sent here by mistake"),
    ("order", "A court or an authority ordered it"),
    ("other", "Another reason, on file elsewhere"),
];

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message is erased.
    Erased,
    /// A hold keeps it.
    Held,
    /// It was gone already.
    Gone,
}

/// Erases one message in the caller's transaction.
///
/// # Errors
/// The database's.
pub async fn message(
    db: &mut PgConnection,
    place: &Place,
    operator: Uuid,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Outcome> {
    holds::enter(db).await?;
    if !holds::held(db, &[place.conversation_id], false)
        .await?
        .is_empty()
    {
        return Ok(Outcome::Held);
    }
    messages::entomb(db, place.channel_id, &[&place.message_id], "operator", now).await?;
    let target = NewErasure::of(
        place.channel_id,
        place.conversation_id,
        place.id,
        Some(&place.message_id),
        now,
    );
    let count = erase(db, &[target], Cause::Operator(operator, reason), now).await?;
    news::tell(db, &[place.conversation_id]).await?;
    Ok(match count {
        0 => Outcome::Gone,
        _ => Outcome::Erased,
    })
}

/// Messages in one transaction.
const MANY: i64 = 200;

/// An order to erase all that is in a conversation.
#[derive(Clone, Debug)]
pub struct Whole {
    /// Its channel.
    pub channel_id: i32,
    /// The conversation.
    pub conversation_id: Uuid,
    /// Who orders it.
    pub operator: Uuid,
    /// Why: one of [`REASONS`].
    pub reason: &'static str,
}

/// Erases what was stored in a conversation until now, in batches. A hold that is set meanwhile stops it where it is.
///
/// # Errors
/// The database's; what was erased until then stays so.
pub async fn conversation(pool: &PgPool, clock: &Clock, whole: &Whole) -> sqlx::Result<Outcome> {
    let until = clock.now();
    let mut outcome = Outcome::Gone;
    for events in [false, true] {
        loop {
            match batch(pool, clock, whole, events, until).await? {
                Outcome::Held => return Ok(Outcome::Held),
                Outcome::Gone => break,
                Outcome::Erased => outcome = Outcome::Erased,
            }
            tokio::time::sleep(super::retention::REST).await;
        }
    }
    Ok(outcome)
}

async fn batch(
    pool: &PgPool,
    clock: &Clock,
    whole: &Whole,
    events: bool,
    until: DateTime<Utc>,
) -> sqlx::Result<Outcome> {
    let now = clock.now();
    let mut tx = pool.begin().await?;
    holds::enter(&mut tx).await?;
    let place = whole.conversation_id;
    if !holds::held(&mut tx, &[place], false).await?.is_empty() {
        return Ok(Outcome::Held);
    }
    let found = match events {
        false => orders::messages(&mut tx, place, until, MANY).await?,
        true => orders::events(&mut tx, place, until, MANY).await?,
    };
    if found.is_empty() {
        return Ok(Outcome::Gone);
    }
    let channel = whole.channel_id;
    let ids: Vec<&str> = found.iter().filter_map(|(_, id)| id.as_deref()).collect();
    messages::entomb(&mut tx, channel, &ids, "operator", now).await?;
    let targets: Vec<NewErasure<'_>> = found
        .iter()
        .map(|(id, message_id)| NewErasure::of(channel, place, *id, message_id.as_deref(), until))
        .collect();
    let cause = Cause::Operator(whole.operator, whole.reason);
    erase(&mut tx, &targets, cause, now).await?;
    news::tell(&mut tx, &[place]).await?;
    tx.commit().await?;
    Ok(Outcome::Erased)
}
