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
            match object.lease_until > now {
                true => self.purge_once(object.key, object.lease_until).await?,
                false => self.purge(object.key, now).await?,
            }
            Ok(1)
        });
        let done: Vec<Result<usize, Internal>> = stream::iter(purges)
            .buffer_unordered(CONCURRENT_PURGES)
            .collect()
            .await;
        done.into_iter().sum()
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
