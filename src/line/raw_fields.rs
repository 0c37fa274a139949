//! An event's fields as they came, for a reader, without the tokens.

use serde_json::Value;

use super::event::Event;

/// Fields that are left out at any depth: capabilities for sending, which no reader needs.
const TOKENS: [&str; 4] = ["replyToken", "quoteToken", "markAsReadToken", "nonce"];

/// The event's JSON, indented, without its tokens. It has message content: never log it.
pub fn raw_fields(event: &Event) -> String {
    let mut body = event.body().clone();
    strip(&mut body);
    serde_json::to_string_pretty(&body).unwrap_or_default()
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for token in TOKENS {
                fields.remove(token);
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
    fn tokens_are_left_out_at_any_depth() {
        let raw = r#"{"type":"new","replyToken":"T1","a":[{"quoteToken":"T2","b":{"markAsReadToken":"T3","nonce":"T4","c":"kept"}}]}"#;
        let fields = raw_fields(&Event::parse(raw).expect("an event"));
        assert!(fields.contains("kept"));
        for token in ["T1", "T2", "T3", "T4", "Token", "nonce"] {
            assert!(!fields.contains(token), "{token}");
        }
    }
}
