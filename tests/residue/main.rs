//! After an unsend nothing is found: in no file of the database, its logs, the bucket, or the service.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod checker;
mod forgotten;
mod marks;
#[path = "../support/residue.rs"]
mod residue;
mod scene;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with other test binaries, which use other parts"
)]
mod support;
mod world;
