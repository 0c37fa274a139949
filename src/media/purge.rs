//! The end of objects: deleted, confirmed gone, looked for once more after their writer's lease, forgotten.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::{Error, Media};
use crate::{objects::ObjectKey, records::objects};

/// When a purge that failed, or was cut off, is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// Purges in one go.
pub const MANY: usize = 100;
/// Purges at a time: each waits for a disk or for S3.
const HANDS: usize = 4;

impl Media {
    /// Purges what is due, and what writers that vanished left behind, until `stop`. Returns how many objects it dealt with: if
    /// [`MANY`], there may be more.
    ///
    /// Where the bucket fails, the object stays due and the first error is returned after all others were tried.
    pub async fn sweep(&self, stop: &CancellationToken) -> Result<usize, Error> {
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        objects::abandon(&mut conn, now).await?;
        let due = objects::due(&mut conn, MANY as i64, now, now + AGAIN).await?;
        drop(conn);
        let purges = due.into_iter().map(|object| async move {
            if stop.is_cancelled() {
                return Ok(0); // due again soon
            }
            match object.lease_until > now {
                true => self.purge_once(object.key, object.lease_until).await?,
                false => self.purge(object.key, now).await?,
            }
            Ok(1)
        });
        let done: Vec<Result<usize, Error>> =
            stream::iter(purges).buffer_unordered(HANDS).collect().await;
        done.into_iter().sum()
    }

    /// Purges an object whose writer may be alive until `lease_until`, and remembers to look again.
    async fn purge_once(&self, key: ObjectKey, lease_until: DateTime<Utc>) -> Result<(), Error> {
        self.objects.purge(key).await?;
        let mut conn = self.pool.acquire().await?;
        let after = lease_until + Duration::from_secs(1);
        objects::look_again(&mut conn, key, after).await?;
        Ok(())
    }

    /// Purges an object that nobody writes any more, and forgets it.
    pub(super) async fn purge(&self, key: ObjectKey, now: DateTime<Utc>) -> Result<(), Error> {
        self.objects.purge(key).await?;
        let mut tx = self.pool.begin().await?;
        objects::forget(&mut tx, key, now).await?;
        tx.commit().await?;
        Ok(())
    }
}
