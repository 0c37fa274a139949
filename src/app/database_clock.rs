//! Keeps a service's clock at the database's time, so that replicas on machines whose clocks differ agree about leases.
//!
//! Leases are written and compared as times of the process. With clocks ten minutes apart, the replica that was ahead
//! took the leases of the other for ended, and files were fetched twice. The time could come from the database in each statement
//! instead; but nearly all of them also write times that pages show or that erasures are decided by, and one source
//! keeps those comparable over all replicas too.
//!
//! A correction is a step, in both directions. Time that stood still until it is right again would keep on taking the
//! leases of others, or hold its own for too long. The first correction is made before the service receives anything.
//! A later one means that the clock of one of the machines was set, and times of receipt step by as much as they were
//! wrong. The machine's clock is corrected, not a monotonic one, because that does not count the time for which a
//! virtual machine is suspended, and leases end meanwhile.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::{PgConnection, PgPool};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, records::database_clock, watchdog::watch};

/// Interval of the measurements, a sixth of the shortest lease.
const INTERVAL: Duration = Duration::from_secs(10);

/// A measurement that takes longer is given up: the database may hang.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Differences up to this have no effect, so that the ordinary inaccuracy of clocks never makes the time step.
const TOLERANCE: TimeDelta = TimeDelta::seconds(2);

/// Beyond this the machine's clock is called wrong: by the log, and by `doctor`.
pub(super) const WRONG: TimeDelta = TimeDelta::seconds(30);

/// The difference between two clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Difference {
    /// How far the database's clock is ahead of the machine's; negative if it is behind.
    pub(super) ahead: TimeDelta,
    /// How long the question took: `ahead` is wrong by at most half of it.
    pub(super) round_trip: TimeDelta,
}

/// Compares the database's clock with the machine's in the middle of a round trip.
///
/// # Errors
/// The database fails.
pub(super) async fn measure(db: &mut PgConnection, clock: &Clock) -> sqlx::Result<Difference> {
    let (asked, before) = (Instant::now(), clock.machine());
    let theirs = database_clock::read(db).await?;
    let after = clock.machine();
    Ok(Difference {
        ahead: theirs - (before + (after - before) / 2),
        round_trip: TimeDelta::from_std(asked.elapsed()).unwrap_or(TimeDelta::MAX),
    })
}

/// Measures the difference, and corrects the clock by it; nothing for a clock that does not follow the database. A
/// difference above half a minute is logged.
///
/// # Errors
/// The database fails or does not answer within five seconds. Then the last correction stays.
pub async fn follow(pool: &PgPool, clock: &Clock) -> sqlx::Result<()> {
    if !clock.follows_database() {
        return Ok(());
    }
    let measured = watch(ANSWER_TIMEOUT, async {
        measure(&mut *pool.acquire().await?, clock).await
    });
    let timed_out = |_| Err(sqlx::Error::PoolTimedOut);
    let Difference { ahead, round_trip } = measured.await.unwrap_or_else(timed_out)?;
    if clock.correct(ahead, TOLERANCE.max(round_trip)) && ahead.abs() > WRONG {
        tracing::warn!(
            seconds = ahead.num_seconds(),
            "this machine's clock is not the database's, which is used instead: set it, because S3 and TLS refuse a wrong one"
        );
    }
    Ok(())
}

/// Follows the database's clock until `cancel`.
pub(super) async fn keep_following(pool: PgPool, clock: Clock, cancel: CancellationToken) {
    while cancel.run_until_cancelled(sleep(INTERVAL)).await.is_some() {
        if follow(&pool, &clock).await.is_err() {
            tracing::debug!("the database's clock could not be read");
        }
    }
}
