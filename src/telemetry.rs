//! Logs: what happened, with ids; never what a person wrote or is called, never a secret, never an address of theirs.

use std::{io::stderr, panic};

use tracing::Subscriber;
use tracing_log::LogTracer;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What signs requests to S3 says, when asked for `debug`, which secret key it signs with (reqsign-core 3.3.2, `api.rs`).
/// Nothing of these crates, whose names begin so, is ever logged.
const SECRETIVE: &str = "reqsign";

/// Everything that is logged in this process goes to `subscriber` from now on; a second one, in tests, finds the first in
/// place.
pub fn subscribe(subscriber: impl Subscriber + Send + Sync) {
    let _ = LogTracer::builder().ignore_crate(SECRETIVE).init();
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Starts logging to standard error, panics among it: where, not what. `RUST_LOG` chooses the level; the default is `info`.
pub fn start(format: LogFormat) {
    // sqlx logs whole statements when they are slow; ours hold no content, but a log should not depend on that.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=error,actix_server=warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    match format {
        LogFormat::Text => subscribe(log.with_target(false).finish()),
        LogFormat::Json => subscribe(log.json().finish()),
    }
    // What a panic says may hold what a person wrote: a slice of a text, a value that could not be read.
    panic::set_hook(Box::new(|panic| match panic.location() {
        Some(at) => tracing::error!("a panic at {}:{}:{}", at.file(), at.line(), at.column()),
        None => tracing::error!("a panic"),
    }));
}
