//! A message or event in one line: for the list, and for quotes.

use serde_json::Value;

use super::text::{self, Piece};
use crate::line::{event::Event, message::Content};

/// One line: an icon and a word for what is no text.
pub(super) struct Line {
    /// The icon's name; empty for none.
    pub(super) icon: &'static str,
    pub(super) pieces: Vec<Piece>,
}

impl Line {
    fn word(icon: &'static str, word: &str) -> Self {
        Self {
            icon,
            pieces: vec![Piece::Text(word.to_owned())],
        }
    }

    /// Where a message was unsent.
    pub(super) fn unsent() -> Self {
        Self::word("", "message unsent")
    }

    /// Where a message was erased for another cause.
    pub(super) fn erased() -> Self {
        Self::word("", "message erased")
    }

    /// Where nothing was ever said.
    pub(super) fn nothing() -> Self {
        Self::word("", "nothing yet")
    }

    /// A raw message event.
    pub(super) fn message(raw: Option<&[u8]>) -> Self {
        match parse(raw) {
            Some(event) => message(&event.body()["message"]),
            None => Self::word("unknown", "message"),
        }
    }

    /// A raw event of another kind.
    pub(super) fn event(kind: &str) -> Self {
        let (icon, word) = match kind {
            "follow" => ("person", "followed the account"),
            "unfollow" => ("person", "blocked the account"),
            "join" => ("people", "the account joined"),
            "leave" => ("people", "the account left"),
            "memberJoined" => ("people", "joined"),
            "memberLeft" => ("people", "left"),
            "postback" => ("tap", "postback"),
            "videoPlayComplete" => ("video", "video watched to its end"),
            "beacon" => ("beacon", "beacon"),
            "accountLink" => ("person", "account link"),
            "membership" => ("person", "membership"),
            "module" | "activated" | "deactivated" | "botSuspended" | "botResumed" => {
                ("channel", "channel event")
            }
            "delivery" => ("channel", "notification delivered"),
            "things" => ("beacon", "LINE Things"),
            _ => ("unknown", "unknown event"),
        };
        Self::word(icon, word)
    }
}

/// Reads raw bytes as an event.
pub(super) fn parse(raw: Option<&[u8]>) -> Option<Event> {
    Event::parse(std::str::from_utf8(raw?).ok()?)
}

fn message(message: &Value) -> Line {
    let named = |icon, pieces: Vec<Piece>, word| match pieces.is_empty() {
        true => Line::word(icon, word),
        false => Line { icon, pieces },
    };
    let short = |text: &str| text::snippet(text::pieces(text));
    match Content::of(message) {
        Content::Text(spans) => Line {
            icon: "",
            pieces: text::snippet(text::message(&spans)),
        },
        Content::Image(_) => Line::word("photo", "photo"),
        Content::Video(_) => Line::word("video", "video"),
        Content::Audio(_) => Line::word("voice", "voice message"),
        Content::File { name, .. } => named("file", short(name), "file"),
        Content::Location { title, address, .. } => {
            let place = if title.is_empty() { address } else { title };
            named("place", short(place), "location")
        }
        Content::Sticker { text, .. } => named("sticker", short(text), "sticker"),
        Content::Other => Line::word("unknown", "unknown message"),
    }
}
