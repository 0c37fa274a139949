//! Uploads a file to the object store and attaches it to its attachment or profile in one transaction.

mod attach;

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::time::timeout;
use uuid::Uuid;

use self::attach::{Kept, attach};
use super::{Media, fetch_error::FetchError, thumbnail::Previews};
use crate::{
    objects::{ObjectKey, Writer},
    records::{
        jobs::{self, Job},
        media::{self, Part, State},
        objects::{self, LEASE, RENEW_INTERVAL},
        people::Subject,
        wrapping,
    },
    seal::{SealContext, stream::Sealer},
};

/// How long an upload continues without a renewal of its lease. The rest of the lease is for the final transaction.
const RENEW_GRACE: Duration = Duration::from_secs(30);

/// Bytes between two checks of the lease, for a file that is in memory as a whole.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Shortest time between two progress notifications to open pages.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// The attachment or profile that a file belongs to.
#[derive(Clone, Copy)]
pub(super) enum UploadTarget<'a> {
    /// The original of an attachment.
    Original(Uuid),
    /// The preview of an attachment, at two sizes; `true` if it stands in until one is made from the original.
    Preview(Uuid, &'a Previews, bool),
    /// The picture of a contact or group, and its address in the profile or group summary.
    Picture(Subject, &'a str),
}

/// A file that is being uploaded. It ends with [`Upload::keep`] or [`Upload::discard`]. If the process ends before
/// that, the sweep finds its object row.
pub(super) struct Upload<'a> {
    media: &'a Media,
    job: &'a Job,
    target: UploadTarget<'a>,
    media_type: Option<String>,
    key: ObjectKey,
    sealer: Sealer,
    /// The colours of a preview, sealed with the object's data key: crypto-shredding covers both.
    placeholder: Option<Vec<u8>>,
    writer: Writer,
    size: u64,
    /// Announced size in bytes.
    length: Option<u64>,
    renewed: DateTime<Utc>,
    progress_sent_at: DateTime<Utc>,
}

impl<'a> Upload<'a> {
    /// Inserts the object row; [`FetchError::Lost`] if the target is gone.
    pub(super) async fn begin(
        media: &'a Media,
        job: &'a Job,
        target: UploadTarget<'a>,
        media_type: Option<String>,
        length: Option<u64>,
    ) -> Result<Self, FetchError> {
        let key = ObjectKey::new();
        let now = media.clock.now();
        let mut tx = media.pool.begin().await?;
        let attachment = match target {
            UploadTarget::Original(id) => Some((id, Part::Original)),
            UploadTarget::Preview(id, ..) => Some((id, Part::Preview)),
            UploadTarget::Picture(..) => None,
        };
        if let Some((id, part)) = attachment
            && media::lock(&mut tx, id, part).await? != Some(State::Waiting)
        {
            return Err(FetchError::Lost);
        }
        let subject = match target {
            UploadTarget::Original(id) | UploadTarget::Preview(id, ..) => {
                media::conversation(&mut tx, id)
                    .await?
                    .ok_or(FetchError::Lost)?
            }
            UploadTarget::Picture(subject, _) => subject.id(),
        };
        let taken = wrapping::key_for(&mut tx, &media.keyring, subject, 1, now).await?;
        let (data_key, head) = taken.key.new_data_key()?;
        let attachment = attachment.map(|(id, _)| id);
        objects::begin(&mut tx, key, attachment, &head, now, now + LEASE).await?;
        if !jobs::renew(&mut tx, job, now + LEASE).await? {
            return Err(FetchError::Lost);
        }
        tx.commit().await?;
        media.keyring.claimed(subject, taken.key.id());
        let text = key.to_string();
        let context = SealContext::Object(&text);
        let placeholder = match target {
            UploadTarget::Preview(_, previews, _) => {
                Some(data_key.seal_beside(context, &previews.colours)?)
            }
            UploadTarget::Original(_) | UploadTarget::Picture(..) => None,
        };
        Ok(Self {
            sealer: Sealer::new(&data_key, context),
            placeholder,
            media,
            job,
            target,
            media_type,
            key,
            writer: media.objects.put(key).await?,
            size: 0,
            length,
            renewed: now,
            progress_sent_at: now,
        })
    }

    /// Bytes written so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds `bytes`; [`FetchError::Lost`] if the target is gone.
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), FetchError> {
        if self.media.clock.now() >= self.renewed + RENEW_INTERVAL {
            self.renew().await?;
        }
        // If this notification fails, the next one makes up for it.
        let _ = self.notify_progress().await;
        self.size += bytes.len() as u64;
        let sealed = self.sealer.push(&bytes)?;
        match sealed.is_empty() {
            true => Ok(()),
            false => Ok(self.writer.write(sealed).await?),
        }
    }

    /// Notifies open pages of the progress.
    async fn notify_progress(&mut self) -> Result<(), FetchError> {
        let now = self.media.clock.now();
        let (UploadTarget::Original(id), Some(length)) = (self.target, self.length) else {
            return Ok(());
        };
        if now < self.progress_sent_at + PROGRESS_INTERVAL || length == 0 {
            return Ok(());
        }
        self.progress_sent_at = now;
        let percent = self.size.saturating_mul(100) / length;
        let percent = i16::try_from(percent.min(99)).unwrap_or_default();
        let mut conn = self.media.pool.acquire().await?;
        Ok(media::progress(&mut conn, id, percent).await?)
    }

    /// Renews the lease: before anything that takes long, and while it runs. A short outage of the database loses no
    /// received bytes: its errors are ignored until [`RENEW_GRACE`] after the last renewal.
    pub(super) async fn renew(&mut self) -> Result<(), FetchError> {
        let now = self.media.clock.now();
        match renew(self.media, self.job, self.key).await {
            Ok(()) => self.renewed = now,
            Err(FetchError::Internal(_)) if now < self.renewed + RENEW_GRACE => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Finishes the object and attaches it to its target; [`FetchError::Lost`], and the object is deleted, if the
    /// target is gone.
    pub(super) async fn keep(mut self) -> Result<(), FetchError> {
        if let Err(error) = self.renew().await {
            return self.discard(error).await;
        }
        let Self {
            media,
            job,
            target,
            media_type,
            key,
            sealer,
            placeholder,
            mut writer,
            size,
            ..
        } = self;
        let kept = Kept {
            key,
            media_type,
            size,
            placeholder,
        };
        let last = sealer.finish()?;
        let finishing = async {
            writer.write(last).await?;
            writer.finish().await
        };
        // Syncing gigabytes to the disk may take longer than a lease. `attach` finds out whether the renewals
        // succeeded.
        let renewed = || async { drop(renew(media, job, key).await) };
        let done = match beside(finishing, RENEW_INTERVAL, renewed).await {
            Ok(()) => attach(media, job, target, kept).await,
            Err(error) => Err(error.into()),
        };
        match done {
            Err(FetchError::Lost) => discard(media, key, FetchError::Lost).await,
            // Any other failure may have come after the commit: the sweep purges the object if it was not attached.
            other => other,
        }
    }

    /// Deletes the object because of `error`, and returns `error`.
    pub(super) async fn discard(self, error: FetchError) -> Result<(), FetchError> {
        drop(self.writer);
        if let FetchError::Internal(_) = error {
            // An object store that failed may still execute the request: the sweep purges the object after the lease.
            return Err(error);
        }
        discard(self.media, self.key, error).await
    }
}

async fn renew(media: &Media, job: &Job, key: ObjectKey) -> Result<(), FetchError> {
    let until = media.clock.now() + LEASE;
    let mut conn = media.pool.acquire().await?;
    let ours =
        jobs::renew(&mut conn, job, until).await? && objects::renew(&mut conn, key, until).await?;
    ours.then_some(()).ok_or(FetchError::Lost)
}

/// Runs `work` to its end, and calls `renew` whenever `every` has passed.
async fn beside<T, R: Future<Output = ()>>(
    work: impl Future<Output = T>,
    every: Duration,
    renew: impl Fn() -> R,
) -> T {
    let mut work = pin!(work);
    loop {
        match timeout(every, &mut work).await {
            Ok(done) => return done,
            Err(_) => renew().await,
        }
    }
}

async fn discard(media: &Media, key: ObjectKey, error: FetchError) -> Result<(), FetchError> {
    let now = media.clock.now();
    let mut conn = media.pool.acquire().await?;
    objects::discard(&mut conn, key, now).await?;
    // The row may be deleted already, if the object arrived late. Until the object is confirmed gone, a row must record
    // it.
    objects::adopt(&mut conn, &[key], now, now).await?;
    drop(conn);
    media.purge(key, now).await?;
    Err(error)
}

impl Media {
    /// Uploads a file that is in memory as a whole.
    pub(super) async fn upload_whole(
        &self,
        job: &Job,
        target: UploadTarget<'_>,
        media_type: Option<String>,
        bytes: Bytes,
    ) -> Result<(), FetchError> {
        let mut upload = Upload::begin(self, job, target, media_type, None).await?;
        let mut left = bytes;
        while !left.is_empty() {
            let piece = left.split_to(left.len().min(CHUNK_BYTES));
            if let Err(error) = upload.write(piece).await {
                return upload.discard(error).await;
            }
        }
        upload.keep().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_takes_long_to_finish_keeps_its_lease() {
        let (renewals, third) = (AtomicU32::new(0), Notify::new());
        let renew = || async {
            if renewals.fetch_add(1, Ordering::Relaxed) == 2 {
                third.notify_one();
            }
        };
        let every = Duration::from_millis(1);
        let done = timeout(LEASE, beside(third.notified(), every, renew)).await;
        assert!(done.is_ok(), "it was renewed as long as it took");
    }
}
