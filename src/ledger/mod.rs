//! The ledger: an append-only log of erasures. A later change of a record, or of the order of records, is detected.
//!
//! Every [`Record`] is a leaf of one Merkle tree ([`tree`], RFC 6962), and the tree's head is signed ([`note`], C2SP's
//! tlog-checkpoint). The holder of a checkpoint can check that a record is in the ledger without seeing the others
//! ([`receipt`]), that a later checkpoint only adds to it, or the whole ledger ([`export`]). All checks work without
//! the archive and its database. A record says that something was erased and when, never its content.
//!
//! The limit: the holder of the signing key can sign another history, or leave off the newest records and show an old
//! checkpoint. Both are detected if a third party keeps checkpoints: see [`export::verify_since`].

pub mod export;
pub mod note;
pub mod receipt;
mod record;
#[cfg(test)]
mod tests;
mod text;
pub mod tree;
mod verdict;

use std::io;

pub use note::{Checkpoint, Signer, Verifier};
pub use record::{Kind, Record};
pub use verdict::Verdict;

/// A SHA-256 digest: of a leaf, of a node, or of a whole tree.
pub type Hash = [u8; 32];

/// An error of the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not `<name>+<key hash>+<key>` of an Ed25519 key.
    #[error("not the public key of a ledger")]
    Key,
    /// Not a signed note around a checkpoint.
    #[error("not a signed checkpoint")]
    Note,
    /// Signed by another key, or altered after it was signed.
    #[error("the checkpoint is not signed by this key")]
    Signature,
    /// The parts of an export do not match each other, or a record is of an unknown format.
    #[error("an export cannot be written: {0}")]
    Export(&'static str),
    /// The files of an export cannot be written.
    #[error("the export cannot be written: {0}")]
    Io(#[from] io::Error),
}
