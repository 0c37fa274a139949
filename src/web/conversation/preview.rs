//! A message or event in one line: for the list, and for quotes.

use super::text::{self, Piece};
use crate::line::{event::Event, message::Content};

/// One line. A message or event without a text is shown as an icon and a word.
pub(in crate::web) struct Line {
    /// The icon's name; empty for none.
    pub(in crate::web) icon: &'static str,
    pub(in crate::web) pieces: Vec<Piece>,
}

impl Line {
    fn word(icon: &'static str, word: &str) -> Self {
        Self {
            icon,
            pieces: vec![Piece::Text(word.to_owned())],
        }
    }

    /// The line in place of a message that was unsent.
    pub(in crate::web) fn unsent() -> Self {
        Self::word("", "message unsent")
    }

    /// The line in place of a message that was erased for another cause.
    pub(in crate::web) fn erased() -> Self {
        Self::word("", "message erased")
    }

    /// The line of a conversation that holds no message or event.
    pub(in crate::web) fn nothing() -> Self {
        Self::word("", "nothing yet")
    }

    /// The line of a message, from its raw webhook event.
    pub(in crate::web) fn message(raw: Option<&[u8]>) -> Self {
        match parse(raw) {
            Some(event) => message(&event.content()),
            None => Self::word("unknown", "message"),
        }
    }

    /// The line of an event that is not a message, by LINE's event type.
    pub(in crate::web) fn event(kind: &str) -> Self {
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

/// Parses raw bytes as a webhook event; `None` if they are missing or cannot be read.
pub(in crate::web) fn parse(raw: Option<&[u8]>) -> Option<Event> {
    Event::parse(std::str::from_utf8(raw?).ok()?)
}

fn message(content: &Content) -> Line {
    let named = |icon, pieces: Vec<Piece>, word| match pieces.is_empty() {
        true => Line::word(icon, word),
        false => Line { icon, pieces },
    };
    let short = |text: &str| text::snippet(text::pieces(text));
    match content {
        Content::Text(spans) => Line {
            icon: "",
            pieces: text::snippet(text::message(spans)),
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
