//! The log. It contains what happened, with ids, but never the content of a message, the name or the address of a
//! person, or a secret. The one exception: sign-ins and refusals at the dashboard are logged with the client's address
//! (`web::security_log`).

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
/// All others are silent, at every level. They log their inputs, and senders choose many of these: the TLS verifier
/// logs the name of a host whose certificate is bad as an error, hyper and reqwest log hosts and addresses while they
/// connect, and sqlx logs statements and the server's notices. The crate that signs requests to S3 logs the secret key
/// that it signs with (reqsign-core 3.3.2, `api.rs`). A list of crates to silence would miss the next dependency.
/// Errors of these crates are logged by this crate, as a kind, where it handles them.
const MAY_LOG: [(&str, Level); 2] = [
    (env!("CARGO_CRATE_NAME"), Level::TRACE),
    // Logs connections that cannot be accepted. At `info` it logs the listening address, which the service prints
    // itself.
    ("actix_server", Level::WARN),
];

/// Filter that lets through the crates and levels of [`MAY_LOG`], and nothing else.
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

/// Sends everything that crates of `MAY_LOG` log in this process to `subscriber` from now on. A second call, as in
/// tests, leaves the first subscriber in place.
pub fn subscribe(subscriber: impl Subscriber + Send + Sync) {
    let _ = LogTracer::init();
    let _ = tracing::subscriber::set_global_default(subscriber.with(MayLog));
}

/// Starts logging to standard error. Of a panic it logs the location, not the message. `RUST_LOG` chooses the level;
/// the default is `info`.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        // A line that cannot be written is lost. Otherwise the error would be written to standard error, which panics
        // if that is full or closed: a full disk, or a terminal that was closed, ended the service and left PostgreSQL
        // running.
        .log_internal_errors(false)
        .with_writer(stderr);
    match format {
        LogFormat::Text => subscribe(log.with_target(false).finish()),
        LogFormat::Json => subscribe(log.json().finish()),
    }
    // The message of a panic may contain what a person wrote: a slice of a text, a value that could not be read.
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
