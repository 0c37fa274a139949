//! Refusals before a request reaches the app: the server writes the response itself, counts it, and logs the counts
//! once a minute.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::net::TcpStream;

use super::headers::PERMISSIONS;

/// At most one warning is logged within this time.
pub(super) const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Why a connection was refused or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// All slots are taken by requests that are being answered, or too many evicted connections are still open.
    Full,
    /// One address has too many connections.
    Address,
    /// The connection was closed to make room for another.
    Evicted,
    /// A head did not arrive in time.
    SlowHead,
    /// A head was too long, or too many long heads were incomplete at once.
    LongHead,
    /// A body did not arrive in time.
    SlowBody,
    /// The client did not read its response in time.
    Unread,
    /// actix refused a request, a chunked body was malformed, or actix read a request where none may come.
    Malformed,
    /// No byte of a head arrived in time. Browsers open spare connections and may not use them; strangers hold such
    /// connections too.
    Silent,
}

const REASONS: usize = 9;

/// The number of refusals for each [`Reason`] since they were last logged.
#[derive(Default)]
pub(super) struct Tally {
    counts: [AtomicU64; REASONS],
    logged: Mutex<Option<Instant>>,
}

impl Tally {
    /// Counts one refusal. The first is logged at once, the others together once a minute. Addresses are not logged,
    /// because strangers choose how many there are. A silent connection is logged with the others, or by
    /// [`Tally::log`]: alone it is no reason for a warning.
    pub(super) fn count(&self, reason: Reason) {
        self.counts[reason as usize].fetch_add(1, Ordering::Relaxed);
        if reason != Reason::Silent {
            self.log();
        }
    }

    /// Logs the counts if the last warning is old enough: as a warning, or as information if only silent connections
    /// were counted.
    pub(super) fn log(&self) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        let counts: [u64; REASONS] =
            std::array::from_fn(|index| self.counts[index].swap(0, Ordering::Relaxed));
        let [refused @ .., silent] = counts;
        if refused.iter().all(|count| *count == 0) {
            if silent > 0 {
                // `logged` is not set, so that no warning has to wait because of this line.
                tracing::info!(silent, "connections that sent nothing were closed");
            }
            return;
        }
        *logged = Some(Instant::now());
        drop(logged);
        let [
            full,
            by_address,
            evicted,
            slow_heads,
            long_heads,
            slow_bodies,
            unread,
            malformed,
        ] = refused;
        tracing::warn!(
            full,
            by_address,
            evicted,
            slow_heads,
            long_heads,
            slow_bodies,
            unread,
            malformed,
            silent,
            "connections were refused or cut"
        );
    }
}

/// The security headers of every refusal.
pub(super) const HEADERS: [(&str, &str); 7] = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", PERMISSIONS),
];

/// A whole response with [`HEADERS`], for a connection that is closed after it.
pub(super) fn answer(status: &str) -> String {
    let reason = status.split_once(' ').map_or(status, |(_, reason)| reason);
    let retry = if status.starts_with("503") {
        "retry-after: 2\r\n"
    } else {
        ""
    };
    let headers = HEADERS.map(|(name, value)| format!("{name}: {value}\r\n"));
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-type: text/plain; charset=utf-8\r\n{retry}\
         connection: close\r\n{}\r\n{reason}\n",
        reason.len() + 1,
        headers.concat()
    )
}

/// Sends a refusal as far as the socket takes it now: the server does not wait for a client that it refuses. It does
/// not use `try_write`, which writes nothing before the runtime has first seen the socket.
pub(super) fn send(stream: &TcpStream, status: &str) {
    let _ = rustix::io::write(stream, answer(status).as_bytes());
}
