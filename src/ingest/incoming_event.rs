//! A webhook event as the committer needs it, read from its raw JSON.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::line::event::{Event, Source};

/// A parsed webhook event with its raw bytes.
#[derive(Clone)]
pub struct IncomingEvent {
    /// Where the event happened.
    pub source: Source,
    /// LINE's id of the user in `source`; `None` if LINE names no user.
    pub user_id: Option<String>,
    /// LINE's timestamp; the time of receipt if that is missing or out of range.
    pub at: DateTime<Utc>,
    /// LINE's `webhookEventId`, or a generated id if LINE sent none.
    pub webhook_event_id: String,
    /// The bytes of the event's JSON, unchanged.
    pub raw: Vec<u8>,
    /// Its kind, with the properties that the archive needs.
    pub kind: EventKind,
}

/// The kinds of events that the archive distinguishes.
#[derive(Clone)]
pub enum EventKind {
    /// A message, or an edit of one.
    Message(MessageEvent),
    /// The sender withdrew the message with this LINE id.
    Unsend(String),
    /// Any other event, also of a type that is not known.
    Other {
        /// LINE's event type; `other` for an event that could not be read.
        kind: String,
        /// Its effect on contacts, conversations and members.
        change: Change,
    },
}

/// A message event or an edit.
#[derive(Clone)]
pub struct MessageEvent {
    /// LINE's message id.
    pub message_id: String,
    /// LINE's message type.
    pub kind: String,
    /// True for `messageEdited`.
    pub edited: bool,
    /// LINE's id of the quoted message; `None` if it quotes none.
    pub quoted_message_id: Option<String>,
    /// True if the file is not on LINE's servers.
    pub external: bool,
}

/// The effect of an event on contacts, conversations and members.
#[derive(Clone)]
pub enum Change {
    /// No effect: the event is only shown.
    None,
    /// `follow` (true) or `unfollow`.
    Follows(bool),
    /// The account's own `join` (true) or `leave`.
    Present(bool),
    /// `memberJoined` (true) or `memberLeft`, with the user ids.
    Members(Vec<String>, bool),
}

/// Accepted timestamps, in ms since 1970: the years 2010 to 2099. LINE began in 2011; a timestamp outside of these
/// years is a mistake, and extreme ones do not fit PostgreSQL.
const YEARS: std::ops::Range<i64> = 1_262_304_000_000..4_102_444_800_000;

/// Memory of an event beside its raw bytes (measured: 770).
pub(super) const EVENT_BYTES: usize = 800;

impl IncomingEvent {
    /// Reads one event. Never fails: an event that cannot be read becomes an `other` event with its raw bytes.
    pub fn read(raw: &str, received_at: DateTime<Utc>) -> Self {
        match Event::parse(raw) {
            Some(event) => Self::of(&event, raw, received_at),
            None => Self::unreadable(raw.as_bytes().to_vec(), received_at),
        }
    }

    /// An `other` event of the channel, of which only the bytes are known.
    pub fn unreadable(raw: Vec<u8>, received_at: DateTime<Utc>) -> Self {
        Self {
            source: Source::Channel,
            user_id: None,
            at: received_at,
            webhook_event_id: made_up_id(),
            raw,
            kind: EventKind::Other {
                kind: "other".to_owned(),
                change: Change::None,
            },
        }
    }

    /// Bytes of memory that the event takes.
    pub(super) fn memory(&self) -> usize {
        EVENT_BYTES + self.raw.len()
    }

    /// True if the event has LINE's id, not a generated one.
    pub fn is_named(&self) -> bool {
        !self.webhook_event_id.starts_with(MADE_UP)
    }

    fn of(event: &Event, raw: &str, received_at: DateTime<Utc>) -> Self {
        let at = event
            .timestamp()
            .filter(|millis| YEARS.contains(millis))
            .and_then(DateTime::from_timestamp_millis)
            .unwrap_or(received_at);
        Self {
            source: event.source(),
            user_id: event.user_id(),
            at,
            webhook_event_id: event.webhook_event_id().unwrap_or_else(made_up_id),
            raw: raw.as_bytes().to_vec(),
            kind: EventKind::of(event),
        }
    }
}

impl EventKind {
    fn of(event: &Event) -> Self {
        let kind = event.kind();
        match (kind, event.message(), event.unsent_message_id()) {
            ("message" | "messageEdited", Some(message), _) => EventKind::Message(MessageEvent {
                kind: message.kind(),
                edited: kind == "messageEdited",
                quoted_message_id: message.quoted_message_id(),
                external: message.is_external(),
                message_id: message.id,
            }),
            ("unsend", _, Some(message_id)) => EventKind::Unsend(message_id),
            _ => {
                let change = match kind {
                    "follow" => Change::Follows(true),
                    "unfollow" => Change::Follows(false),
                    "join" => Change::Present(true),
                    "leave" => Change::Present(false),
                    "memberJoined" => Change::Members(event.members(), true),
                    "memberLeft" => Change::Members(event.members(), false),
                    _ => Change::None,
                };
                EventKind::Other {
                    kind: kind.to_owned(),
                    change,
                }
            }
        }
    }
}

const MADE_UP: &str = "none-";

/// An id for an event without LINE's id. A redelivery of it cannot be recognised, so each delivery gets a new id: the
/// event may be shown twice, but is never lost.
fn made_up_id() -> String {
    format!("{MADE_UP}{}", Uuid::now_v7().simple())
}

impl fmt::Debug for IncomingEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IncomingEvent(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> IncomingEvent {
        IncomingEvent::read(raw, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_timestamp_that_cannot_be_true_gives_way_to_the_time_of_receipt() {
        for timestamp in [
            "9223372036854775807",
            "-1",
            "0",
            "\"1692251666727\"",
            "1e300",
            "null",
        ] {
            let event = read(&format!(r#"{{"type":"follow","timestamp":{timestamp}}}"#));
            assert_eq!(event.at, DateTime::UNIX_EPOCH, "{timestamp}");
        }
        assert_eq!(
            read(r#"{"timestamp":1692251666727}"#).at.timestamp_millis(),
            1692251666727
        );
    }

    #[test]
    fn a_message_without_an_id_is_kept_as_an_event() {
        let event = read(r#"{"type":"message","message":{"type":"text","text":"x"}}"#);
        assert!(matches!(event.kind, EventKind::Other { ref kind, .. } if kind == "message"));
    }

    #[test]
    fn what_is_no_event_is_kept_as_other() {
        for raw in ["7", "\"x\"", "[]", "{}", r#"{"type":7}"#, r#"{"type":""}"#] {
            assert!(
                matches!(read(raw).kind, EventKind::Other { ref kind, .. } if kind == "other" || kind == "7"),
                "{raw}"
            );
        }
    }
}
