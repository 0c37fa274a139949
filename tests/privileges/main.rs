//! What root does with an archive whose directories belong to lesser accounts, and that it is root no longer than it has
//! to be. Most of it can be seen by root alone: other users are told that it was not tested.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod dropped;
mod keys;
mod planted;
mod refused;
mod world;
