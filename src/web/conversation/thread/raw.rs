//! Shows a message or event that is not understood as a tile that opens its raw fields, never as an error.

use serde_json::Value;

use super::Body;
use crate::{line::event::Event, web::conversation::text};

/// Fields that are never shown: capabilities for sending, which no operator needs to see.
const SECRETS: [&str; 4] = ["replyToken", "quoteToken", "markAsReadToken", "nonce"];
/// The most characters of the fields that are shown.
const ROOM: usize = 20_000;

/// A message of a type that is not known yet.
pub(super) fn message(event: &Event) -> Body {
    let kind = event.body()["message"]["type"]
        .as_str()
        .unwrap_or("no type");
    tile(&format!("Unknown message: {kind}"), event)
}

/// An event of a type, or with a value, that is not known yet.
pub(super) fn event(event: &Event) -> Body {
    tile(&format!("Unknown event: {}", event.kind()), event)
}

/// An event that cannot be opened, or is not a JSON object. Its raw bytes are kept, but not shown, because tokens in
/// them cannot be recognised.
pub(super) fn unreadable(kind: &str) -> Body {
    Body::Unknown {
        label: text::pieces(&format!("Unreadable: {kind}")),
        fields: None,
    }
}

fn tile(label: &str, event: &Event) -> Body {
    let mut body = event.body().clone();
    strip(&mut body);
    let fields = serde_json::to_string_pretty(&body).unwrap_or_default();
    let fields: String = fields.chars().take(ROOM).collect();
    Body::Unknown {
        label: text::pieces(&label.chars().take(100).collect::<String>()),
        fields: Some(text::pieces(&fields)),
    }
}

/// Removes the tokens at any depth.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for secret in SECRETS {
                fields.remove(secret);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_shown() {
        let raw = r#"{"type":"new","replyToken":"T1","a":[{"quoteToken":"T2","b":{"markAsReadToken":"T3","c":"kept"}}]}"#;
        let Body::Unknown { fields, .. } = event(&Event::parse(raw).expect("an event")) else {
            panic!("no tile");
        };
        let fields = format!("{fields:?}");
        assert!(fields.contains("kept"));
        for token in ["T1", "T2", "T3", "Token"] {
            assert!(!fields.contains(token), "{token}");
        }
    }
}
