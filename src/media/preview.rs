//! The small image of an image or video message: LINE's own, or one made from what was sent.

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Error, Media,
    external::Giver,
    landing::Place,
    miss::Miss,
    thumbnail::{JPEG, PREVIEW_SIDE, measure},
};
use crate::{
    line::client::{Answer, Trouble},
    objects,
    records::{
        jobs::{Job, Verdict},
        media::{Attachment, Part, Reason, State},
    },
};

/// Largest preview of LINE's that is kept.
const LARGEST: usize = 8 * 1024 * 1024;
/// Largest original that a preview is made from.
const LARGEST_SOURCE: i64 = 64 * 1024 * 1024;

impl Media {
    /// Fetches, or makes, the preview of the job's attachment, until `stop`.
    pub async fn preview(&self, job: &Job, stop: &CancellationToken) -> Result<Verdict, Error> {
        let Some(id) = job.attachment_id else {
            return self.drop_job(job).await;
        };
        match self.fetch_preview(job, id, stop).await {
            Ok(()) => Ok(Verdict::Settled),
            Err(miss) => self.settle(job, id, Part::Preview, miss).await,
        }
    }

    async fn fetch_preview(
        &self,
        job: &Job,
        id: Uuid,
        stop: &CancellationToken,
    ) -> Result<(), Miss> {
        let attachment = self.waiting(id, Part::Preview).await?;
        let image = attachment.kind == "image";
        if attachment.provider == "external" {
            if image {
                return self.make_preview(job, &attachment).await;
            }
            let address = self.external_content(id).await?.preview_image_url;
            let address = address.ok_or(Miss::None)?;
            let fetched = self
                .fetch_external(&address, Giver::Sender, job, stop)
                .await?;
            return self.land_thumbnail(job, id, fetched.bytes).await;
        }
        let token = self.token(job).await?;
        let asked = self.line.preview(&token, &attachment.message_id);
        let content = match stop.run_until_cancelled(asked).await.ok_or(Miss::Stopped)? {
            Answer::Never(_) | Answer::NotFound if image => {
                return self.make_preview(job, &attachment).await;
            }
            Answer::Never(_) => return Err(Miss::None),
            other => Miss::or_got(other, job.attempts)?,
        };
        let bytes = stop.run_until_cancelled(content.bytes(LARGEST)).await;
        let bytes = match bytes.ok_or(Miss::Stopped)? {
            Ok(bytes) => bytes.ok_or(Miss::Failed(Reason::TooLarge))?,
            Err(Trouble::Timeout) => return Err(Miss::NotYet(Reason::Trouble)),
            Err(_) => return Err(Miss::NotYet(Reason::Truncated)),
        };
        match measure(&bytes) {
            Ok((media_type, pixels)) => {
                let place = Place::Preview(id, pixels);
                self.land(job, place, Some(media_type.into()), bytes).await
            }
            Err(_) if image => self.make_preview(job, &attachment).await,
            Err(_) => Err(Miss::Failed(Reason::Unreadable)),
        }
    }

    /// Makes the preview from the original in the bucket; waits for it, and gives up with it.
    async fn make_preview(&self, job: &Job, attachment: &Attachment) -> Result<(), Miss> {
        let reason = attachment.original_reason.unwrap_or(Reason::Original);
        let key = match attachment.original_state {
            State::Waiting => return Err(Miss::NotYet(Reason::Original)),
            State::Gone => return Err(Miss::Gone(reason)),
            State::Failed => return Err(Miss::Failed(reason)),
            State::Kept | State::None => attachment.original_key().ok_or(Miss::None)?,
        };
        if attachment
            .original_size
            .is_none_or(|size| size > LARGEST_SOURCE)
        {
            return Err(Miss::Failed(Reason::TooLarge));
        }
        let bytes = match self.read(key).await {
            // Where it is not an unsend that took it, it will not come back.
            Err(Error::Objects(objects::Error::NotFound)) => {
                return Err(Miss::Failed(Reason::Original));
            }
            other => other?,
        };
        self.land_thumbnail(job, attachment.id, bytes).await
    }

    async fn land_thumbnail(&self, job: &Job, id: Uuid, bytes: Vec<u8>) -> Result<(), Miss> {
        let thumbnail = self.thumbnail(bytes, PREVIEW_SIDE).await?;
        let place = Place::Preview(id, thumbnail.pixels);
        self.land(job, place, Some(JPEG.into()), thumbnail.jpeg)
            .await
    }
}
