//! The worker's loops beside the jobs: sweep, keys, reconcile, erasures, exports.

use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::{Error, POLL, Worker, verdict};
use crate::{
    erasure::retention::BATCH_PAUSE,
    media::{BATCH_OBJECTS, scrub_pause},
    watchdog::watch,
};

/// Interval of the reconcile, and the delay before the next one if it failed.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(6 * 3600);
const COMPARE_AGAIN: Duration = Duration::from_secs(600);

/// How often the retention rules are checked. They have something to erase once a day.
const RETENTION_INTERVAL: TimeDelta = TimeDelta::minutes(5);
/// How long keys that were read from the keyring stay in memory.
const KEY_CACHE_TTL: TimeDelta = TimeDelta::minutes(1);
/// Pause of the scrub after a failure.
const SCRUB_RETRY_DELAY: Duration = Duration::from_secs(60);
/// Pause after a key could not be destroyed: a key that is lost would fill the log.
const SHRED_RETRY_DELAY: Duration = Duration::from_secs(10);
/// An erasure stalls after this many times the usual limit: one statement of a rule looks through millions of messages.
const ERASURE_STALL_FACTOR: u32 = 10;

impl Worker {
    pub(super) async fn keep_sweeping(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.watched(self.media.sweep(stop)).await {
                // There may be more, but the webhook endpoint needs the database too.
                Ok(BATCH_OBJECTS) => {
                    tokio::time::sleep(BATCH_PAUSE).await;
                    continue;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(reason = %verdict::reason(&error), "an object could not be purged yet");
                }
            }
            stop.run_until_cancelled(tokio::time::sleep(POLL)).await;
        }
    }

    pub(super) async fn keep_shredding(&self, stop: &CancellationToken) {
        let mut forgotten = self.clock.now();
        while !stop.is_cancelled() {
            let mut pause = POLL;
            if let Err(error) = self.watched(self.keys.shred()).await {
                pause = SHRED_RETRY_DELAY;
                tracing::warn!(reason = %verdict::reason(&error), "a key could not be destroyed yet");
            }
            let now = self.clock.now();
            if now - forgotten > KEY_CACHE_TTL {
                self.keys.forget_found();
                forgotten = now;
            }
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    /// Reconciles at the start and every [`RECONCILE_INTERVAL`].
    pub(super) async fn keep_comparing(&self, stop: &CancellationToken) {
        let mut due = self.clock.now();
        while !stop.is_cancelled() {
            let now = self.clock.now();
            if now >= due {
                due = now + RECONCILE_INTERVAL;
                if let Some(Err(error)) =
                    stop.run_until_cancelled(self.watched(self.compare())).await
                {
                    due = now + COMPARE_AGAIN;
                    tracing::warn!(reason = %verdict::reason(&error), "the reconcile failed and will be retried");
                }
            }
            stop.run_until_cancelled(tokio::time::sleep(POLL)).await;
        }
    }

    /// Reads keys and objects to find damage, at most 8 MiB of them a second.
    pub(super) async fn keep_scrubbing(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let mut pause = POLL;
            match stop.run_until_cancelled(self.watched(self.scrub())).await {
                None => return,
                Some(Ok(bytes)) => pause += scrub_pause(bytes),
                Some(Err(error)) => {
                    pause = SCRUB_RETRY_DELAY;
                    tracing::warn!(reason = %verdict::reason(&error), "the scrub could not go on and will be retried");
                }
            }
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    /// Erases all that is to be erased now. A failure of one kind does not keep the others.
    async fn erase(&self, is_ruled: bool, stop: &CancellationToken) -> Result<(), Error> {
        let mut failed = self.withheld.free(BATCH_PAUSE, stop).await.err();
        failed = failed.or(self.orders.pass(BATCH_PAUSE, stop).await.err());
        failed = failed.or(self.subjects.erase(BATCH_PAUSE, stop).await.err());
        if is_ruled {
            failed = failed.or(self.retention.pass(BATCH_PAUSE, stop).await.err());
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Every [`POLL`], erases withheld messages that no hold keeps any more, then what operators ordered, and then what subject requests name.
    /// Applies the retention rules every [`RETENTION_INTERVAL`].
    pub(super) async fn keep_erasing(&self, stop: &CancellationToken) {
        let mut ruled = None;
        while !stop.is_cancelled() {
            let now = self.clock.now();
            let is_ruled = ruled.is_none_or(|at| now - at >= RETENTION_INTERVAL);
            if is_ruled {
                ruled = Some(now);
            }
            let erased = watch(
                self.stall * ERASURE_STALL_FACTOR,
                self.erase(is_ruled, stop),
            )
            .await;
            if let Err(error) = erased.map_err(Error::Stalled).flatten() {
                tracing::warn!(reason = %verdict::reason(&error), "an erasure failed and will be retried");
            }
            stop.run_until_cancelled(tokio::time::sleep(POLL)).await;
        }
    }

    pub(super) async fn keep_exporting(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            // An export that is cut off is made anew.
            let worked = stop
                .run_until_cancelled(self.watched(self.exports.work()))
                .await;
            if let Some(Err(error)) = worked {
                tracing::warn!(reason = %verdict::reason(&error), "exports could not be made yet");
            }
            stop.run_until_cancelled(tokio::time::sleep(POLL)).await;
        }
    }
}
