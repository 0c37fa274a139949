//! What changed, told to every open page: one connection listens to the database for all of them.
//!
//! A change is a list of conversation ids, never content; whoever hears of one reads again. Nothing is replayed:
//! each change moves a mark, and a page that holds an older mark reads everything again.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};
use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The channel of `NOTIFY`. Payload: conversation ids in text, separated by commas, or `*` for "anything".
pub const CHANNEL: &str = "archive";

/// The channel of `NOTIFY` that says that sessions ended. The payload says nothing: who listens looks which.
pub const SESSIONS: &str = "archive_sessions";

/// Changes a slow listener may fall behind before it is told to read everything again.
const BACKLOG: usize = 256;
/// The waits between attempts to reach the database again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// These conversations.
    Conversations(Vec<Uuid>),
    /// Perhaps anything: changes may have been missed.
    Anything,
}

/// Where the changes stand: one further with each change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Differs between processes, so that no mark of another one is taken for ours.
    boot: [u8; 16],
    count: u64,
}

/// What browsers see: a hash, and `0` until the database is heard. The count would tell an operator how often something
/// changes in channels that are out of sight.
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

/// The listener, and the place to hear it. Clones share it; it ends with the last of them, or when closed.
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
    /// Begins to listen on a connection of its own, made with the pool's options. Never fails: while the database
    /// can't be reached it tries again, and says [`Change::Anything`] once it listens.
    pub fn start(pool: &PgPool) -> Self {
        let own = PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy_with((*pool.connect_options()).clone());
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
                if let Ok(mut listener) = listen(&own).await {
                    wait = FIRST_WAIT;
                    tell(Change::Anything);
                    sessions_ended();
                    while let Ok(Some(notification)) = listener.try_recv().await {
                        match notification.channel() {
                            SESSIONS => sessions_ended(),
                            _ => tell(read(notification.payload())),
                        }
                    }
                }
                tracing::warn!("the database's notifications are not heard; trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }));
        Self(inner)
    }

    /// Hears every change from the mark on.
    pub fn subscribe(&self) -> (Mark, broadcast::Receiver<(Mark, Change)>) {
        let mark = self.0.mark();
        (*mark, self.0.sender.subscribe())
    }

    /// Where the changes stand. Taken before a page is read, it tells later whether the page may be stale.
    pub fn mark(&self) -> Mark {
        *self.0.mark()
    }

    /// Changes when sessions ended, in this process or another, or may have while the database was not heard.
    pub fn sessions(&self) -> watch::Receiver<()> {
        self.0.sessions.subscribe()
    }

    /// Ends the listening and every stream that waits for [`Live::closed`].
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    /// Returns once [`Live::close`] was called.
    pub async fn closed(&self) {
        self.0.closed.cancelled().await;
    }
}

impl Inner {
    fn mark(&self) -> MutexGuard<'_, Mark> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the mark and tells, in one step as seen by [`Live::subscribe`].
    fn tell(&self, change: Change) {
        let mut mark = self.mark();
        mark.count += 1;
        // An error says that nobody listens, which is no error.
        let _ = self.sender.send((*mark, change));
    }
}

async fn listen(own: &PgPool) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(own).await?;
    // A lost connection ends the loop above, which then tells that changes may have been missed.
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
