//! Shows a message or event that is not understood as a tile that opens its raw fields, never as an error.

use super::Body;
use crate::{
    line::{event::Event, raw_fields::raw_fields},
    web::conversation::text,
};

/// The most characters of the fields that are shown.
const ROOM: usize = 20_000;

/// A message of a type that is not known yet.
pub(super) fn message(event: &Event) -> Body {
    let kind = event.message_type().unwrap_or("no type");
    tile(&format!("Unknown message: {kind}"), event)
}

/// An event of a type, or with a value, that is not known yet.
pub(super) fn event(event: &Event) -> Body {
    tile(&format!("Unknown event: {}", event.kind()), event)
}

/// An event that cannot be decrypted, or (`is_opened`) is not a JSON object. Its raw bytes are kept, but not shown,
/// because tokens in them cannot be recognised.
pub(super) fn unreadable(kind: &str, is_opened: bool) -> Body {
    Body::Unreadable {
        label: text::pieces(&format!("Unreadable: {kind}")),
        why: why_unreadable(is_opened),
    }
}

/// Why a message cannot be shown: it could be decrypted (`is_opened`) and is not understood, or it could not. Its key may
/// be put back, so nothing is said to be lost.
pub(in crate::web) fn why_unreadable(is_opened: bool) -> &'static str {
    match is_opened {
        true => "Its bytes are kept as LINE sent them.",
        false => {
            "Its key is missing or damaged. It can be read again when the key’s file is put back."
        }
    }
}

fn tile(label: &str, event: &Event) -> Body {
    let fields: String = raw_fields(event).chars().take(ROOM).collect();
    Body::Unknown {
        label: text::pieces(&label.chars().take(100).collect::<String>()),
        fields: text::pieces(&fields),
    }
}
