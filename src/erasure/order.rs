//! Erasures that an operator orders: one message, or everything in a conversation. A hold stops them.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::batch::{Found, Selection};
use crate::clock::Clock;
use crate::records::{erasures::Cause, holds, messages::MessageLocation, notify, orders};

/// The reasons that an operator can give: the word in the record, and the text on the page. The list is fixed, so that
/// a record cannot repeat what was erased.
pub const REASONS: [(&str, &str); 6] = [
    ("sender_asked", "The sender asked for it"),
    (
        "other_asked",
        "Another person whom it concerns asked for it",
    ),
    ("unlawful", "The law forbids keeping it"),
    ("misdirected", "It was sent here by mistake"),
    ("order", "A court or an authority ordered it"),
    ("other", "Another reason, documented elsewhere"),
];

/// The result of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something was erased.
    Erased,
    /// A hold stopped the order. Batches before the hold stay erased.
    Held,
    /// There was nothing left to erase.
    Gone,
}

/// Erases one message in the caller's transaction.
///
/// # Errors
/// The database fails.
pub async fn message(
    db: &mut PgConnection,
    message: &MessageLocation,
    operator: Uuid,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Outcome> {
    holds::enter(db).await?;
    if !holds::held(db, &[message.conversation_id], false)
        .await?
        .is_empty()
    {
        return Ok(Outcome::Held);
    }
    let selection = Selection {
        channel_id: message.channel_id,
        found: vec![Found {
            id: message.id,
            message_id: Some(&message.message_id),
            conversation_id: message.conversation_id,
        }],
        cause: Cause::Operator(operator, reason),
        requested_at: now,
    };
    let count = selection.erase(db, now).await?;
    notify::conversations_changed(db, &[message.conversation_id]).await?;
    Ok(match count {
        0 => Outcome::Gone,
        _ => Outcome::Erased,
    })
}

/// Messages in one transaction.
const BATCH_MESSAGES: i64 = 200;

/// An order to erase everything in a conversation.
#[derive(Clone, Debug)]
pub struct ConversationErasure {
    /// Number of the channel of the conversation.
    pub channel_id: i32,
    /// Id of the conversation.
    pub conversation_id: Uuid,
    /// Id of the operator who gives the order.
    pub operator: Uuid,
    /// The word of one of [`REASONS`].
    pub reason: &'static str,
}

/// Erases in batches what was stored in a conversation until now. If a hold is set meanwhile, no further batch
/// is erased.
///
/// # Errors
/// The database fails. Earlier batches stay erased.
pub async fn conversation(
    pool: &PgPool,
    clock: &Clock,
    order: &ConversationErasure,
) -> sqlx::Result<Outcome> {
    let until = clock.now();
    let mut outcome = Outcome::Gone;
    for events in [false, true] {
        loop {
            match batch(pool, clock, order, events, until).await? {
                Outcome::Held => return Ok(Outcome::Held),
                Outcome::Gone => break,
                Outcome::Erased => outcome = Outcome::Erased,
            }
            tokio::time::sleep(super::retention::BATCH_PAUSE).await;
        }
    }
    Ok(outcome)
}

async fn batch(
    pool: &PgPool,
    clock: &Clock,
    order: &ConversationErasure,
    events: bool,
    until: DateTime<Utc>,
) -> sqlx::Result<Outcome> {
    let now = clock.now();
    let mut tx = pool.begin().await?;
    holds::enter(&mut tx).await?;
    let conversation = order.conversation_id;
    if !holds::held(&mut tx, &[conversation], false)
        .await?
        .is_empty()
    {
        return Ok(Outcome::Held);
    }
    let found = match events {
        false => orders::messages(&mut tx, conversation, until, BATCH_MESSAGES).await?,
        true => orders::events(&mut tx, conversation, until, BATCH_MESSAGES).await?,
    };
    if found.is_empty() {
        return Ok(Outcome::Gone);
    }
    let selection = Selection {
        channel_id: order.channel_id,
        found: found
            .iter()
            .map(|(id, message_id)| Found {
                id: *id,
                message_id: message_id.as_deref(),
                conversation_id: conversation,
            })
            .collect(),
        cause: Cause::Operator(order.operator, order.reason),
        requested_at: until,
    };
    selection.erase(&mut tx, now).await?;
    notify::conversations_changed(&mut tx, &[conversation]).await?;
    tx.commit().await?;
    Ok(Outcome::Erased)
}
