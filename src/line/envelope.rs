//! The body of a webhook delivery: a destination and a list of events, each kept as its raw text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The raw events of one webhook delivery, in LINE's order. May be empty: LINE's Verify button sends none.
///
/// `destination` is not read: the URL of the request names the channel, and the signature proves it.
pub struct Envelope<'a> {
    /// Each event's JSON, byte for byte.
    pub events: Vec<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// Reads a body. `None` if it is not JSON in UTF-8, or not an object with a list `events`.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

// Implemented by hand: a derived implementation refuses duplicate keys, and it reads `destination`, where a lone
// surrogate would make the whole body unreadable.
impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of events")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut events: Option<Vec<&RawValue>> = None;
        while let Some(key) = map.next_key::<&RawValue>()? {
            if key.get() == "\"events\"" {
                events
                    .get_or_insert_with(Vec::new)
                    .extend(map.next_value::<Vec<&RawValue>>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        let events = events.ok_or_else(|| serde::de::Error::missing_field("events"))?;
        Ok(Envelope { events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raws(body: &[u8]) -> Option<Vec<&str>> {
        Some(
            Envelope::parse(body)?
                .events
                .iter()
                .map(|raw| raw.get())
                .collect(),
        )
    }

    #[test]
    fn events_keep_their_bytes() {
        let body = br#" { "events" : [ {"a" : "\ud800"} , 7, {"b":1,"b":2} ], "destination":"\udc00", "new": {} } "#;
        let raws = raws(body).expect("an envelope");
        assert_eq!(raws, [r#"{"a" : "\ud800"}"#, "7", r#"{"b":1,"b":2}"#]);
    }

    #[test]
    fn no_events_is_an_envelope_and_no_list_is_none() {
        assert_eq!(raws(br#"{"destination":"U0","events":[]}"#), Some(vec![]));
        assert_eq!(
            raws(br#"{"events":[1],"events":[2]}"#),
            Some(vec!["1", "2"]),
            "what is acknowledged is kept"
        );
        for body in [
            &b"{}"[..],
            b"[]",
            b"i am not json",
            br#"{"events":{}}"#,
            br#"{"events":[}"#,
            b"{\"events\":[\"\xff\"]}",
            b"",
        ] {
            assert!(raws(body).is_none());
        }
    }
}
