//! Where an object lies: a random name that says nothing of its content.

use std::fmt;

use uuid::Uuid;

/// The key of one object: `ab/cd/abcd…`, 32 hexadecimal digits below two directories that share them out.
///
/// Random, and used for one attempt to write only: nothing is shared, so nothing must be counted before it is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObjectKey(Uuid);

impl ObjectKey {
    /// A key that was never used before.
    #[expect(
        clippy::new_without_default,
        reason = "a default that is never twice the same would surprise"
    )]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads what [`ObjectKey`]'s `Display` wrote; `None` for anything else, so that no text from outside names a file.
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

/// A part of a bucket, so that what is too much for one look is looked at bit by bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard(&'static str);

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self("");

    /// Sixteen parts, which are all of it together.
    pub fn all() -> impl Iterator<Item = Self> {
        const DIGITS: &str = "0123456789abcdef";
        (0..DIGITS.len()).map(|at| Self(&DIGITS[at..=at]))
    }

    /// What the keys in it, written out, begin with.
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
