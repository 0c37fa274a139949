//! What a check of an export or a receipt comes to.

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was shown is as it was signed.
    Sound {
        /// Records in the ledger when the checkpoint was signed.
        size: u64,
        /// Records that were shown and checked: of a whole export, `size`.
        records: u64,
    },
    /// Something is not as it was signed.
    Tampered {
        /// The first record that is wrong, where that can be told.
        seq: Option<u64>,
        /// In words.
        what: &'static str,
    },
    /// Something is missing, or not of the form it should have.
    Unreadable(&'static str),
    /// Sound, but old: what came later may have been left off.
    Stale {
        /// As of [`Verdict::Sound`].
        size: u64,
        /// As of [`Verdict::Sound`].
        records: u64,
        /// When the checkpoint was signed, as the export says, in ms since 1970.
        checkpointed_at: i64,
    },
}
