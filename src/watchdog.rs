//! Drops work that has stalled.
//!
//! A connection can be silent without being closed: its server hangs behind a balancer, or a switch has forgotten it. sqlx 0.9
//! has neither a read timeout nor TCP keepalive on its side, so a query on such a connection waits for ever. The limit is
//! therefore on the work that waits: it is dropped if it shows no progress for too long, and the pool closes its connection.
//! Work that goes on for hours, as a retention rule, is not cut off as long as it goes on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

tokio::task_local! {
    /// When the work of this task last showed progress.
    static LAST: Arc<Mutex<Instant>>;
}

/// When work was last dropped in this process.
static LAST_STALL: Mutex<Option<Instant>> = Mutex::new(None);

/// True if work was dropped less than `ago` before now.
pub fn has_stalled_within(ago: Duration) -> bool {
    let last = *LAST_STALL.lock().unwrap_or_else(PoisonError::into_inner);
    last.is_some_and(|last| last.elapsed() < ago)
}

/// The work showed no progress for too long and was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it made no progress and was cut off: a connection may be silent")]
pub struct Stalled;

/// Runs `work` as long as less than `limit` passes between two calls of [`progress`] in it. Tasks that `work` spawns show no
/// progress for it.
///
/// # Errors
/// [`Stalled`] if it was dropped.
pub async fn watch<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Stalled> {
    let last = Arc::new(Mutex::new(Instant::now()));
    let mut work = Box::pin(LAST.scope(Arc::clone(&last), work));
    loop {
        let seen = *last.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.elapsed() >= limit {
            *LAST_STALL.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            return Err(Stalled);
        }
        if let Ok(done) = timeout_at(seen + limit, &mut work).await {
            return Ok(done);
        }
    }
}

/// Notes that the work of this task goes on. Without [`watch`] around it, this does nothing.
pub fn progress() {
    let _ = LAST.try_with(|last| {
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    });
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn work_that_shows_no_progress_is_dropped() {
        let begun = Instant::now();
        assert_eq!(
            watch(LIMIT, std::future::pending::<()>()).await,
            Err(Stalled)
        );
        assert!(begun.elapsed() >= LIMIT && begun.elapsed() < LIMIT * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_goes_on_may_take_any_time() {
        let work = async {
            for _ in 0..100 {
                sleep(LIMIT * 9 / 10).await;
                progress();
            }
            "done"
        };
        assert_eq!(watch(LIMIT, work).await, Ok("done"));
        progress();
    }
}
