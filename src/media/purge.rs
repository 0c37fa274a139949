//! Purges objects: deletes them, confirms that they are gone, checks again after their writer's lease, and deletes
//! their rows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::Media;
use crate::{
    objects::ObjectKey,
    records::{
        failure::Internal,
        lost_objects,
        objects::{self, Due},
    },
};

/// Delay before a purge that failed, or was cut off, is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// Maximum number of objects that one sweep purges.
pub const BATCH_OBJECTS: usize = 100;
/// Maximum number of concurrent purges: each waits for a disk or for S3.
const CONCURRENT_PURGES: usize = 4;

impl Media {
    /// Purges the objects that are due, and those that vanished writers left behind, until `stop`. Returns the number
    /// of objects that were due: if it is [`BATCH_OBJECTS`], there may be more.
    ///
    /// # Errors
    /// The database's, or the first error of a purge after all others were tried. An object whose purge failed stays
    /// due.
    pub async fn sweep(&self, stop: &CancellationToken) -> Result<usize, Internal> {
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        objects::abandon(&mut conn, now).await?;
        let due = objects::due(&mut conn, BATCH_OBJECTS as i64, now, now + RETRY_DELAY).await?;
        drop(conn);
        let count = due.len();
        let (ready, looked) = self.begin_to_purge(due, now).await?;
        let purges = ready.into_iter().map(|object| async move {
            if stop.is_cancelled() {
                return Ok(()); // due again after `RETRY_DELAY`
            }
            let purged = match object.lease_until > now {
                true => self.purge_once(object.key, object.lease_until).await,
                false => self.purge(object.key, now).await,
            };
            if purged.is_err() && object.is_expected {
                self.note_still_there(object.key).await;
            }
            purged
        });
        let done: Vec<Result<(), Internal>> = stream::iter(purges)
            .buffer_unordered(CONCURRENT_PURGES)
            .collect()
            .await;
        done.into_iter()
            .chain([looked])
            .collect::<Result<(), Internal>>()?;
        Ok(count)
    }

    /// Notes that objects are about to be purged. Returns those that can be, and the last error of the others: one that cannot
    /// be looked for keeps no other waiting. The erasure of a missing one waits until the file is back, or is given up: a
    /// directory of the object store can be moved aside, and comes back with all files in it.
    async fn begin_to_purge(
        &self,
        due: Vec<Due>,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Due>, Result<(), Internal>), Internal> {
        if !self.objects.can_lose_objects() {
            return Ok((due, Ok(())));
        }
        let (expected, mut ready): (Vec<Due>, Vec<Due>) =
            due.into_iter().partition(|due| due.is_expected);
        let looked = stream::iter(expected)
            .map(async |due| (due, self.objects.has(due.key).await))
            .buffer_unordered(CONCURRENT_PURGES);
        let looked: Vec<_> = looked.collect().await;
        let (mut there, mut missing, mut failed) = (vec![], vec![], Ok(()));
        for (due, found) in looked {
            match found {
                Ok(true) => {
                    there.push(due.key);
                    ready.push(due);
                }
                Ok(false) => missing.push(due.key),
                Err(error) => failed = Err(error.into()),
            }
        }
        let mut conn = self.pool.acquire().await?;
        lost_objects::begin_to_purge(&mut conn, &there, now).await?;
        let new = lost_objects::lose(&mut conn, &missing, now).await?;
        if let Some(key) = new.first() {
            tracing::error!(
                count = new.len(),
                object = %key,
                "objects that are to be purged are missing, and no purge of them was noted. Their erasures wait until they are put back, or until `objects lost --confirm` gives them up"
            );
        }
        Ok((ready, failed))
    }

    /// After a purge that failed: if the object can still be seen, the note that its purge began is taken back. If it is
    /// missing later, it was lost.
    async fn note_still_there(&self, key: ObjectKey) {
        if let Ok(true) = self.objects.has(key).await
            && let Ok(mut conn) = self.pool.acquire().await
        {
            // The purge is tried again, and this too if it fails again.
            let _ = lost_objects::is_still_there(&mut conn, key).await;
        }
    }

    /// Purges an object whose writer may be alive until `lease_until`, and schedules a second purge after that time.
    async fn purge_once(&self, key: ObjectKey, lease_until: DateTime<Utc>) -> Result<(), Internal> {
        self.objects.purge(key).await?;
        let mut conn = self.pool.acquire().await?;
        let after = lease_until + Duration::from_secs(1);
        objects::look_again(&mut conn, key, after).await?;
        Ok(())
    }

    /// Purges an object that has no writer any more, and deletes its row.
    pub(super) async fn purge(&self, key: ObjectKey, now: DateTime<Utc>) -> Result<(), Internal> {
        self.objects.purge(key).await?;
        let mut tx = self.pool.begin().await?;
        objects::forget(&mut tx, key, now).await?;
        tx.commit().await?;
        Ok(())
    }
}
