//! Ends what a session has open, a live stream or a download, as soon as the session has ended in whatever process.
//!
//! Every request of a session is registered before the session is looked up, so none slips in between. PostgreSQL's
//! `NOTIFY` says that some session ended; one query then tells which of the registered ones did.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::security_log::{Event, SecurityLog};
use crate::{clock::Clock, live::Live, records::sessions, seal::Keyring};

/// How often the database is asked again when it does not answer.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The requests that sessions have open. Clones share.
#[derive(Clone, Default)]
pub(super) struct Ends(Arc<Mutex<HashMap<[u8; 32], Open>>>);

#[derive(Default)]
struct Open {
    requests: usize,
    ended: CancellationToken,
}

/// One request of a session, until it is dropped.
pub(super) struct SessionEnd {
    ends: Ends,
    session: [u8; 32],
    ended: CancellationToken,
}

impl SessionEnd {
    /// Returns when the session has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// True once the session has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }
}

impl Drop for SessionEnd {
    fn drop(&mut self) {
        let mut open = self.ends.open();
        if let Some(requests) = open.get_mut(&self.session) {
            requests.requests -= 1;
            if requests.requests == 0 {
                open.remove(&self.session);
            }
        }
    }
}

impl Ends {
    /// Registers a request of the session with this token.
    pub(super) fn register(&self, session: [u8; 32]) -> SessionEnd {
        let mut open = self.open();
        let requests = open.entry(session).or_default();
        requests.requests += 1;
        SessionEnd {
            ends: self.clone(),
            session,
            ended: requests.ended.clone(),
        }
    }

    /// Cancels the requests of sessions that have ended, each time some have, until `live` is closed.
    pub(super) async fn follow(
        self,
        (pool, clock, keyring): (PgPool, Clock, Keyring),
        live: Live,
        log: Arc<SecurityLog>,
    ) {
        let mut ended = live.sessions();
        loop {
            tokio::select! {
                () = live.closed() => return,
                changed = ended.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    while self.look(&pool, &clock, &keyring, &log).await.is_err() {
                        let again = tokio::time::sleep(ASK_AGAIN);
                        tokio::select! {
                            () = live.closed() => return,
                            () = again => {}
                        }
                    }
                }
            }
        }
    }

    async fn look(
        &self,
        pool: &PgPool,
        clock: &Clock,
        keyring: &Keyring,
        log: &SecurityLog,
    ) -> sqlx::Result<()> {
        let registered: Vec<[u8; 32]> = self.open().keys().copied().collect();
        if registered.is_empty() {
            return Ok(());
        }
        let now = clock.now();
        let mut conn = pool.acquire().await?;
        let alive = sessions::alive(&mut conn, keyring, &registered, now).await?;
        let open = self.open();
        for session in registered {
            if !alive.contains(&session)
                && let Some(requests) = open.get(&session)
                && !requests.ended.is_cancelled()
            {
                requests.ended.cancel();
                log.note(Event::SessionEnded, None, None, now);
            }
        }
        Ok(())
    }

    /// Ends everything that is registered.
    #[cfg(test)]
    pub(super) fn end_all(&self) {
        self.open().values().for_each(|open| open.ended.cancel());
    }

    fn open(&self) -> MutexGuard<'_, HashMap<[u8; 32], Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
