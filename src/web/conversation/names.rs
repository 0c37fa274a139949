//! Names of people, groups and channels, and the initials and colours that stand in for a missing picture.

use serde_json::Value;
use uuid::Uuid;

use super::text::{self, Piece};
use crate::records::conversations::Conversation;

/// A name to be shown in `<bdi>`, cut to 100 characters.
#[derive(Clone)]
pub(in crate::web) struct Name {
    pub(in crate::web) pieces: Vec<Piece>,
    /// The name as plain text, for attributes and titles.
    pub(in crate::web) plain: String,
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

/// A channel's name, and whether the channel was removed: its conversations stay readable.
#[derive(Clone)]
pub(in crate::web) struct ChannelName {
    pub(in crate::web) name: Name,
    pub(in crate::web) removed: bool,
}

impl ChannelName {
    pub(in crate::web) fn new(name: &str, removed: bool) -> Self {
        let name = Name::of(name);
        Self { name, removed }
    }

    /// The name as plain text, for attributes, titles and options.
    pub(in crate::web) fn plain(&self) -> String {
        let mark = if self.removed { " (removed)" } else { "" };
        format!("{}{mark}", self.name.plain)
    }
}

/// A round picture, or initials on a colour that stays the same.
#[derive(Clone)]
pub(in crate::web) struct Face {
    /// The picture's address; `None`: the initials are shown.
    pub(in crate::web) src: Option<String>,
    pub(in crate::web) initials: String,
    /// Number of the colour, 0 to 7.
    pub(in crate::web) tone: u8,
}

impl Face {
    /// `path` is the first part of the picture's address. `key` is the key of the picture's object, if there is one; a
    /// part of it stands in the address, so that a new picture has a new address.
    pub(in crate::web) fn new(id: Uuid, name: &Name, path: &str, key: Option<&str>) -> Self {
        let version = |key: &str| key.chars().rev().take(8).collect::<String>();
        Self {
            src: key.map(|key| format!("/{path}/{id}/picture?v={}", version(key))),
            initials: initials(&name.plain),
            tone: tone(id.as_bytes()),
        }
    }
}

/// A channel's colour, 0 to 7. The first eight channels have different ones.
pub(in crate::web) fn channel_tone(id: i32) -> u8 {
    id.rem_euclid(8) as u8
}

/// Derives one of eight colours from an id.
fn tone(of: &[u8]) -> u8 {
    of.iter()
        .fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte))
        % 8
}

/// A profile or a group summary: LINE's JSON. It is read leniently: a broken document counts as an empty one.
pub(in crate::web) struct Document(Value);

impl Document {
    pub(in crate::web) fn read(bytes: Option<&[u8]>) -> Self {
        Self(
            bytes
                .and_then(|bytes| serde_json::from_slice(bytes).ok())
                .unwrap_or_default(),
        )
    }

    /// The text of a field; `None` if it is missing, blank or not a string.
    pub(in crate::web) fn text(&self, key: &str) -> Option<&str> {
        self.0[key].as_str().filter(|text| !text.trim().is_empty())
    }
}

/// A name that does not come from a person's profile, for example a channel's.
pub(in crate::web) fn plain(name: &str) -> Name {
    Name::of(name)
}

/// A contact's display name, or the beginning of LINE's id if the name is not known.
pub(in crate::web) fn person(profile: Option<&[u8]>, user_id: &str) -> Name {
    match Document::read(profile).text("displayName") {
        Some(name) => Name::of(name),
        None => Name::of(&short_id(user_id)),
    }
}

/// A conversation's name: that of the contact or of the group, else the names of up to four members, else the beginning
/// of LINE's id.
pub(in crate::web) fn conversation<'a>(
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

/// As [`conversation`], without the names of members.
pub(in crate::web) fn known(place: &Conversation) -> Name {
    conversation(
        &place.kind,
        &place.source_id,
        place.summary.as_deref(),
        place.profile.as_deref(),
        [].into_iter(),
    )
}

/// Cuts `U4af4980629…` to `U4af498…`: enough to tell people apart, and short enough to read.
pub(in crate::web) fn short_id(id: &str) -> String {
    let short: String = id.chars().take(7).collect();
    if short.len() < id.len() {
        format!("{short}…")
    } else {
        short
    }
}

/// The first letters of the first two words of a name that begins with an ASCII letter; of any other name, the first
/// letter or symbol.
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
