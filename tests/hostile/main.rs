//! Files and names made to do harm: delivered as LINE delivers them, kept, and opened in a real browser. A binary of its
//! own, because what the service takes of memory is what this process takes.
//!
//! `HOSTILE=all` opens and saves everything; without it, what takes longest is sampled.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod canary;
mod downloads;
mod files;
mod files_opened;
#[path = "../support/keys.rs"]
#[expect(dead_code, reason = "nothing is opened here but by the service")]
mod keys;
mod memory;
mod names;
mod names_saved;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "a part of the browser is used here")]
mod support;
mod world;

/// Whether all is wanted that can be had.
fn all() -> bool {
    std::env::var("HOSTILE").is_ok_and(|wanted| wanted == "all")
}
