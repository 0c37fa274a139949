//! One event of a batch, with its rows, and the error of a batch.

use super::{
    directory::Resolved,
    incoming_event::{EventKind, IncomingEvent, MessageEvent},
};
use crate::seal;

/// Why a batch is not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A statement failed, or the connection did.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The keyring had no spare key, and none was made in time.
    #[error("no wrapping key was available")]
    NoKey,
    /// An event could not be sealed.
    #[error(transparent)]
    Seal(#[from] seal::Error),
}

/// An event with its channel, conversation and contact.
pub struct Item<'a> {
    /// The archive's id of the channel.
    pub channel_id: i32,
    /// The event as LINE sent it.
    pub event: &'a IncomingEvent,
    /// Its conversation, contact and members.
    pub resolved: Resolved,
}

/// The key of a message: the archive's channel id and LINE's message id.
pub type Key<'a> = (i32, &'a str);

impl<'a> Item<'a> {
    /// The event's message with its key; `None` if the event is not a message.
    pub fn message(&self) -> Option<(Key<'a>, &'a MessageEvent)> {
        match &self.event.kind {
            EventKind::Message(message) => {
                Some(((self.channel_id, message.message_id.as_str()), message))
            }
            _ => None,
        }
    }

    /// The key of the message that the event unsends; `None` if the event is not an unsend.
    pub fn unsent(&self) -> Option<Key<'a>> {
        match &self.event.kind {
            EventKind::Unsend(message_id) => Some((self.channel_id, message_id.as_str())),
            _ => None,
        }
    }
}
