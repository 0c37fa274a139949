//! The dashboard over HTTP and in a browser: the whole service against a real PostgreSQL, a real bucket and the fake
//! LINE platform.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test may panic"
)]

mod albums;
mod attested;
#[path = "../worker/bucket.rs"]
#[expect(
    dead_code,
    reason = "shared with other test binaries, which use other parts"
)]
mod bucket;
mod cookies;
mod damaged;
mod edge;
mod encodings;
mod erasures;
mod fetching;
mod files;
mod gallery;
mod governing;
mod headers;
mod late_forms;
mod live;
mod logins;
mod pages;
mod paging;
mod pictures;
mod removed;
mod scope;
mod security_log;
mod session_ends;
mod setup_link;
mod sign_in;
mod sign_in_limits;
mod site;
mod stickers;
mod strangers;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with other test binaries, which use other parts"
)]
mod support;
mod touch;
