//! The numbers of PostgreSQL's advisory locks, all in one place, so that no two locks share one.
//!
//! The migrations have number 726593041 too: `keys_open` takes it shared.

/// Held shared while keys are looked up for use, and exclusively by the process that closes keys: see `erasure/keys`.
pub(super) const OPEN_KEYS: i64 = 726_593_041;

/// Held by the one replica that signs the ledger.
pub(super) const LEDGER: i64 = 726_593_042;

/// Held by the session of the one replica that copies the ledger.
pub(super) const LEDGER_COPIES: i64 = 726_593_047;

/// Held shared by transactions that erase, and exclusively by the one that begins an export.
pub(super) const EXPORTS: i64 = 726_593_043;

/// Held shared by transactions that erase, and exclusively by the one that sets a hold.
pub(super) const HOLDS: i64 = 726_593_044;

/// Held from the check whether another channel has a secret or a token until that is added.
pub(super) const CHANNEL_SECRETS: i64 = 726_593_046;
