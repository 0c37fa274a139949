//! Root runs an archive whose directories belong to accounts with fewer privileges, and gives root up as early as
//! possible. Most of it can be tested by root only: other users get a note that it was not tested.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod dropped;
mod keys;
mod planted;
#[path = "../support/process.rs"]
mod process;
mod refused;
