//! The way of a file into the bucket, and the fence at its end.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::time::timeout;
use uuid::Uuid;

use super::{LEASE, Media, miss::Miss, thumbnail::Previews};
use crate::{
    line::client::Document,
    objects::{ObjectKey, Writer},
    records::{
        jobs::{self, Job},
        keys,
        media::{self, Part, State},
        missing, objects,
        people::{self, Subject},
    },
    seal::{Place as Lies, stream::Sealer},
};

/// A lease is renewed when it is this old.
const RENEW: Duration = Duration::from_secs(10);

/// A lease that cannot be renewed is good for so long: the rest of it is for what is being done at its end.
const OVERLOOKED: Duration = Duration::from_secs(30);

/// Bytes that are written between two looks at the lease, of what is in memory as a whole.
const PIECE: usize = 1024 * 1024;

/// Open pages are told that often how far a file is.
const TELL: Duration = Duration::from_secs(2);

/// What a file is for.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// The original of an attachment.
    Original(Uuid),
    /// The preview of an attachment, at two sizes; whether another is to be made, once the original is there.
    Preview(Uuid, &'a Previews, bool),
    /// The picture of a person or group, and where their profile said it was.
    Picture(Subject, &'a str),
}

/// A file on its way into the bucket. It ends with [`Landing::keep`] or [`Landing::discard`]; if it ends with the
/// process instead, the sweep finds its object row.
pub(super) struct Landing<'a> {
    media: &'a Media,
    job: &'a Job,
    place: Place<'a>,
    media_type: Option<String>,
    key: ObjectKey,
    sealer: Sealer,
    /// The colours of a preview, sealed with the object's data key: they go with it.
    placeholder: Option<Vec<u8>>,
    writer: Writer,
    size: u64,
    /// Bytes that are announced.
    length: Option<u64>,
    renewed: DateTime<Utc>,
    told: DateTime<Utc>,
}

impl<'a> Landing<'a> {
    /// Writes down that an object is coming; [`Miss::Lost`] if there is no place for it any more.
    pub(super) async fn begin(
        media: &'a Media,
        job: &'a Job,
        place: Place<'a>,
        media_type: Option<String>,
        length: Option<u64>,
    ) -> Result<Self, Miss> {
        let key = ObjectKey::new();
        let now = media.clock.now();
        let mut tx = media.pool.begin().await?;
        let attachment = match place {
            Place::Original(id) => Some((id, Part::Original)),
            Place::Preview(id, ..) => Some((id, Part::Preview)),
            Place::Picture(..) => None,
        };
        if let Some((id, part)) = attachment
            && media::lock(&mut tx, id, part).await? != Some(State::Waiting)
        {
            return Err(Miss::Lost);
        }
        let subject = match place {
            Place::Original(id) | Place::Preview(id, ..) => {
                media::conversation(&mut tx, id).await?.ok_or(Miss::Lost)?
            }
            Place::Picture(subject, _) => subject.id(),
        };
        let taken = keys::key_for(&mut tx, &media.keyring, subject, 1, now).await?;
        let (data_key, head) = taken.key.new_data_key()?;
        let attachment = attachment.map(|(id, _)| id);
        objects::begin(&mut tx, key, attachment, &head, now, now + LEASE).await?;
        if !jobs::renew(&mut tx, job, now + LEASE).await? {
            return Err(Miss::Lost);
        }
        tx.commit().await?;
        media.keyring.claimed(subject, taken.key.id());
        let text = key.to_string();
        let lies = Lies::Object(&text);
        let placeholder = match place {
            Place::Preview(_, previews, _) => Some(data_key.seal_beside(lies, &previews.colours)?),
            Place::Original(_) | Place::Picture(..) => None,
        };
        Ok(Self {
            sealer: Sealer::new(&data_key, lies),
            placeholder,
            media,
            job,
            place,
            media_type,
            key,
            writer: media.objects.put(key).await?,
            size: 0,
            length,
            renewed: now,
            told: now,
        })
    }

    /// Bytes written so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds `bytes`; [`Miss::Lost`] if there is no place for them any more.
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Miss> {
        if self.media.clock.now() >= self.renewed + RENEW {
            self.renew().await?;
        }
        // What cannot be told now is told the next time.
        let _ = self.tell().await;
        self.size += bytes.len() as u64;
        let sealed = self.sealer.push(&bytes)?;
        match sealed.is_empty() {
            true => Ok(()),
            false => Ok(self.writer.write(sealed).await?),
        }
    }

    /// Tells open pages how far it is.
    async fn tell(&mut self) -> Result<(), Miss> {
        let now = self.media.clock.now();
        let (Place::Original(id), Some(length)) = (self.place, self.length) else {
            return Ok(());
        };
        if now < self.told + TELL || length == 0 {
            return Ok(());
        }
        self.told = now;
        let percent = self.size.saturating_mul(100) / length;
        let percent = i16::try_from(percent.min(99)).unwrap_or_default();
        let mut conn = self.media.pool.acquire().await?;
        Ok(media::progress(&mut conn, id, percent).await?)
    }

    /// Before anything that takes long, and while something does. A database that is away for a moment costs nothing that has
    /// come, as long as the lease is far from its end.
    pub(super) async fn renew(&mut self) -> Result<(), Miss> {
        let now = self.media.clock.now();
        match renew(self.media, self.job, self.key).await {
            Ok(()) => self.renewed = now,
            Err(Miss::Ours(_)) if now < self.renewed + OVERLOOKED => {}
            Err(miss) => return Err(miss),
        }
        Ok(())
    }

    /// Makes the object and gives it its place; [`Miss::Lost`], and no object, if there is none any more.
    pub(super) async fn keep(mut self) -> Result<(), Miss> {
        if let Err(miss) = self.renew().await {
            return self.discard(miss).await;
        }
        let Self {
            media,
            job,
            place,
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
        // To bring gigabytes to the disk may take longer than a lease. Whether it was renewed, the fence finds out.
        let renewed = || async { drop(renew(media, job, key).await) };
        let done = match beside(finishing, RENEW, renewed).await {
            Ok(()) => give_place(media, job, place, kept).await,
            Err(error) => Err(error.into()),
        };
        match done {
            Err(Miss::Lost) => discard(media, key, Miss::Lost).await,
            // Any other failure may have come after the commit: the sweep finds out.
            other => other,
        }
    }

    /// Leaves no object, because of `miss`, which is given back.
    pub(super) async fn discard(self, miss: Miss) -> Result<(), Miss> {
        drop(self.writer);
        if let Miss::Ours(_) = miss {
            // A bucket that failed may yet do what it was asked: the sweep comes when that is over.
            return Err(miss);
        }
        discard(self.media, self.key, miss).await
    }
}

async fn renew(media: &Media, job: &Job, key: ObjectKey) -> Result<(), Miss> {
    let until = media.clock.now() + LEASE;
    let mut conn = media.pool.acquire().await?;
    let ours =
        jobs::renew(&mut conn, job, until).await? && objects::renew(&mut conn, key, until).await?;
    ours.then_some(()).ok_or(Miss::Lost)
}

/// Does `work`, and beside it `renew`s after `every` while.
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

/// An object that is in the bucket, and has no place yet.
struct Kept {
    key: ObjectKey,
    media_type: Option<String>,
    size: u64,
    placeholder: Option<Vec<u8>>,
}

/// The fence: one short transaction that finds the message alive, the job and the object ours, or changes nothing.
async fn give_place(media: &Media, job: &Job, place: Place<'_>, kept: Kept) -> Result<(), Miss> {
    let Kept { key, size, .. } = kept;
    let media_type = kept.media_type.as_deref();
    let now = media.clock.now();
    let mut tx = media.pool.begin().await?;
    let (part, before) = match place {
        Place::Original(id) => (
            media::lock(&mut tx, id, Part::Original).await?,
            missing::original_key(&mut tx, id).await?,
        ),
        Place::Preview(id, ..) => (
            media::lock(&mut tx, id, Part::Preview).await?,
            media::preview_key(&mut tx, id).await?,
        ),
        Place::Picture(subject, address) => {
            let known = people::lock(&mut tx, &media.keyring, subject)
                .await?
                .ok_or(Miss::Lost)?;
            let before = known.picture_key();
            let said = known.document.and_then(Document::new);
            // They may have taken it down, or put up another, since it was asked for.
            if said.and_then(|said| said.picture_url()).as_deref() != Some(address) {
                return Err(Miss::Lost);
            }
            (Some(State::Waiting), before)
        }
    };
    let ours = match place {
        Place::Preview(.., true) => jobs::renew(&mut tx, job, now + LEASE).await?,
        _ => jobs::finish(&mut tx, job).await?,
    };
    if part != Some(State::Waiting) || !ours || !objects::keep(&mut tx, key, now).await? {
        return Err(Miss::Lost);
    }
    match place {
        Place::Original(id) => {
            media::keep_original(&mut tx, id, key, media_type, size).await?;
            media::hurry_preview(&mut tx, id, now).await?;
            media::notify(&mut tx, id).await?;
        }
        Place::Preview(id, previews, early) => {
            let preview = media::Preview {
                media_type,
                smaller: previews.smaller,
                pixels: previews.pixels,
                placeholder: kept.placeholder.as_deref(),
                early,
            };
            media::keep_preview(&mut tx, id, key, preview).await?;
            media::notify(&mut tx, id).await?;
        }
        Place::Picture(subject, _) => {
            people::set_picture(&mut tx, subject, Some((key, media_type))).await?;
            people::notify(&mut tx, subject).await?;
        }
    }
    if let Some(before) = before {
        objects::discard(&mut tx, before, now).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn discard(media: &Media, key: ObjectKey, miss: Miss) -> Result<(), Miss> {
    let now = media.clock.now();
    let mut conn = media.pool.acquire().await?;
    objects::discard(&mut conn, key, now).await?;
    // Its row may be gone, if it came to the bucket late: until it is confirmed gone, something has to remember it.
    objects::adopt(&mut conn, &[key], now, now).await?;
    drop(conn);
    media.purge(key, now).await?;
    Err(miss)
}

impl Media {
    /// The whole way of a file that is at hand.
    pub(super) async fn land(
        &self,
        job: &Job,
        place: Place<'_>,
        media_type: Option<String>,
        bytes: Bytes,
    ) -> Result<(), Miss> {
        let mut landing = Landing::begin(self, job, place, media_type, None).await?;
        let mut left = bytes;
        while !left.is_empty() {
            let piece = left.split_to(left.len().min(PIECE));
            if let Err(miss) = landing.write(piece).await {
                return landing.discard(miss).await;
            }
        }
        landing.keep().await
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
