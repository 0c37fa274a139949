//! The way of a file into the bucket, and the fence at its end.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{LEASE, Media, miss::Miss};
use crate::{
    objects::{ObjectKey, Writer},
    records::{
        jobs::{self, Job},
        keys,
        media::{self, Part, State},
        objects,
        people::{self, Subject},
    },
    seal::{Place as Lies, stream::Sealer},
};

/// A lease is renewed when it is this old.
const RENEW: Duration = Duration::from_secs(10);

/// What a file is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// The original of an attachment.
    Original(Uuid),
    /// The preview of an attachment: width and height in pixels.
    Preview(Uuid, (u32, u32)),
    /// The picture of a person or group.
    Picture(Subject),
}

/// A file on its way into the bucket. It ends with [`Landing::keep`] or [`Landing::discard`]; if it ends with the
/// process instead, the sweep finds its object row.
pub(super) struct Landing<'a> {
    media: &'a Media,
    job: &'a Job,
    place: Place,
    media_type: Option<String>,
    key: ObjectKey,
    sealer: Sealer,
    writer: Writer,
    size: u64,
    renewed: DateTime<Utc>,
}

impl<'a> Landing<'a> {
    /// Writes down that an object is coming; [`Miss::Lost`] if there is no place for it any more.
    pub(super) async fn begin(
        media: &'a Media,
        job: &'a Job,
        place: Place,
        media_type: Option<String>,
    ) -> Result<Self, Miss> {
        let key = ObjectKey::new();
        let now = media.clock.now();
        let mut tx = media.pool.begin().await?;
        let attachment = match place {
            Place::Original(id) => Some((id, Part::Original)),
            Place::Preview(id, _) => Some((id, Part::Preview)),
            Place::Picture(_) => None,
        };
        if let Some((id, part)) = attachment
            && media::lock(&mut tx, id, part).await? != Some(State::Waiting)
        {
            return Err(Miss::Lost);
        }
        let subject = match place {
            Place::Original(id) | Place::Preview(id, _) => {
                media::conversation(&mut tx, id).await?.ok_or(Miss::Lost)?
            }
            Place::Picture(subject) => subject.id(),
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
        Ok(Self {
            sealer: Sealer::new(&data_key, Lies::Object(&key.to_string())),
            media,
            job,
            place,
            media_type,
            key,
            writer: media.objects.put(key).await?,
            size: 0,
            renewed: now,
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
        self.size += bytes.len() as u64;
        let sealed = self.sealer.push(&bytes)?;
        match sealed.is_empty() {
            true => Ok(()),
            false => Ok(self.writer.write(sealed).await?),
        }
    }

    async fn renew(&mut self) -> Result<(), Miss> {
        let now = self.media.clock.now();
        let mut conn = self.media.pool.acquire().await?;
        let ours = jobs::renew(&mut conn, self.job, now + LEASE).await?
            && objects::renew(&mut conn, self.key, now + LEASE).await?;
        self.renewed = now;
        ours.then_some(()).ok_or(Miss::Lost)
    }

    /// Makes the object and gives it its place; [`Miss::Lost`], and no object, if there is none any more.
    pub(super) async fn keep(self) -> Result<(), Miss> {
        let Self {
            media,
            job,
            place,
            media_type,
            key,
            sealer,
            mut writer,
            size,
            ..
        } = self;
        let finished = match writer.write(sealer.finish()?).await {
            Ok(()) => writer.finish().await,
            failed => failed,
        };
        let kept = match finished {
            Ok(()) => give_place(media, job, place, media_type.as_deref(), key, size).await,
            Err(error) => Err(error.into()),
        };
        match kept {
            Err(Miss::Lost) => discard(media, key, Miss::Lost).await,
            // Any other failure may have come after the commit: the sweep finds out.
            other => other,
        }
    }

    /// Leaves no object, because of `miss`, which is given back.
    pub(super) async fn discard(self, miss: Miss) -> Result<(), Miss> {
        drop(self.writer);
        discard(self.media, self.key, miss).await
    }
}

/// The fence: one short transaction that finds the message alive, the job and the object ours, or changes nothing.
async fn give_place(
    media: &Media,
    job: &Job,
    place: Place,
    media_type: Option<&str>,
    key: ObjectKey,
    size: u64,
) -> Result<(), Miss> {
    let now = media.clock.now();
    let mut tx = media.pool.begin().await?;
    let (part, before) = match place {
        Place::Original(id) => (media::lock(&mut tx, id, Part::Original).await?, None),
        Place::Preview(id, _) => (media::lock(&mut tx, id, Part::Preview).await?, None),
        Place::Picture(subject) => {
            let known = people::lock(&mut tx, &media.keyring, subject)
                .await?
                .ok_or(Miss::Lost)?;
            (Some(State::Waiting), known.picture_key())
        }
    };
    if part != Some(State::Waiting)
        || !jobs::finish(&mut tx, job).await?
        || !objects::keep(&mut tx, key, now).await?
    {
        return Err(Miss::Lost);
    }
    match place {
        Place::Original(id) => {
            media::keep_original(&mut tx, id, key, media_type, size).await?;
            media::hurry_preview(&mut tx, id, now).await?;
            media::notify(&mut tx, id).await?;
        }
        Place::Preview(id, pixels) => {
            media::keep_preview(&mut tx, id, key, media_type, pixels).await?;
            media::notify(&mut tx, id).await?;
        }
        Place::Picture(subject) => {
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
    drop(conn);
    media.purge(key, now).await?;
    Err(miss)
}

impl Media {
    /// The whole way of a file that is at hand.
    pub(super) async fn land(
        &self,
        job: &Job,
        place: Place,
        media_type: Option<String>,
        bytes: Vec<u8>,
    ) -> Result<(), Miss> {
        let mut landing = Landing::begin(self, job, place, media_type).await?;
        match landing.write(bytes.into()).await {
            Ok(()) => landing.keep().await,
            Err(miss) => landing.discard(miss).await,
        }
    }
}
