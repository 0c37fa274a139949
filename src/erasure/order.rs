//! Erasures that an operator orders: one message, or everything in a conversation. A hold stops them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::batch::{Found, Selection};
use crate::{
    clock::Clock,
    records::{
        erasures::Cause,
        holds,
        messages::MessageLocation,
        notify,
        orders::{self, End, OpenOrder},
    },
};

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
    /// A hold stopped the order.
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

/// Carries out orders to erase whole conversations: in batches, and in any process, so that an order survives a restart.
/// Clones share everything.
#[derive(Clone, Debug)]
pub struct Orders {
    pool: PgPool,
    clock: Clock,
}

impl Orders {
    /// Takes the database pool and the clock.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Carries out all orders, with the pause `rest` after each batch, until `stop` is cancelled. Returns how many messages
    /// and events were erased.
    ///
    /// # Errors
    /// The database fails. Earlier batches stay erased, and a later call does the rest.
    pub async fn pass(&self, rest: Duration, stop: &CancellationToken) -> sqlx::Result<usize> {
        let mut conn = self.pool.acquire().await?;
        let open = orders::open(&mut conn).await?;
        drop(conn);
        let mut erased = 0;
        for id in open {
            erased += self.carry_out(id, rest, stop).await?;
        }
        Ok(erased)
    }

    /// Erases what was stored in the conversation until the order was given, in batches, until `stop` is cancelled, a hold
    /// is set, or another process works on the order. Returns how many messages and events were erased.
    ///
    /// # Errors
    /// As [`Orders::pass`].
    pub async fn carry_out(
        &self,
        id: Uuid,
        rest: Duration,
        stop: &CancellationToken,
    ) -> sqlx::Result<usize> {
        let mut erased = 0;
        while let Some(count) = self.batch(id).await? {
            erased += count;
            if stop.is_cancelled() {
                break;
            }
            tokio::time::sleep(rest).await;
        }
        Ok(erased)
    }

    /// Erases one batch; `None` if the order has ended, or another process works on it.
    async fn batch(&self, id: Uuid) -> sqlx::Result<Option<usize>> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        holds::enter(&mut tx).await?;
        let Some(order) = orders::lock(&mut tx, id).await? else {
            return Ok(None);
        };
        let held = holds::held(&mut tx, &[order.conversation_id], false).await?;
        let found = match held.is_empty() {
            true => contents(&mut tx, &order).await?,
            false => vec![],
        };
        if found.is_empty() {
            let outcome = match held.is_empty() {
                true => End::Done,
                false => End::Held,
            };
            orders::end(&mut tx, id, outcome, now).await?;
            tx.commit().await?;
            return Ok(None);
        }
        let selection = Selection {
            channel_id: order.channel_id,
            found: found
                .iter()
                .map(|(id, message_id)| Found {
                    id: *id,
                    message_id: message_id.as_deref(),
                    conversation_id: order.conversation_id,
                })
                .collect(),
            cause: Cause::Operator(order.operator_id, &order.reason),
            requested_at: order.ordered_at,
        };
        let count = selection.erase(&mut tx, now).await?;
        orders::advance(&mut tx, id, count).await?;
        notify::conversations_changed(&mut tx, &[order.conversation_id]).await?;
        tx.commit().await?;
        Ok(Some(count))
    }
}

/// Our ids of up to [`BATCH_MESSAGES`] messages, or, if there are none, of other events, with LINE's ids of messages.
async fn contents(
    db: &mut PgConnection,
    order: &OpenOrder,
) -> sqlx::Result<Vec<(Uuid, Option<String>)>> {
    let (conversation, until) = (order.conversation_id, order.ordered_at);
    let messages = orders::messages(db, conversation, until, BATCH_MESSAGES).await?;
    match messages.is_empty() {
        true => orders::events(db, conversation, until, BATCH_MESSAGES).await,
        false => Ok(messages),
    }
}
