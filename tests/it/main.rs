//! Integration tests: the whole service against a real PostgreSQL, a real bucket and the fake LINE platform.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod acknowledged;
mod adversity;
mod away;
mod browser;
mod causes;
mod conversation_orders;
mod corpus;
mod doctor;
mod door;
mod events;
mod export_attempts;
mod exports;
mod harness;
mod keys_destroyed;
mod late_arrivals;
mod ledger;
mod ledger_checked;
mod media;
mod orders;
mod outside;
mod ready;
mod replayed;
mod secrets;
mod silent;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with other test binaries, which use other parts"
)]
mod support;
mod trace;
mod traces;
mod unsend;
mod unusable;
mod withheld;
