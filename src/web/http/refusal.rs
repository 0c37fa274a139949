//! What the server refuses before a request reaches the app: answered in bytes, counted, and logged once a minute.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::net::TcpStream;

use crate::web::headers::PERMISSIONS;

/// At most one line in the log in this time.
pub(super) const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Why a connection was refused or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// All slots are taken by requests that are being answered.
    Full,
    /// One address has too many connections.
    Address,
    /// It made room for another connection.
    Evicted,
    /// A head did not arrive in time.
    SlowHead,
    /// A head was too long.
    LongHead,
    /// A body did not arrive in time.
    SlowBody,
    /// An answer was not read.
    Unread,
    /// Not HTTP, or requests sent behind a body without a length.
    Malformed,
    /// No byte of a head came: browsers open spare connections and may not use them. Strangers hold such connections too.
    Silent,
}

const REASONS: usize = 9;

/// How often each happened since the log was told.
#[derive(Default)]
pub(super) struct Tally {
    counts: [AtomicU64; REASONS],
    logged: Mutex<Option<Instant>>,
}

impl Tally {
    /// Counts one. The first is logged at once, the others together once a minute; addresses are not logged, because
    /// strangers choose how many there are. A silent connection waits for the line of the others, or for
    /// [`Tally::log`]: alone it is nothing to warn of.
    pub(super) fn count(&self, reason: Reason) {
        self.counts[reason as usize].fetch_add(1, Ordering::Relaxed);
        if reason != Reason::Silent {
            self.log();
        }
    }

    /// Logs what was counted, if the last line is old enough: as a warning, but silent connections alone as information.
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
                // No warning has to wait for this line.
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

/// The headers that every answer has.
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

/// An answer in bytes, with the headers that every answer has, for a connection that is closed after it.
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

/// Sends an answer as far as the socket takes it now: nobody waits for a client that is being refused. Not by `try_write`,
/// which writes nothing before the runtime has first seen the socket.
pub(super) fn send(stream: &TcpStream, status: &str) {
    let _ = rustix::io::write(stream, answer(status).as_bytes());
}
