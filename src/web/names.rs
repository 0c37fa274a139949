//! What people and groups are called, and what stands for them where there is no picture.

use serde_json::Value;
use uuid::Uuid;

use super::text::{self, Piece};

/// A name to be shown, in `<bdi>`.
#[derive(Clone)]
pub(super) struct Name {
    pub(super) pieces: Vec<Piece>,
    /// For attributes and titles.
    pub(super) plain: String,
}

impl Name {
    fn of(text: &str) -> Self {
        let short: String = text.chars().take(100).collect();
        Self {
            pieces: text::pieces(&short),
            plain: text::plain(&short),
        }
    }
}

/// A channel's name, and whether the channel was removed: what it received stays readable.
#[derive(Clone)]
pub(super) struct ChannelName {
    pub(super) name: Name,
    pub(super) removed: bool,
}

impl ChannelName {
    pub(super) fn new(name: &str, removed: bool) -> Self {
        let name = Name::of(name);
        Self { name, removed }
    }

    /// For attributes, titles and options.
    pub(super) fn plain(&self) -> String {
        let mark = if self.removed { " (removed)" } else { "" };
        format!("{}{mark}", self.name.plain)
    }
}

/// A round picture, or initials on a colour that stays the same.
#[derive(Clone)]
pub(super) struct Face {
    /// The picture's address.
    pub(super) src: Option<String>,
    pub(super) initials: String,
    /// 0 to 7.
    pub(super) tone: u8,
}

impl Face {
    /// `path` leads to the picture, if there is one; `key` is its object's, so that a new picture has a new address.
    pub(super) fn new(id: Uuid, name: &Name, path: &str, key: Option<&str>) -> Self {
        let version = |key: &str| key.chars().rev().take(8).collect::<String>();
        Self {
            src: key.map(|key| format!("/{path}/{id}/picture?v={}", version(key))),
            initials: initials(&name.plain),
            tone: tone(id.as_bytes()),
        }
    }
}

/// A channel's colour; the first eight channels have different ones.
pub(super) fn channel_tone(id: i32) -> u8 {
    id.rem_euclid(8) as u8
}

/// One of eight colours.
fn tone(of: &[u8]) -> u8 {
    of.iter()
        .fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte))
        % 8
}

/// A profile or summary document of LINE's. Lenient: a broken one is an empty one.
pub(super) struct Document(Value);

impl Document {
    pub(super) fn read(bytes: Option<&[u8]>) -> Self {
        Self(
            bytes
                .and_then(|bytes| serde_json::from_slice(bytes).ok())
                .unwrap_or_default(),
        )
    }

    /// A field's text, if there is one worth showing.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0[key].as_str().filter(|text| !text.trim().is_empty())
    }
}

/// A name that is no person's.
pub(super) fn plain(name: &str) -> Name {
    Name::of(name)
}

/// A person's name, or the beginning of LINE's id where it is not known.
pub(super) fn person(profile: Option<&[u8]>, user_id: &str) -> Name {
    match Document::read(profile).text("displayName") {
        Some(name) => Name::of(name),
        None => Name::of(&short_id(user_id)),
    }
}

/// A conversation's name, whatever kind it is.
pub(super) fn conversation<'a>(
    kind: &str,
    source_id: &str,
    summary: Option<&[u8]>,
    profile: Option<&[u8]>,
    members: impl Iterator<Item = &'a [u8]>,
) -> Name {
    match kind {
        "user" => person(profile, source_id),
        "channel" => Name::of("Channel events"),
        _ => {
            if let Some(name) = Document::read(summary).text("groupName") {
                return Name::of(name);
            }
            let members: Vec<_> = members
                .filter_map(|profile| {
                    Document::read(Some(profile))
                        .text("displayName")
                        .map(str::to_owned)
                })
                .take(4)
                .collect();
            match (members.is_empty(), kind) {
                (false, _) => Name::of(&members.join(", ")),
                (true, "group") => Name::of(&format!("Group {}", short_id(source_id))),
                (true, _) => Name::of(&format!("Room {}", short_id(source_id))),
            }
        }
    }
}

/// `U4af4980629…` as `U4af49…`: enough to tell people apart, not a wall of digits.
pub(super) fn short_id(id: &str) -> String {
    let short: String = id.chars().take(7).collect();
    if short.len() < id.len() {
        format!("{short}…")
    } else {
        short
    }
}

/// The first letters of the first two words; of scripts without words, the first character.
fn initials(name: &str) -> String {
    let mut letters = name
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter_map(|word| word.chars().find(|c| c.is_alphanumeric()));
    let Some(first) = letters.next() else {
        let symbol = name.chars().find(|c| !c.is_whitespace() && *c != '[');
        return symbol.map(String::from).unwrap_or_default();
    };
    let second = letters.next().filter(|_| first.is_ascii_alphabetic());
    first
        .to_uppercase()
        .chain(second.into_iter().flat_map(char::to_uppercase))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_suit_the_script() {
        assert_eq!(initials("Aoi Tanaka"), "AT");
        assert_eq!(initials("田中 葵"), "田");
        assert_eq!(initials("พิมพ์"), "พ");
        assert_eq!(initials("🌸🌸"), "🌸");
        assert_eq!(initials(" "), "");
    }

    #[test]
    fn a_name_is_found_somewhere() {
        let doc = |text: &str| Some(text.as_bytes().to_vec());
        let profile = doc(r#"{"displayName":"Aoi"}"#);
        assert_eq!(person(profile.as_deref(), "U1").plain, "Aoi");
        assert_eq!(person(Some(b"broken"), "U123456789").plain, "U123456…");
        let members = [
            &br#"{"displayName":"Ken"}"#[..],
            br#"{}"#,
            br#"{"displayName":"Mai"}"#,
        ];
        let room = conversation("room", "R123456789", None, None, members.into_iter());
        assert_eq!(room.plain, "Ken, Mai");
        let nobody = conversation("group", "C123456789", None, None, [].into_iter());
        assert_eq!(nobody.plain, "Group C123456…");
    }
}
