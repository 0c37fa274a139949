//! One raw webhook event → what it means for the archive.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::line::event::{Event, Place, Source};

/// A webhook event, read, with its raw bytes.
#[derive(Clone)]
pub struct Arrival {
    /// Where it happened and whom LINE named.
    pub source: Source,
    /// When it occurred by LINE's clock; by ours where LINE's is missing or absurd.
    pub at: DateTime<Utc>,
    /// LINE's `webhookEventId`, or one of our own making.
    pub webhook_event_id: String,
    /// The event exactly as it came.
    pub raw: Vec<u8>,
    /// What it means.
    pub meaning: Meaning,
}

/// What an event means for the archive.
#[derive(Clone)]
pub enum Meaning {
    /// A message, or a new text of one.
    Message(Said),
    /// The sender withdrew the message with this LINE id.
    Unsend(String),
    /// Anything else, known or not, with LINE's type.
    Other {
        /// LINE's event type; `other` for what could not be read.
        kind: String,
        /// What it changes beside being shown.
        change: Change,
    },
}

/// A message event or an edit.
#[derive(Clone)]
pub struct Said {
    /// LINE's message id.
    pub message_id: String,
    /// LINE's message type.
    pub kind: String,
    /// True for `messageEdited`.
    pub edited: bool,
    /// LINE's id of the quoted message.
    pub quoted_message_id: Option<String>,
    /// True if LINE does not have the file.
    pub external: bool,
}

/// What an event changes beside being shown.
#[derive(Clone)]
pub enum Change {
    /// Nothing.
    None,
    /// `follow` (true) or `unfollow`.
    Follows(bool),
    /// The account's own `join` (true) or `leave`.
    Present(bool),
    /// `memberJoined` (true) or `memberLeft`, with the user ids.
    Members(Vec<String>, bool),
}

/// LINE began in 2011; a timestamp outside of these years is a mistake, and far ones do not fit PostgreSQL.
const YEARS: std::ops::Range<i64> = 1_262_304_000_000..4_102_444_800_000;

impl Arrival {
    /// Reads one event. Never fails: what cannot be read is an `other` event with its raw bytes.
    pub fn read(raw: &str, received_at: DateTime<Utc>) -> Self {
        match Event::parse(raw) {
            Some(event) => Self::of(&event, raw, received_at),
            None => Self::unreadable(raw.as_bytes().to_vec(), received_at),
        }
    }

    /// An event of which nothing is known but its bytes.
    pub fn unreadable(raw: Vec<u8>, received_at: DateTime<Utc>) -> Self {
        Self {
            source: Source {
                place: Place::Channel,
                user_id: None,
            },
            at: received_at,
            webhook_event_id: made_up_id(),
            raw,
            meaning: Meaning::Other {
                kind: "other".to_owned(),
                change: Change::None,
            },
        }
    }

    /// Whether its id is LINE's.
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
            at,
            webhook_event_id: event.webhook_event_id().unwrap_or_else(made_up_id),
            raw: raw.as_bytes().to_vec(),
            meaning: Meaning::of(event),
        }
    }
}

impl Meaning {
    fn of(event: &Event) -> Self {
        let kind = event.kind();
        match (kind, event.message(), event.unsent_message_id()) {
            ("message" | "messageEdited", Some(message), _) => Meaning::Message(Said {
                kind: message.kind(),
                edited: kind == "messageEdited",
                quoted_message_id: message.quoted_message_id(),
                external: message.is_external(),
                message_id: message.id,
            }),
            ("unsend", _, Some(message_id)) => Meaning::Unsend(message_id),
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
                Meaning::Other {
                    kind: kind.to_owned(),
                    change,
                }
            }
        }
    }
}

const MADE_UP: &str = "none-";

/// Without LINE's id a redelivery cannot be told from news, so each gets an id of its own: shown twice, never lost.
fn made_up_id() -> String {
    format!("{MADE_UP}{}", Uuid::now_v7().simple())
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arrival(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Arrival {
        Arrival::read(raw, DateTime::UNIX_EPOCH)
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
            let arrival = read(&format!(r#"{{"type":"follow","timestamp":{timestamp}}}"#));
            assert_eq!(arrival.at, DateTime::UNIX_EPOCH, "{timestamp}");
        }
        assert_eq!(
            read(r#"{"timestamp":1692251666727}"#).at.timestamp_millis(),
            1692251666727
        );
    }

    #[test]
    fn a_message_without_an_id_is_kept_as_an_event() {
        let arrival = read(r#"{"type":"message","message":{"type":"text","text":"x"}}"#);
        assert!(matches!(arrival.meaning, Meaning::Other { ref kind, .. } if kind == "message"));
    }

    #[test]
    fn what_is_no_event_is_kept_as_other() {
        for raw in ["7", "\"x\"", "[]", "{}", r#"{"type":7}"#, r#"{"type":""}"#] {
            assert!(
                matches!(read(raw).meaning, Meaning::Other { ref kind, .. } if kind == "other" || kind == "7"),
                "{raw}"
            );
        }
    }
}
