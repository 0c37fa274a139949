//! One webhook event, read leniently: LINE adds types and properties without notice, old fixtures lack properties that
//! the reference calls required, and a bad event must not affect the others of its delivery.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde_json::{Value, value::RawValue};

/// A webhook event as far as the archive has to understand it; the rest stays in [`Event::body`].
pub struct Event {
    kind: String,
    body: Value,
}

/// Where an event happened: LINE's `source`, without the user id that LINE may add to a group or room.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Source {
    /// A one-on-one chat with this user id.
    User(String),
    /// A group chat with this group id.
    Group(String),
    /// A multi-person chat with this room id.
    Room(String),
    /// The channel itself: LINE sends some events without a source.
    Channel,
}

impl Source {
    /// LINE's `source.type`; `channel` for events without a source.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::User(_) => "user",
            Source::Group(_) => "group",
            Source::Room(_) => "room",
            Source::Channel => "channel",
        }
    }

    /// LINE's id of the chat; empty for the channel itself.
    pub fn id(&self) -> &str {
        match self {
            Source::User(id) | Source::Group(id) | Source::Room(id) => id,
            Source::Channel => "",
        }
    }
}

impl Event {
    /// Reads one event from its raw JSON. `None` if it is not a JSON object.
    ///
    /// A value that cannot be read (nested hundreds of levels deep, a number out of range) reads as null, and the
    /// values beside it are still read: without a message's id, its unsend could not find it.
    ///
    /// The last of duplicate keys counts. Lone surrogates, which LINE's JSON may contain and Rust's strings may not,
    /// read as U+FFFD; the caller keeps the raw bytes.
    pub fn parse(raw: &str) -> Option<Self> {
        let body = lenient(&without_lone_surrogates(raw), DEPTH);
        let kind = id(&body["type"]).unwrap_or_else(|| "other".to_owned());
        body.is_object().then_some(Self { kind, body })
    }

    /// The whole event as JSON. It has message content: never log it.
    pub(super) fn body(&self) -> &Value {
        &self.body
    }

    /// LINE's event type; `other` if the event has none.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// LINE's `webhookEventId`, the same on every redelivery. `None` if it is missing or not an id.
    pub fn webhook_event_id(&self) -> Option<String> {
        id(&self.body["webhookEventId"])
    }

    /// When it occurred, in ms since 1970; the same on every redelivery. `None` if it is missing or no whole number.
    pub fn timestamp(&self) -> Option<i64> {
        self.body["timestamp"].as_i64()
    }

    /// Where it occurred. A missing, unknown or malformed source becomes [`Source::Channel`].
    pub fn source(&self) -> Source {
        let source = &self.body["source"];
        let read = match source["type"].as_str() {
            Some("user") => self.user_id().map(Source::User),
            Some("group") => id(&source["groupId"]).map(Source::Group),
            Some("room") => id(&source["roomId"]).map(Source::Room),
            _ => None,
        };
        read.unwrap_or(Source::Channel)
    }

    /// The user id in `source`. LINE leaves out users of a group who have not consented.
    pub fn user_id(&self) -> Option<String> {
        id(&self.body["source"]["userId"])
    }

    /// The message object of a `message` or `messageEdited` event: its id and type. `None` without an id.
    pub fn message(&self) -> Option<Message<'_>> {
        let body = &self.body["message"];
        Some(Message {
            id: id(&body["id"])?,
            body,
        })
    }

    /// The id of the message that an `unsend` event withdraws.
    pub fn unsent_message_id(&self) -> Option<String> {
        id(&self.body["unsend"]["messageId"])
    }

    /// The user ids of `memberJoined` and `memberLeft`.
    pub fn members(&self) -> Vec<String> {
        ["joined", "left"]
            .iter()
            .filter_map(|key| self.body[*key]["members"].as_array())
            .flatten()
            .filter_map(|member| id(&member["userId"]))
            .collect()
    }
}

/// The message object inside an event.
pub struct Message<'a> {
    /// LINE's message id.
    pub id: String,
    body: &'a Value,
}

impl Message<'_> {
    /// LINE's message type; `unknown` if the message has none.
    pub fn kind(&self) -> String {
        id(&self.body["type"]).unwrap_or_else(|| "unknown".to_owned())
    }

    /// LINE's id of the message that this one quotes; `None` if it quotes none.
    pub fn quoted_message_id(&self) -> Option<String> {
        id(&self.body["quotedMessageId"])
    }

    /// True if the file is not on LINE's servers: `contentProvider.type` is `external`.
    pub fn is_external(&self) -> bool {
        self.body["contentProvider"]["type"] == "external"
    }
}

/// How many levels of objects are read member by member around a value that cannot be read: enough for an event's
/// `message.contentProvider`.
const DEPTH: usize = 3;

fn lenient(raw: &str, depth: usize) -> Value {
    if let Ok(value) = serde_json::from_str(raw) {
        return value;
    }
    match serde_json::from_str::<BTreeMap<String, &RawValue>>(raw) {
        Ok(members) if depth > 0 => members
            .into_iter()
            .map(|(key, raw)| (key, lenient(raw.get(), depth - 1)))
            .collect(),
        _ => Value::Null,
    }
}

/// The longest id that is accepted, in bytes; LINE's longest (module channels) has 68 characters.
const MAX_ID: usize = 200;

/// Reads an id: a string (in old fixtures a whole number), not empty and not longer than [`MAX_ID`]. U+0000, which
/// PostgreSQL refuses, becomes U+FFFD.
fn id(value: &Value) -> Option<String> {
    let id = match value {
        Value::String(text) => text.replace('\0', "\u{fffd}"),
        Value::Number(number) if !number.is_f64() => number.to_string(),
        _ => return None,
    };
    (!id.is_empty() && id.len() <= MAX_ID).then_some(id)
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Event(redacted)")
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message(redacted)")
    }
}

/// Replaces each unpaired `\uD800`–`\uDFFF` escape by `\uFFFD`: JSON allows such an escape, UTF-8 cannot encode it, and
/// serde_json refuses the whole document for one.
fn without_lone_surrogates(raw: &str) -> Cow<'_, str> {
    let bytes = raw.as_bytes();
    let mut lone = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        let Some(unit) = escape(bytes, at) else {
            at += 2;
            continue;
        };
        match unit {
            0xd800..=0xdbff if matches!(escape(bytes, at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            0xd800..=0xdfff => {
                lone.push(at);
                at += 6;
            }
            _ => at += 6,
        }
    }
    if lone.is_empty() {
        return Cow::Borrowed(raw);
    }
    let mut mended = raw.to_owned();
    for at in lone {
        mended.replace_range(at..at + 6, "\\ufffd");
    }
    Cow::Owned(mended)
}

/// The UTF-16 code unit of the `\uXXXX` escape that begins at byte `at`; `None` if there is no such escape.
fn escape(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(raw: &str) -> Event {
        Event::parse(raw).expect("an event")
    }

    #[test]
    fn lone_surrogates_are_mended_and_pairs_stay() {
        let event = event(
            r#"{"a":"x\ud800y","b":"\uD83E\uDD28","c":"\\ud800","d":"\udc00\ud83e\uDD28\ud83e"}"#,
        );
        assert_eq!(event.body()["a"], "x\u{fffd}y");
        assert_eq!(event.body()["b"], "🤨");
        assert_eq!(event.body()["c"], r"\ud800");
        assert_eq!(event.body()["d"], "\u{fffd}🤨\u{fffd}");
    }

    #[test]
    fn what_cannot_be_read_costs_nothing_beside_it() {
        let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
        let message = event(&format!(
            r#"{{"type":"message","message":{{"id":"7","type":"text","text":"x","new":{deep}}},"far":1e999,"source":{{"type":"user","userId":"U1"}}}}"#
        ));
        assert_eq!(message.kind(), "message");
        assert_eq!(message.message().expect("a message").id, "7");
        assert_eq!(message.body()["message"]["text"], "x");
        assert_eq!(message.user_id().as_deref(), Some("U1"));
    }

    #[test]
    fn of_duplicate_keys_the_last_counts() {
        assert_eq!(
            event(r#"{"type":"message","type":"unsend"}"#).kind(),
            "unsend"
        );
    }

    #[test]
    fn ids_are_texts_without_nul_and_of_bounded_length() {
        assert_eq!(id(&Value::from("a\0b")), Some("a\u{fffd}b".to_owned()));
        assert_eq!(
            id(&Value::from(468789577898262530_u64)),
            Some("468789577898262530".to_owned())
        );
        assert_eq!(id(&Value::from("")), None);
        assert_eq!(id(&Value::from("x".repeat(201))), None);
        assert_eq!(id(&Value::from(1.5)), None);
    }

    #[test]
    fn a_source_that_cannot_be_read_is_the_channel() {
        for raw in [
            r#"{}"#,
            r#"{"source":null}"#,
            r#"{"source":{"type":"group"}}"#,
            r#"{"source":{"type":"square","squareId":"S1"}}"#,
        ] {
            assert_eq!(event(raw).source(), Source::Channel, "{raw}");
        }
        let group = event(r#"{"source":{"type":"group","groupId":"C1","userId":"U1"}}"#);
        assert_eq!(group.source(), Source::Group("C1".to_owned()));
        assert_eq!(group.user_id().as_deref(), Some("U1"));
    }

    #[test]
    fn what_is_no_object_is_no_event() {
        assert!(Event::parse("[]").is_none());
        assert!(Event::parse("7").is_none());
        assert!(Event::parse(&format!("{}1{}", "[".repeat(200), "]".repeat(200))).is_none());
    }

    #[test]
    fn debug_shows_nothing_of_the_content() {
        let event =
            event(r#"{"type":"message","message":{"id":"1","type":"text","text":"SECRET"}}"#);
        assert!(!format!("{event:?} {:?}", event.message()).contains("SECRET"));
    }
}
