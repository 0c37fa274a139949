//! Hostile files and file names: delivered as LINE delivers them, kept, and opened in a real browser. This is a test
//! binary of its own, because the memory of the service is measured as the memory of this process.
//!
//! `HOSTILE=all` opens and saves everything; without it, the slowest parts run on a sample.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod canary;
mod downloads;
mod files;
mod files_opened;
mod memory;
mod names;
mod names_saved;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with other test binaries, which use other parts"
)]
mod support;
mod world;

/// Whether `HOSTILE=all` is set.
fn all() -> bool {
    std::env::var("HOSTILE").is_ok_and(|wanted| wanted == "all")
}
