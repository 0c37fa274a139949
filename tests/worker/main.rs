//! The work after the acknowledgement, with a real PostgreSQL, a real directory and the fake LINE platform.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod archive;
mod bucket;
mod bulkheads;
mod claims;
mod crash;
mod external;
mod files;
mod healed;
mod killed;
mod logged;
mod lost_objects;
mod order;
mod outage;
mod people;
mod reconcile;
mod refetch;
mod replicas;
mod substituted;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with other test binaries, which use other parts"
)]
mod support;
mod transfers;
mod trouble;
mod unsend;
