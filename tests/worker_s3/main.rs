//! The tests of tests/worker once more with the objects in a real S3 server (except those that use no object), and
//! tests of what only S3 can do.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod addresses;
mod bucket;
mod check;
mod client;
mod leftover;
mod objects;
mod proxy;
mod store_trouble;
mod uploads;

#[path = "../support/seaweed.rs"]
mod seaweed;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with other test binaries, which use other parts"
)]
mod support;

#[path = "../dashboard/albums.rs"]
mod albums;
#[path = "../worker/archive.rs"]
mod archive;
#[path = "../worker/external.rs"]
mod external;
#[path = "../worker/files.rs"]
mod files;
#[path = "../worker/healed.rs"]
mod healed;
#[path = "../worker/killed.rs"]
mod killed;
#[path = "../worker/people.rs"]
mod people;
#[path = "../worker/reconcile.rs"]
mod reconcile;
#[path = "../dashboard/files.rs"]
mod served;
#[path = "../dashboard/site.rs"]
#[expect(
    dead_code,
    reason = "shared with other test binaries, which use other parts"
)]
mod site;
#[path = "../worker/transfers.rs"]
mod transfers;
#[path = "../worker/trouble.rs"]
mod trouble;
#[path = "../worker/unsend.rs"]
mod unsend;
