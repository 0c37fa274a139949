//! Secret tokens for cookies and links: 256 random bits and their MAC. The database stores only a token's SHA-256.
//!
//! The MAC is keyed from the secret key. It shows whether this service made a token, so an invented token costs no
//! query: without the MAC, 4,400 connections with invented cookies kept all connections to the database, and all slots
//! of the HTTP server, from operators and webhooks.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::seal::{Attestation, Facts};

/// Random bytes of a token; the MAC follows them.
const RANDOM: usize = 32;

/// A random secret that this service made, with its MAC.
pub struct Token(String);

impl Token {
    /// A new token: 256 bits of a generator seeded from the operating system's randomness, and their MAC.
    pub fn random(attestation: &Attestation) -> Self {
        let random = rand::random::<[u8; RANDOM]>();
        let mac = attestation.mac(&facts(&random));
        Self(URL_SAFE_NO_PAD.encode([random, mac].concat()))
    }

    /// The token in `text`; `None` if [`Token::random`] did not make it with this secret key.
    pub fn read(text: &str, attestation: &Attestation) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (random, mac) = bytes.split_at_checked(RANDOM)?;
        let is_ours = attestation.verify(&facts(random), mac);
        is_ours.then(|| Self(text.to_owned()))
    }

    /// The text for the cookie or the link: 86 characters of base64url.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The SHA-256 of the text. The database stores it instead of the token.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

fn facts(random: &[u8]) -> Facts {
    Facts::of("token").bytes(random)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::seal::{Cipher, DirectoryKeyStore, Keyring, SecretKey};

    fn keyring(dir: &tempfile::TempDir) -> Keyring {
        let store = DirectoryKeyStore::open(dir.path()).expect("a directory");
        Keyring::new(&SecretKey::random(), Arc::new(store), Cipher::Sealed)
    }

    #[test]
    fn tokens_differ_and_only_those_of_this_secret_key_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let (keyring, other) = (keyring(&dir), keyring(&dir));
        let mine = keyring.attestation();
        let token = Token::random(mine);
        assert_ne!(token.text(), Token::random(mine).text());
        assert_eq!(token.text().len(), 86);
        let read = |text: &str| Token::read(text, mine).map(|read| read.hash());
        assert_eq!(read(token.text()), Some(token.hash()));
        let bytes = URL_SAFE_NO_PAD.decode(token.text()).expect("bytes");
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert_eq!(read(&URL_SAFE_NO_PAD.encode(altered)), None, "byte {at}");
        }
        for invented in ["", "x", &token.text()[..43], &token.text()[1..]] {
            assert_eq!(read(invented), None, "{invented}");
        }
        assert_eq!(read(Token::random(other.attestation()).text()), None);
    }

    #[test]
    fn debug_does_not_tell_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let token = Token::random(keyring(&dir).attestation());
        assert!(!format!("{token:?}").contains(token.text()));
    }
}
