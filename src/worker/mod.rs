//! Does the work that follows the acknowledgement of a delivery: claims jobs with a short lease, runs them in `media`
//! and `people`, and writes their verdicts; sweeps objects, reconciles, erases, shreds keys and makes exports. Each job
//! runs in its own task, so that dropping the worker loses only its leases. An attempt that panics, or ends the
//! process, counts as failed: its job waits for a back-off, and is given up after a number of such attempts.

mod loops;
mod slots;
mod verdict;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use sqlx::PgPool;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    erasure::{
        keys::Keys, order::Orders, retention::Retention, subject::Subjects, withheld::Withheld,
    },
    exports::Exports,
    line::client::LineApi,
    media::{Media, NoTls, Reach, Reconciled},
    objects::Objects,
    people::People,
    pool,
    records::{
        failure::Internal,
        jobs::{self, Job, Kind, Order, Queue, Verdict},
        objects::LEASE,
    },
    seal::Keyring,
    watchdog::{Stalled, watch},
};
use slots::Slots;

/// How long each loop of the worker sleeps if nothing wakes it.
const POLL: Duration = Duration::from_secs(1);

/// Delay between a wake-up and the claim. Under load, commits wake the worker hundreds of times a second; a claim for
/// each would cost more than the commits.
const WAKE_DELAY: Duration = Duration::from_millis(20);
/// A failure on our side. Its text contains no message content.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database, the object store or the keyring failed.
    #[error(transparent)]
    Internal(Internal),
    /// A job panicked.
    #[error("a job panicked")]
    Panic,
    /// It waited too long for a connection that may be silent.
    #[error(transparent)]
    Stalled(Stalled),
}

impl<E: Into<Internal>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Internal(error.into())
    }
}

/// The worker. Clones are the same worker.
#[derive(Clone, Debug)]
pub struct Worker {
    pool: PgPool,
    clock: Clock,
    media: Media,
    people: People,
    keys: Keys,
    exports: Exports,
    retention: Retention,
    subjects: Subjects,
    withheld: Withheld,
    orders: Orders,
    wake: Arc<Notify>,
    slots: Slots,
    /// For claims only: one connection, with the settings of [`jobs::CLAIMING`].
    claims: PgPool,
    /// Work that shows no progress for this long is dropped.
    stall: Duration,
}

impl Worker {
    /// `reach` limits the addresses outside LINE's API that pictures and content may be fetched from.
    ///
    /// # Errors
    /// [`NoTls`] if the HTTPS client cannot be created.
    pub fn new(
        pool: PgPool,
        clock: Clock,
        keyring: Keyring,
        objects: Objects,
        line: LineApi,
        reach: Reach,
    ) -> Result<Self, NoTls> {
        let options = (*pool.connect_options()).clone();
        let claims = pool::open(options.options(jobs::CLAIMING), 1);
        let (shared, time) = (pool.clone(), clock.clone());
        let keys = Keys::new(shared.clone(), time.clone(), keyring.clone());
        let exports = Exports::new(
            shared.clone(),
            time.clone(),
            keyring.clone(),
            objects.clone(),
        );
        let retention = Retention::new(shared.clone(), time.clone());
        let subjects = Subjects::new(shared.clone(), time.clone());
        let withheld = Withheld::new(shared.clone(), time.clone());
        let orders = Orders::new(shared.clone(), time.clone());
        let people = People::new(shared.clone(), time.clone(), keyring.clone(), line.clone());
        let media = Media::new(shared, time, keyring, objects, line, reach)?;
        Ok(Self {
            pool,
            clock,
            media,
            people,
            keys,
            exports,
            retention,
            subjects,
            withheld,
            orders,
            wake: Arc::default(),
            slots: Slots::default(),
            claims,
            // By then its lease has ended, and another worker has its job.
            stall: LEASE,
        })
    }

    /// Work that shows no progress for as long as `stall` is dropped, and tried again.
    #[must_use]
    pub fn with_stall(self, stall: Duration) -> Self {
        Self { stall, ..self }
    }

    /// Wakes the worker: call `notify_one` after committing work for it.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Closes the worker's own connection, which is for claims only.
    pub async fn close(&self) {
        self.claims.close().await;
    }

    /// Works until `stop`. Then gives up the work in progress within moments, so that another worker can continue it at
    /// once.
    pub async fn run(&self, stop: CancellationToken) {
        // On the heap: together they are larger than a thread's stack is in a build without optimizations.
        tokio::join!(
            Box::pin(self.fetch(&stop)),
            Box::pin(self.keep_sweeping(&stop)),
            Box::pin(self.keep_shredding(&stop)),
            Box::pin(self.keep_comparing(&stop)),
            Box::pin(self.keep_scrubbing(&stop)),
            Box::pin(self.keep_erasing(&stop)),
            Box::pin(self.keep_exporting(&stop))
        );
    }

    /// Does `work` unless it stalls.
    async fn watched<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Error>
    where
        Error: From<E>,
    {
        let done = watch(self.stall, work).await.map_err(Error::Stalled)?;
        Ok(done?)
    }

    async fn fetch(&self, stop: &CancellationToken) {
        let mut running = JoinSet::new();
        while !stop.is_cancelled() {
            if let Err(error) = self.watched(self.claim(&mut running, stop)).await {
                tracing::warn!(reason = %verdict::reason(&error), "no job could be claimed");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => tokio::time::sleep(WAKE_DELAY).await,
                Some(_) = running.join_next() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Reconciles the object store with the rows now; see [`Media::reconcile`].
    pub async fn compare(&self) -> Result<Reconciled, Error> {
        Ok(self.media.reconcile().await?)
    }

    /// Takes one step of the scrub that is due; see [`Media::scrub`].
    ///
    /// # Errors
    /// As [`Media::scrub`].
    pub async fn scrub(&self) -> Result<u64, Error> {
        Ok(self.media.scrub().await?)
    }

    /// Does all work that is due now, to the end, and returns how many jobs, purges, exports, erasures and destroyed
    /// keys that were. For tests.
    pub async fn run_until_idle(&self) -> Result<usize, Error> {
        let stop = CancellationToken::new();
        let mut done = 0;
        loop {
            let mut running = JoinSet::new();
            self.claim(&mut running, &stop).await?;
            let mut moved = 0;
            while let Some(job) = running.join_next().await {
                moved += 1;
                job.map_err(|_| Error::Panic)??;
            }
            moved += self.media.sweep(&stop).await?;
            moved += self.exports.work().await?;
            moved += self.withheld.free(Duration::ZERO, &stop).await?;
            moved += self.orders.pass(Duration::ZERO, &stop).await?;
            moved += self.subjects.erase(Duration::ZERO, &stop).await?;
            moved += self.retention.pass(Duration::ZERO, &stop).await?;
            moved += self.keys.shred().await?;
            if moved == 0 {
                return Ok(done);
            }
            done += moved;
        }
    }

    /// Starts as many jobs as there are free slots.
    async fn claim(
        &self,
        running: &mut JoinSet<Result<(), Error>>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        for (queue, slots) in self.slots.queues() {
            let newest = (queue, Order::Newest);
            if self.begin(newest, &slots.newest, running, stop).await?
                && let Some(slots) = &slots.oldest
            {
                self.begin((queue, Order::Oldest), slots, running, stop)
                    .await?;
            }
        }
        Ok(())
    }

    /// Starts jobs in the free slots. Returns whether more jobs may be due than there were free slots.
    async fn begin(
        &self,
        which: (Queue, Order),
        slots: &Arc<Semaphore>,
        running: &mut JoinSet<Result<(), Error>>,
        stop: &CancellationToken,
    ) -> Result<bool, Error> {
        let free: Vec<_> =
            std::iter::from_fn(|| Arc::clone(slots).try_acquire_owned().ok()).collect();
        if free.is_empty() {
            return Ok(true);
        }
        let now = self.clock.now();
        let limit = i64::try_from(free.len()).unwrap_or(1);
        let mut conn = self.claims.acquire().await?;
        let claimed = jobs::claim(&mut conn, which, limit, now, now + LEASE).await?;
        drop(conn);
        let more = claimed.len() == free.len();
        let (lapsed, claimed): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|job| job.lapsed);
        // First writes the verdicts of crashed jobs: a job that starts now may end this process too.
        let mut noted = Ok(());
        for job in lapsed {
            noted = noted.and(self.write(&job, self.crashed(&job).await).await);
        }
        for (job, slot) in claimed.into_iter().zip(free) {
            running.spawn(self.clone().work(job, stop.clone(), slot));
        }
        noted.map(|()| more)
    }

    async fn work(
        self,
        job: Job,
        stop: CancellationToken,
        _slot: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        let attempt = self.watched(async {
            match job.kind {
                Kind::Original => self.media.original(&job, &stop).await.map_err(Error::from),
                Kind::Preview => self.media.preview(&job, &stop).await.map_err(Error::from),
                Kind::Picture => self.media.picture(&job, &stop).await.map_err(Error::from),
                Kind::Profile => self.people.profile(&job, &stop).await.map_err(Error::from),
                Kind::Summary => self.people.summary(&job, &stop).await.map_err(Error::from),
            }
        });
        self.settle(&job, attempt).await
    }

    /// Runs `attempt` and writes its verdict, also after a panic.
    async fn settle(
        &self,
        job: &Job,
        attempt: impl Future<Output = Result<Verdict, Error>>,
    ) -> Result<(), Error> {
        // A panic leaves no broken state: the attempt is dropped, connections roll back, objects have their rows.
        let verdict = match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(verdict) => verdict,
            Err(_) => self.crashed(job).await,
        };
        self.watched(self.write(job, verdict)).await
    }
}

#[cfg(test)]
mod tests;
