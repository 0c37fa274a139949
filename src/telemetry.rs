//! Logs: what happened, with ids; never what a person wrote or is called, never a secret, never an address of theirs.

use std::{io::stderr, panic};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging to standard error, panics among it: where, not what. `RUST_LOG` chooses the level; the default is `info`.
pub fn start(format: LogFormat) {
    // sqlx logs whole statements when they are slow; ours hold no content, but a log should not depend on that.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=error,actix_server=warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    // A second start, in tests, finds the first one in place.
    let _ = match format {
        LogFormat::Text => log.with_target(false).try_init().ok(),
        LogFormat::Json => log.json().try_init().ok(),
    };
    // What a panic says may hold what a person wrote: a slice of a text, a value that could not be read.
    panic::set_hook(Box::new(|panic| match panic.location() {
        Some(at) => tracing::error!("a panic at {}:{}:{}", at.file(), at.line(), at.column()),
        None => tracing::error!("a panic"),
    }));
}
