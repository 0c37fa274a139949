//! Notifies every open page of changes: one database connection listens for all of them.
//!
//! A change is a list of conversation ids, never content; a page that receives one reads the database again. Changes
//! are not replayed: each one advances a mark, and a page with an older mark reads everything again.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions},
};
use tokio::{
    sync::{broadcast, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The `NOTIFY` channel for changes. Payload: conversation ids as text, separated by commas, or `*` for "anything".
pub const CHANNEL: &str = "archive";

/// The `NOTIFY` channel for ended sessions. The payload is empty: the listener queries which sessions ended.
pub const SESSIONS: &str = "archive_sessions";

/// How many changes a slow receiver may fall behind before it has to read everything again.
const BACKLOG: usize = 256;
/// How long the connection may be silent before it has to answer a query, and how long it and a new one may take for that.
const HEARTBEAT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Back-off between attempts to connect to the database again: doubled from `FIRST_WAIT` up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A change in the database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// These conversations changed.
    Conversations(Vec<Uuid>),
    /// Anything may have changed: notifications may have been missed.
    Anything,
}

/// A position in the sequence of changes; each change advances it by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Random for each process, so that a mark of another process never equals one of this process.
    boot: [u8; 16],
    count: u64,
}

/// The form that browsers see: a hash, then `-0` until the connection has listened for the first time, `-1` after that.
/// The hash hides the count, which would tell an operator how often something changes in channels outside of their
/// scope.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = Sha256::new()
            .chain_update(self.boot)
            .chain_update(self.count.to_be_bytes());
        for byte in &hash.finalize()[..8] {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "-{}", u8::from(self.count > 0))
    }
}

/// A handle to the task that listens. Clones share the task; it ends with the last clone, or with [`Live::close`].
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    sender: broadcast::Sender<(Mark, Change)>,
    mark: Mutex<Mark>,
    closed: CancellationToken,
    sessions: watch::Sender<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl Live {
    /// Starts the task, which listens on its own connection, made with the pool's options. Never fails: while the
    /// database cannot be reached the task retries with back-off, and it sends [`Change::Anything`] once it listens.
    pub fn start(pool: &PgPool) -> Self {
        let database = (*pool.connect_options()).clone();
        let closed = CancellationToken::new();
        let inner = Arc::new(Inner {
            sender: broadcast::Sender::new(BACKLOG),
            mark: Mutex::new(Mark {
                boot: rand::random(),
                count: 0,
            }),
            closed: closed.clone(),
            sessions: watch::Sender::new(()),
        });
        let weak = Arc::downgrade(&inner);
        tokio::spawn(closed.run_until_cancelled_owned(async move {
            let tell = |change| {
                if let Some(inner) = weak.upgrade() {
                    inner.tell(change);
                }
            };
            let sessions_ended = || {
                if let Some(inner) = weak.upgrade() {
                    inner.sessions.send_replace(());
                }
            };
            let mut wait = FIRST_WAIT;
            loop {
                if let Ok(Ok(mut listener)) = timeout(ANSWER_TIMEOUT, listen(&database)).await {
                    wait = FIRST_WAIT;
                    tell(Change::Anything);
                    sessions_ended();
                    while let Some(notification) = next(&mut listener).await {
                        match notification.channel() {
                            SESSIONS => sessions_ended(),
                            _ => tell(read(notification.payload())),
                        }
                    }
                }
                tracing::warn!("no connection for the database's notifications; retrying");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }));
        Self(inner)
    }

    /// The present mark, and a receiver of every change after it.
    pub fn subscribe(&self) -> (Mark, broadcast::Receiver<(Mark, Change)>) {
        let mark = self.0.mark();
        (*mark, self.0.sender.subscribe())
    }

    /// The present mark. A page takes it before it reads the database: if the mark differs later, the page may be
    /// stale.
    pub fn mark(&self) -> Mark {
        *self.0.mark()
    }

    /// Notified when sessions ended, in this process or another, or may have ended while no connection listened.
    pub fn sessions(&self) -> watch::Receiver<()> {
        self.0.sessions.subscribe()
    }

    /// Ends the task, and every stream that waits for [`Live::closed`].
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    /// Waits until [`Live::close`] is called.
    pub async fn closed(&self) {
        self.0.closed.cancelled().await;
    }
}

impl Inner {
    fn mark(&self) -> MutexGuard<'_, Mark> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Advances the mark and sends the change, in one step as seen by [`Live::subscribe`]: both hold the mark's lock.
    fn tell(&self, change: Change) {
        let mut mark = self.mark();
        mark.count += 1;
        // `send` fails only if there is no receiver, which is not an error here.
        let _ = self.sender.send((*mark, change));
    }
}

/// Waits for the next notification; `None` if the connection is lost. A connection can be silent without being closed, so one
/// without notifications has to answer a query from time to time.
async fn next(listener: &mut PgListener) -> Option<PgNotification> {
    loop {
        if let Ok(received) = timeout(HEARTBEAT, listener.try_recv()).await {
            return received.ok().flatten();
        }
        let answered = timeout(
            ANSWER_TIMEOUT,
            sqlx::query("select").execute(&mut *listener),
        )
        .await;
        answered.ok()?.ok()?;
    }
}

/// Connects and listens. A listener of an earlier connection that fell silent waits for that connection; it has a pool of its
/// own, so that it keeps no place of this one.
async fn listen(database: &PgConnectOptions) -> sqlx::Result<PgListener> {
    let own = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWER_TIMEOUT)
        .connect_lazy_with(database.clone());
    let mut listener = PgListener::connect_with(&own).await?;
    // A lost connection ends the inner loop in `start`, which then connects again and sends `Change::Anything`.
    listener.eager_reconnect(false);
    listener.listen_all([CHANNEL, SESSIONS]).await?;
    Ok(listener)
}

fn read(payload: &str) -> Change {
    payload
        .split(',')
        .map(|id| id.parse().ok())
        .collect::<Option<_>>()
        .map_or(Change::Anything, Change::Conversations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_its_own_and_does_not_say_how_much_has_changed() {
        let boot = [7; 16];
        let text = |count| Mark { boot, count }.to_string();
        let marks: Vec<String> = (1..100).map(text).collect();
        for (n, mark) in marks.iter().enumerate() {
            assert!(mark.len() == 18 && mark.ends_with("-1"), "{mark}");
            assert!(!marks[..n].contains(mark));
        }
        assert_ne!(marks[0][..12], marks[1][..12]);
        assert!(text(0).ends_with("-0"));
        assert_eq!(text(7), text(7));
    }

    #[test]
    fn a_payload_is_a_list_of_ids_or_anything() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(read(&format!("{a},{b}")), Change::Conversations(vec![a, b]));
        for payload in ["*", "", "x", &format!("{a},"), &format!("{a},*")] {
            assert_eq!(read(payload), Change::Anything, "{payload}");
        }
    }
}
