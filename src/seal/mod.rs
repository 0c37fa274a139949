//! Sealing: authenticated encryption (AEAD) of everything that a person wrote or is called, under keys that can be
//! destroyed.
//!
//! # Three kinds of keys
//!
//! - The *secret key* ([`SecretKey`], `SECRET_KEY_FILE`) wraps the keyring. With the secret key alone, nothing that was
//!   erased can be opened.
//! - A *wrapping key* ([`WrappingKey`]) belongs to one conversation, contact or export, and covers at most [`COVERS`]
//!   items. It is stored in the keyring, outside PostgreSQL. After something sealed under it was erased, the surviving
//!   items are rewrapped under another key, and this key is destroyed (crypto-shredding). From then on, the copies of
//!   the erased item that remain in dead tuples, the WAL, replicas, backups and buckets are noise.
//! - A *data key* is random. It seals one document, or one object and a few bytes about it. It is stored wrapped, in
//!   the head of what it seals (see below). A new wrapping key therefore rewrites only 89 bytes of each surviving item,
//!   whatever the size of the item.
//!
//! # Format of a sealed document
//!
//! | bytes | what |
//! |--:|---|
//! | 1 | form: 1 |
//! | 16 | id of the wrapping key |
//! | 24 | nonce |
//! | 48 | data key, wrapped: XChaCha20-Poly1305 |
//! | n + 16 | the document under its data key: ChaCha20-Poly1305, with the [`SealContext`] as associated data |
//!
//! The first 89 bytes are the *head*. A data key seals one document only, so the nonce of the document is zero. The
//! head of an object is stored in the object's row. The bytes of the object are sealed in chunks ([`stream`]), so that
//! a range can be read. Facts about an object that must become unreadable together with it, such as the colours of a
//! picture, are sealed with the same data key under a nonce that no chunk has, and are stored in another row.

mod attest;
mod cipher;
mod context;
mod key_store;
mod keyring;
mod secret;
pub mod stream;

use std::io;

pub use attest::{Attestation, Facts};
pub use cipher::{Cipher, DataKey, HEAD, WrappingKey, key_of};
pub use context::SealContext;
pub use key_store::{DirectoryKeyStore, KeyStore};
pub use keyring::{COVERS, KeyFiles, Keyring, Taken};
pub use secret::SecretKey;

/// Why a value could not be sealed or opened, or a key not be used. The texts hold nothing of what is sealed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not what was sealed in this context under this key.
    #[error("a sealed value cannot be opened: it was altered, or moved from another row")]
    Unreadable,
    /// The key is not in the keyring: it was destroyed, or this is another keyring.
    #[error("a key is not in the keyring")]
    NoKey,
    /// A file or an object of the keyring is too short for its key, or the file is not a regular one.
    #[error("the keyring's {0} is damaged")]
    Damaged(String),
    /// The keyring cannot be read or written.
    #[error("the keyring: {0}")]
    Io(#[from] io::Error),
    /// The file of the secret key cannot be read or created.
    #[error("the secret key's file: {0}")]
    SecretFile(#[source] io::Error),
    /// The file at `SECRET_KEY_FILE` is missing, is not a secret key, or is not closed to other accounts.
    #[error("SECRET_KEY_FILE: {0}")]
    Secret(&'static str),
}

impl Error {
    /// True if the sealed value can never be opened again: another attempt would fail as well.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Unreadable | Self::NoKey | Self::Damaged(_))
    }
}
