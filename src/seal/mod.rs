//! Sealing: authenticated encryption of everything a person wrote or is called, under keys that can be destroyed.
//!
//! # Three keys
//!
//! - The *secret key* ([`SecretKey`], `SECRET_KEY_FILE`) wraps the keyring. It alone opens nothing that was erased.
//! - A *wrapping key* ([`WrappingKey`]) belongs to one conversation or contact and covers at most [`COVERS`] items. It
//!   lies in the keyring, outside of PostgreSQL. When something under it is erased the survivors are wrapped anew and
//!   it is destroyed: what remains of the erased in dead tuples, WAL, replicas, backups and buckets is noise.
//! - A *data key* is random, seals one document, or one object and a few bytes about it, and lies wrapped beside it. So a new wrapping key costs
//!   the survivors 89 bytes each, whatever they hold.
//!
//! # What a sealed document looks like
//!
//! | bytes | what |
//! |--:|---|
//! | 1 | form: 1 |
//! | 16 | id of the wrapping key |
//! | 24 | nonce |
//! | 48 | data key, wrapped: XChaCha20-Poly1305 |
//! | n + 16 | the document under its data key: ChaCha20-Poly1305, bound to the [`Place`] it lies at |
//!
//! The first 89 bytes are its *head*. A data key seals once, so its nonce is zero. An object's head lies in its row; its
//! bytes are sealed in chunks ([`stream`]), so that a range can be read. What is known of it and must go with it, such as the
//! colours of a picture, is sealed with the same data key under a nonce that no chunk has, and lies in another row.

mod attest;
mod cipher;
mod keyring;
mod place;
mod secret;
mod shelf;
pub mod stream;

use std::io;

pub use attest::{Attestation, Facts};
pub use cipher::{Cipher, DataKey, HEAD, WrappingKey, key_of};
pub use keyring::{COVERS, Keyring, Taken};
pub use place::Place;
pub use secret::SecretKey;
pub use shelf::{Directory, Shelf};

/// What went wrong with sealing. Says nothing of what is sealed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not what was sealed at this place under this key.
    #[error("a sealed value cannot be opened: it was altered, or belongs elsewhere")]
    Unreadable,
    /// The key is not in the keyring: destroyed, or the keyring is another one.
    #[error("a key is not in the keyring")]
    NoKey,
    /// The keyring cannot be reached.
    #[error("the keyring: {0}")]
    Io(#[from] io::Error),
    /// The file of the secret key cannot be read or made.
    #[error("the secret key's file: {0}")]
    SecretFile(#[source] io::Error),
    /// `SECRET_KEY_FILE` is not what it should be.
    #[error("SECRET_KEY_FILE: {0}")]
    Secret(&'static str),
}

impl Error {
    /// True if what was sealed can be read no more, and no other attempt will change that.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Unreadable | Self::NoKey)
    }
}
