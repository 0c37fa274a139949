//! Secrets that travel in a cookie or a link: 256 random bits, of which the database knows the SHA-256 only.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// A random secret, or what somebody claims to be one.
pub struct Token(String);

impl Token {
    /// 256 bits of the operating system's randomness, by way of a seeded generator.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }

    /// What somebody sent. Of any length and form; a forged one has a hash nobody knows.
    pub fn claimed(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text for the cookie or the link: 43 characters of base64url.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is kept in its stead.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_found_by_their_hash() {
        let token = Token::random();
        assert_ne!(token.text(), Token::random().text());
        assert_eq!(token.text().len(), 43);
        assert_eq!(token.hash(), Token::claimed(token.text()).hash());
    }

    #[test]
    fn debug_does_not_tell_it() {
        let token = Token::random();
        assert!(!format!("{token:?}").contains(token.text()));
    }
}
