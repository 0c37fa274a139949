//! Purges objects: deletes them, confirms that they are gone, checks again after their writer's lease, and deletes
//! their rows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::Media;
use crate::{
    objects::ObjectKey,
    records::{failure::Internal, objects},
};

/// Delay before a purge that failed, or was cut off, is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// Delay before a lost object is looked for again.
const LOST_RETRY_DELAY: Duration = Duration::from_secs(600);
/// Maximum number of objects that one sweep purges.
pub const BATCH_OBJECTS: usize = 100;
/// Maximum number of concurrent purges: each waits for a disk or for S3.
const CONCURRENT_PURGES: usize = 4;

impl Media {
    /// Purges the objects that are due, and those that vanished writers left behind, until `stop`. Returns the number
    /// of purged objects: if it is [`BATCH_OBJECTS`], there may be more.
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
        let purges = due.into_iter().map(|object| async move {
            if stop.is_cancelled() {
                return Ok(0); // due again after `AGAIN`
            }
            if object.is_expected && !self.begin_to_purge(object.key, now).await? {
                return Ok(0);
            }
            let purged = match object.lease_until > now {
                true => self.purge_once(object.key, object.lease_until).await,
                false => self.purge(object.key, now).await,
            };
            if purged.is_err() && object.is_expected {
                self.note_still_there(object.key).await;
            }
            purged.map(|()| 1)
        });
        let done: Vec<Result<usize, Internal>> = stream::iter(purges)
            .buffer_unordered(CONCURRENT_PURGES)
            .collect()
            .await;
        done.into_iter().sum()
    }

    /// Notes that an object is about to be purged. `false`: it is missing, so its erasure waits until the file is back, or
    /// is given up. A directory of the object store can be moved aside, and what was in it would come back with it.
    async fn begin_to_purge(&self, key: ObjectKey, now: DateTime<Utc>) -> Result<bool, Internal> {
        let is_lost = self.objects.is_lost(key).await?;
        let mut conn = self.pool.acquire().await?;
        if !is_lost {
            objects::begin_to_purge(&mut conn, key, now).await?;
            return Ok(true);
        }
        if objects::lose(&mut conn, key, now, now + LOST_RETRY_DELAY).await? {
            tracing::error!(
                object = %key,
                "an object that is to be purged is missing, and nobody purged it. The erasure waits until it is put back, or until `objects lost --confirm` gives it up"
            );
        }
        Ok(false)
    }

    /// After a purge that failed: if the object can still be seen, the note that its purge began is taken back. If it is
    /// missing later, it was lost.
    async fn note_still_there(&self, key: ObjectKey) {
        if let Ok(true) = self.objects.has(key).await
            && let Ok(mut conn) = self.pool.acquire().await
        {
            // The purge is tried again, and this too if it fails again.
            let _ = objects::is_still_there(&mut conn, key).await;
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
