//! Logs: what happened, with ids; never what a person wrote or is called, never a secret, never an address of theirs. The
//! one exception: who signs in or is refused at the dashboard is logged with the client's address (`web::security_log`).

use std::{
    env,
    io::{IsTerminal, stderr},
    panic,
};

use tracing::{Level, Metadata, Subscriber, subscriber::Interest};
use tracing_log::LogTracer;
use tracing_subscriber::{
    EnvFilter, Layer,
    layer::{Context, SubscriberExt},
};

use crate::config::LogFormat;

/// Crates that may log, and up to which level, whatever `RUST_LOG` says.
///
/// All others are silent, at every level. They log what they are given, and senders choose much of that: the TLS verifier
/// logs the name of a host whose certificate is bad as an error, hyper and reqwest log hosts and addresses while they
/// connect, sqlx logs statements and the server's notices, and what signs requests to S3 logs the secret key it signs with
/// (reqsign-core 3.3.2, `api.rs`). A list of crates to silence would miss the next dependency. What they fail with is logged
/// here as a kind, where it is handled.
const MAY_LOG: [(&str, Level); 2] = [
    (env!("CARGO_CRATE_NAME"), Level::TRACE),
    // Sockets that cannot be accepted from. Its `info` tells the listening address, which the service says itself.
    ("actix_server", Level::WARN),
];

/// Lets through what [`MAY_LOG`] names, and nothing else.
struct MayLog;

impl MayLog {
    fn lets(metadata: &Metadata<'_>) -> bool {
        let of = |target: &str, name: &str| {
            let rest = target.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        MAY_LOG
            .iter()
            .any(|(name, level)| of(metadata.target(), name) && metadata.level() <= level)
    }
}

impl<S: Subscriber> Layer<S> for MayLog {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::lets(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        Self::lets(metadata)
    }
}

/// Everything that is logged in this process, by crates that may log, goes to `subscriber` from now on; a second one, in
/// tests, finds the first in place.
pub fn subscribe(subscriber: impl Subscriber + Send + Sync) {
    let _ = LogTracer::init();
    let _ = tracing::subscriber::set_global_default(subscriber.with(MayLog));
}

/// Starts logging to standard error, panics among it: where, not what. `RUST_LOG` chooses the level; the default is `info`.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        // A line that cannot be written is lost. Else it is told to standard error, which panics where that is full or gone:
        // a full disk, or a terminal that was closed, ended the service and left PostgreSQL running.
        .log_internal_errors(false)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::captured::Log;

    #[test]
    fn other_crates_are_silent_at_every_level() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_writer(move || writer.clone())
            .finish()
            .with(MayLog);
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "rustls_platform_verifier::verification", "for name FOREIGN");
            tracing::trace!(target: "hyper_util::client", "FOREIGN");
            tracing::error!(target: "line_chat_archive_plugin", "FOREIGN");
            tracing::info!(target: "actix_server::builder", "FOREIGN");
            tracing::warn!(target: "actix_server::accept", "may be said");
            tracing::trace!(target: "line_chat_archive::media", "so may this");
            tracing::trace!("and this");
        });
        let text = log.take();
        assert!(!text.contains("FOREIGN"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
