//! What an operator orders to be erased: one message. A hold stops it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::erase;
use crate::records::{
    erasures::{Cause, Erased, NewErasure},
    holds,
    messages::{self, Place},
    news,
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
    let target = NewErasure {
        id: Uuid::now_v7(),
        channel_id: place.channel_id,
        erased: Erased::Message(&place.message_id),
        target: place.id,
        conversation_id: Some(place.conversation_id),
        webhook_event_id: None,
        asked_at: now,
    };
    let count = erase(db, &[target], Cause::Operator(operator, reason), now).await?;
    news::tell(db, &[place.conversation_id]).await?;
    Ok(match count {
        0 => Outcome::Gone,
        _ => Outcome::Erased,
    })
}
