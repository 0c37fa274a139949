//! The outcome of a check of an export or a receipt.

use std::io;

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was checked is as it was signed.
    Sound {
        /// Number of records in the ledger when the checkpoint was signed.
        size: u64,
        /// Number of records that were checked; in a whole export equal to `size`.
        records: u64,
        /// Number of records of the earlier checkpoint that the ledger was proven to extend; `None` if there is no such
        /// proof.
        extends: Option<u64>,
    },
    /// Something is not as it was signed.
    Tampered {
        /// Number of the first wrong record, from 0; `None` if the check cannot identify one.
        seq: Option<u64>,
        /// Description of the fault.
        what: &'static str,
    },
    /// A file or proof is missing, or not in the expected format; with a description.
    Unreadable(&'static str),
    /// A file is there and cannot be read.
    Unread {
        /// Its name.
        file: &'static str,
        /// The cause.
        why: io::ErrorKind,
    },
    /// Sound, but old: later records may have been left off.
    Stale {
        /// As of [`Verdict::Sound`].
        size: u64,
        /// As of [`Verdict::Sound`].
        records: u64,
        /// As of [`Verdict::Sound`].
        extends: Option<u64>,
        /// When the checkpoint was signed, as the export says, in ms since 1970.
        checkpointed_at: i64,
    },
}
