//! Names objects: a key is random and reveals nothing about the content.

use std::fmt;

use uuid::Uuid;

/// The key of one object: `ab/cd/abcd…`, 32 hexadecimal digits below two directories that distribute the objects.
///
/// Random, and used for one attempt to write only: objects are not shared, so a deletion needs no reference count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObjectKey(Uuid);

impl ObjectKey {
    /// Generates a random key (UUID version 4).
    #[expect(
        clippy::new_without_default,
        reason = "a default that is never twice the same would surprise"
    )]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// Parses the output of [`ObjectKey`]'s `Display`; `None` for anything else, so that text from outside cannot name
    /// a file.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.rsplit('/').next()?;
        let key = Self(Uuid::try_parse(name).ok()?);
        (key.to_string() == text && key.0.get_version_num() == 4).then_some(key)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = Uuid::encode_buffer();
        let name = self.0.simple().encode_lower(&mut buffer);
        write!(f, "{}/{}/{name}", &name[..2], &name[2..4])
    }
}

/// A part of the object store, so that a listing that is too large for one pass is read part by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard(&'static str);

impl Shard {
    /// The whole object store.
    pub const WHOLE: Self = Self("");

    /// The sixteen shards that together are the whole object store.
    pub fn all() -> impl Iterator<Item = Self> {
        const DIGITS: &str = "0123456789abcdef";
        (0..DIGITS.len()).map(|at| Self(&DIGITS[at..=at]))
    }

    /// The text that all keys of this shard begin with.
    pub fn prefix(self) -> &'static str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_text() {
        let key = ObjectKey::new();
        assert_eq!(ObjectKey::parse(&key.to_string()), Some(key));
    }

    #[test]
    fn nothing_else_is_a_key() {
        let text = ObjectKey::new().to_string();
        let name = &text[6..];
        for wrong in [
            "",
            "/",
            "../../etc/passwd",
            name,
            &text.to_uppercase(),
            &format!("/{text}"),
            &format!("{text}/"),
            &format!("{text}.part"),
            &format!("{text}\n"),
            &format!("../cd/{name}"),
            &format!("{}{}", &text[..6], "0".repeat(32)),
            "00/00/00000000000000000000000000000000",
        ] {
            assert_eq!(ObjectKey::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn each_key_is_in_one_shard() {
        for _ in 0..100 {
            let key = ObjectKey::new().to_string();
            let within = |shard: &Shard| key.starts_with(shard.prefix());
            assert_eq!(Shard::all().filter(within).count(), 1);
            assert!(within(&Shard::WHOLE));
        }
    }
}
