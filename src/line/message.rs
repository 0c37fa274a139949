//! The content of a message, read leniently from its message object: no function here fails, and no value is trusted.

use serde_json::Value;

use super::event::Event;

/// The content of one message, by LINE's message type. Never log it.
pub enum Content<'a> {
    /// A text, split at its LINE emojis and mentions.
    Text(Vec<Span<'a>>),
    /// An image; with its set if it is one of several that were sent together.
    Image(Option<ImageSet>),
    /// A video, with its duration in milliseconds.
    Video(Option<u64>),
    /// A voice message, with its duration in milliseconds.
    Audio(Option<u64>),
    /// Any other file.
    File {
        /// The sender's name for the file; empty if missing.
        name: &'a str,
        /// Size in bytes, as the sender's app stated it.
        size: Option<u64>,
    },
    /// A location.
    Location {
        /// Name of the location; empty if missing.
        title: &'a str,
        /// Address of the location; empty if missing.
        address: &'a str,
        /// Latitude and longitude in degrees; `None` if missing or out of range.
        point: Option<(f64, f64)>,
    },
    /// A sticker. LINE does not give its picture to bots.
    Sticker {
        /// LINE's package id.
        package: &'a str,
        /// LINE's sticker id.
        id: &'a str,
        /// LINE's keywords for the sticker, 15 at most; LINE samples them anew for each event.
        keywords: Vec<&'a str>,
        /// Text that the sender wrote on the sticker; empty without text.
        text: &'a str,
    },
    /// A message of an unknown type.
    Other,
}

/// Images that were sent together; each is a message of its own, and they arrive in any order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageSet {
    /// LINE's id of the set, the same in all its images.
    pub id: String,
    /// Number of this image in the set, from 1; LINE omits it at times.
    pub index: Option<u64>,
    /// Number of images in the set; LINE omits it at times.
    pub total: Option<u64>,
}

/// A part of a text.
#[derive(PartialEq, Eq, Debug)]
pub enum Span<'a> {
    /// Plain text.
    Plain(&'a str),
    /// A LINE emoji: its placeholder without the brackets, empty where LINE sent `()`.
    Emoji(&'a str),
    /// A mention of a user.
    Mention {
        /// The mention as written in the text, with the `@`.
        text: &'a str,
        /// True if the account itself is mentioned.
        is_self: bool,
    },
}

impl Event {
    /// The content of a `message` or `messageEdited` event; [`Content::Other`] for other events.
    pub fn content(&self) -> Content<'_> {
        Content::of(&self.body()["message"])
    }

    /// The text of the message as LINE sent it, with placeholders for emojis; empty if the message has no text.
    pub fn text(&self) -> &str {
        self.body()["message"]["text"].as_str().unwrap_or_default()
    }

    /// LINE's message type, as it was sent; `None` if it is missing.
    pub fn message_type(&self) -> Option<&str> {
        self.body()["message"]["type"].as_str()
    }
}

impl<'a> Content<'a> {
    fn of(message: &'a Value) -> Self {
        let text = |key: &str| message[key].as_str().unwrap_or_default();
        match text("type") {
            "text" => Self::Text(spans(message)),
            "image" => Self::Image(image_set(&message["imageSet"])),
            "video" => Self::Video(message["duration"].as_u64()),
            "audio" => Self::Audio(message["duration"].as_u64()),
            "file" => Self::File {
                name: text("fileName"),
                size: message["fileSize"].as_u64(),
            },
            "location" => Self::Location {
                title: text("title"),
                address: text("address"),
                point: point(&message["latitude"], &message["longitude"]),
            },
            "sticker" => Self::Sticker {
                package: text("packageId"),
                id: text("stickerId"),
                keywords: message["keywords"]
                    .as_array()
                    .map(|words| words.iter().filter_map(Value::as_str).take(15).collect())
                    .unwrap_or_default(),
                text: text("text"),
            },
            _ => Self::Other,
        }
    }
}

fn image_set(set: &Value) -> Option<ImageSet> {
    Some(ImageSet {
        id: set["id"].as_str()?.to_owned(),
        index: set["index"].as_u64(),
        total: set["total"].as_u64(),
    })
}

fn point(latitude: &Value, longitude: &Value) -> Option<(f64, f64)> {
    let (latitude, longitude) = (latitude.as_f64()?, longitude.as_f64()?);
    (latitude.abs() <= 90.0 && longitude.abs() <= 180.0).then_some((latitude, longitude))
}

/// Splits a text at its emojis and mentions. LINE counts in UTF-16 code units. An emoji or mention is ignored if it is
/// outside of the text, begins or ends inside a character, or overlaps an earlier one.
fn spans(message: &Value) -> Vec<Span<'_>> {
    let text = message["text"].as_str().unwrap_or_default();
    let marks = read_marks(message);
    if marks.is_empty() {
        return vec![Span::Plain(text)];
    }
    let mut spans = Vec::new();
    let mut done = 0;
    for Mark {
        start,
        end,
        is_self,
    } in with_byte_offsets(text, &marks)
    {
        if start < done {
            continue;
        }
        if start > done {
            spans.push(Span::Plain(&text[done..start]));
        }
        spans.push(marked(&text[start..end], is_self));
        done = end;
    }
    if done < text.len() {
        spans.push(Span::Plain(&text[done..]));
    }
    spans
}

/// An emoji or mention in a text, between two offsets.
struct Mark<Offset> {
    start: Offset,
    end: Offset,
    /// For a mention: true if the account itself is mentioned. `None`: an emoji.
    is_self: Option<bool>,
}

/// The emojis and mentions that are not empty, sorted by where they begin, with UTF-16 offsets.
fn read_marks(message: &Value) -> Vec<Mark<u64>> {
    let emojis = message["emojis"].as_array().into_iter().flatten();
    let mentionees = message["mention"]["mentionees"]
        .as_array()
        .into_iter()
        .flatten();
    let mut marks: Vec<Mark<u64>> = emojis
        .map(|emoji| (emoji, None))
        .chain(mentionees.map(|one| (one, Some(one["isSelf"] == true))))
        .filter_map(|(mark, is_self)| {
            let (start, length) = (mark["index"].as_u64()?, mark["length"].as_u64()?);
            let end = start.checked_add(length)?;
            (length > 0).then_some(Mark {
                start,
                end,
                is_self,
            })
        })
        .collect();
    marks.sort_by_key(|mark| mark.start);
    marks
}

/// The marks with byte offsets. Leaves out those that are outside of the text, or begin or end inside a character.
fn with_byte_offsets(text: &str, marks: &[Mark<u64>]) -> Vec<Mark<usize>> {
    // One pass over the text finds the byte offset of every UTF-16 index in `wanted`.
    let mut wanted: Vec<u64> = marks
        .iter()
        .flat_map(|mark| [mark.start, mark.end])
        .collect();
    wanted.sort_unstable();
    let bytes = byte_offsets(text, &wanted);
    let byte = |index: u64| {
        bytes
            .binary_search_by_key(&index, |pair| pair.0)
            .ok()
            .map(|at| bytes[at].1)
    };
    marks
        .iter()
        .filter_map(|mark| {
            Some(Mark {
                start: byte(mark.start)?,
                end: byte(mark.end)?,
                is_self: mark.is_self,
            })
        })
        .collect()
}

fn marked(text: &str, is_self: Option<bool>) -> Span<'_> {
    match is_self {
        Some(is_self) => Span::Mention { text, is_self },
        None => Span::Emoji(
            text.strip_prefix('(')
                .and_then(|rest| rest.strip_suffix(')'))
                .unwrap_or(text),
        ),
    }
}

/// Pairs of UTF-16 index and byte offset, for those of the sorted indexes at which a character begins or the text ends.
fn byte_offsets(text: &str, sorted: &[u64]) -> Vec<(u64, usize)> {
    let mut sorted = sorted.iter().copied().peekable();
    let mut found = Vec::with_capacity(sorted.len());
    let mut index = 0;
    let ends = text.char_indices().map(|(byte, c)| (byte, c.len_utf16()));
    for (byte, units) in ends.chain([(text.len(), 1)]) {
        while sorted.next_if(|wanted| *wanted < index).is_some() {}
        while sorted.next_if_eq(&index).is_some() {
            found.push((index, byte));
        }
        index += units as u64;
    }
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mention(text: &str, index: i64, length: i64) -> Value {
        json!({"type": "text", "text": text, "mention": {"mentionees": [{"index": index, "length": length}]}})
    }

    #[test]
    fn indexes_count_utf16_units() {
        let message = json!({
            "type": "text",
            "text": "🤨𠮷 @Bot こんにちは (hello)()",
            "mention": {"mentionees": [{"index": 5, "length": 4, "type": "user", "isSelf": true}]},
            "emojis": [{"index": 23, "length": 2}, {"index": 16, "length": 7}],
        });
        let Content::Text(spans) = Content::of(&message) else {
            panic!("no text");
        };
        assert_eq!(
            spans,
            [
                Span::Plain("🤨𠮷 "),
                Span::Mention {
                    text: "@Bot",
                    is_self: true
                },
                Span::Plain(" こんにちは "),
                Span::Emoji("hello"),
                Span::Emoji(""),
            ]
        );
    }

    #[test]
    fn marks_that_do_not_fit_are_left_out() {
        for (index, length) in [
            (0, 1),
            (1, 2),
            (0, 99),
            (99, 1),
            (-1, 2),
            (0, -1),
            (2, 0),
            (i64::MAX, i64::MAX),
        ] {
            assert_eq!(
                spans(&mention("🤨ab", index, length)),
                [Span::Plain("🤨ab")],
                "{index} {length}"
            );
        }
        assert_eq!(spans(&mention("", 0, 1)), []);
    }

    #[test]
    fn of_overlapping_marks_the_first_counts() {
        let message = json!({
            "type": "text", "text": "abcdef",
            "emojis": [{"index": 1, "length": 3}, {"index": 3, "length": 2}, {"index": 4, "length": 2}],
        });
        assert_eq!(
            spans(&message),
            [Span::Plain("a"), Span::Emoji("bcd"), Span::Emoji("ef")]
        );
    }

    #[test]
    fn odd_values_are_no_error() {
        for odd in [
            json!(null),
            json!("text"),
            json!({"type": 7}),
            json!({"type": "text", "text": 7, "emojis": {}, "mention": []}),
            json!({"type": "image", "imageSet": {"id": 7}}),
            json!({"type": "file", "fileName": null, "fileSize": -1}),
            json!({"type": "location", "latitude": 91, "longitude": "x"}),
            json!({"type": "sticker", "keywords": [1, null, {}]}),
        ] {
            match Content::of(&odd) {
                Content::Text(spans) => assert_eq!(spans, [Span::Plain("")]),
                Content::Image(set) => assert_eq!(set, None),
                Content::File { name, size } => assert_eq!((name, size), ("", None)),
                Content::Location { point, .. } => assert_eq!(point, None),
                Content::Sticker { keywords, .. } => assert!(keywords.is_empty()),
                Content::Other => {}
                Content::Video(_) | Content::Audio(_) => panic!("not of these"),
            }
        }
    }
}
