//! The ledger: what was erased, in an order and a wording that nobody can change afterwards unseen.
//!
//! Every [`Record`] is a leaf of one Merkle tree ([`tree`], RFC 6962), and the tree's head is signed ([`note`], C2SP's
//! tlog-checkpoint). Who holds a checkpoint can be shown that a record is in it without the others ([`receipt`]), that a
//! later checkpoint only adds to it, or the whole ([`export`]). All of it is checked without the archive and its
//! database. A record says that something was erased and when, never what it said.
//!
//! What none of this shows: the holder of the signing key can sign another history, or leave off the newest records and
//! show an old checkpoint. Against that, somebody else keeps checkpoints: see [`export::verify_since`].

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

/// What went wrong with the ledger.
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
    /// The parts of an export do not belong together.
    #[error("an export cannot be written: {0}")]
    Export(&'static str),
    /// An export's directory cannot be written.
    #[error("an export: {0}")]
    Io(#[from] io::Error),
}
