//! Limits on the number of connections, and on the duration of each step of a connection.

use std::time::Duration;

/// Connections at once, of the whole process. One that has sent no complete request head costs about 1 KiB.
const CONNECTIONS: usize = 16_384;

/// Of these, connections that have sent a complete request head: each costs about 25 KiB, of which actix keeps 16 KiB
/// as buffers.
const SERVED: usize = 4096;

/// Connections at once from one address.
const PER_ADDRESS: usize = 512;

/// Open files that are reserved for the database, the object store and LINE.
const RESERVED_FILES: usize = 512;

/// Limits of the HTTP server. The defaults are those of `serve`; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of open connections.
    pub connections: usize,
    /// Maximum number of open connections that have sent a complete request head.
    pub served: usize,
    /// Maximum number of open connections from one IPv4 address or one IPv6 /64. Trusted proxies are exempt.
    pub per_address: usize,
    /// Maximum length of a request's head, in bytes.
    pub head_bytes: usize,
    /// Time from a head's first byte to its last. For the first head of a connection it begins with the accept.
    pub head: Duration,
    /// Time from the end of a head to the end of its body.
    pub body: Duration,
    /// Time between a response and the next request.
    pub idle: Duration,
    /// Time in which a client must read at least [`Limits::STALL_BYTES`] of a response that waits for it.
    pub stall: Duration,
    /// How long the rest of a body is read after the response, so that the client sees the response before the close.
    pub linger: Duration,
}

impl Limits {
    /// Bytes that a client must read in each [`Limits::stall`].
    pub const STALL_BYTES: usize = 4096;

    /// The defaults, reduced to the open files that the system allows. Raises the soft limit of open files to the hard
    /// limit.
    pub fn of_this_process() -> Self {
        let files = open_files();
        // If the system allows few files, connections get half of them.
        let connections = files.saturating_sub(RESERVED_FILES).max(files / 2);
        let connections = connections.clamp(16, CONNECTIONS);
        Self {
            connections,
            served: SERVED.min(connections - connections / 4),
            per_address: PER_ADDRESS.min(connections / 4),
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            served: SERVED,
            per_address: PER_ADDRESS,
            head_bytes: 32 << 10,
            head: Duration::from_secs(5),
            body: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            stall: Duration::from_secs(60),
            linger: Duration::from_secs(2),
        }
    }
}

/// Raises the soft limit of open files to the hard one, and returns it.
fn open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    })
}
