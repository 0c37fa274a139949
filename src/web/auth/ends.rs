//! Cancels the open requests of a session (a live stream, a download) as soon as any process has ended the session.
//!
//! A request is registered before its session is looked up, so that no request is missed if the session ends in
//! between. PostgreSQL's `NOTIFY` only says that some session ended; one query then finds which of the registered ones
//! did.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::security_log::{Event, SecurityLog};
use crate::{clock::Clock, live::Live, records::sessions, seal::Keyring, watchdog::watch};

/// Pause before the query is repeated when the database does not answer.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long the database may be silent while the sessions are looked up.
const SILENCE: Duration = Duration::from_secs(5);

/// The open requests of each session, by the SHA-256 of the session's token. Clones share the map.
#[derive(Clone, Default)]
pub(in crate::web) struct Ends(Arc<Mutex<HashMap<[u8; 32], Open>>>);

#[derive(Default)]
struct Open {
    requests: usize,
    ended: CancellationToken,
}

/// One open request of a session, registered until this value is dropped.
pub(in crate::web) struct SessionEnd {
    ends: Ends,
    session: [u8; 32],
    ended: CancellationToken,
}

impl SessionEnd {
    /// Returns when the session has ended.
    pub(in crate::web) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// True once the session has ended.
    pub(in crate::web) fn has_ended(&self) -> bool {
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
    /// Registers a request of a session; `session` is the SHA-256 of its token.
    pub(in crate::web) fn register(&self, session: [u8; 32]) -> SessionEnd {
        let mut open = self.open();
        let requests = open.entry(session).or_default();
        requests.requests += 1;
        SessionEnd {
            ends: self.clone(),
            session,
            ended: requests.ended.clone(),
        }
    }

    /// Cancels the requests of ended sessions after each notification that sessions ended, until `live` is closed.
    pub(in crate::web) async fn follow(
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
                    while !self.cancels_ended(&pool, &clock, &keyring, &log).await {
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

    /// Whether [`Ends::cancel_ended`] succeeded.
    async fn cancels_ended(
        &self,
        pool: &PgPool,
        clock: &Clock,
        keyring: &Keyring,
        log: &SecurityLog,
    ) -> bool {
        let ended = self.cancel_ended(pool, clock, keyring, log);
        matches!(watch(SILENCE, ended).await, Ok(Ok(())))
    }

    async fn cancel_ended(
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

    /// Cancels all registered requests.
    #[cfg(test)]
    pub(in crate::web) fn end_all(&self) {
        self.open().values().for_each(|open| open.ended.cancel());
    }

    fn open(&self) -> MutexGuard<'_, HashMap<[u8; 32], Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
