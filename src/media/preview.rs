//! What is shown of an image or video message until it is opened. Of an image it is made from what was sent: LINE documents
//! neither size nor format of its own preview. That stands in where the original is not there within moments, and is all
//! there is of a video.

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Error, Media,
    external::Giver,
    landing::Place,
    miss::Miss,
    thumbnail::{JPEG, Previews},
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
        let lacking = match image {
            false => Miss::None,
            true => match self.original_bytes(&attachment).await {
                Ok(bytes) => match self.previews(bytes).await {
                    Ok(previews) => return self.land_previews(job, id, &previews, false).await,
                    Err(miss) => miss,
                },
                Err(miss) => miss,
            },
        };
        match lacking {
            // Most originals come while this waits for the first time.
            Miss::NotYet(Reason::Original)
                if attachment.original_reason.is_none() && job.attempts < 2 =>
            {
                return Err(lacking);
            }
            // LINE's stands in already.
            _ if attachment.preview_key().is_some() => return Err(lacking),
            Miss::Ours(_) | Miss::Lost | Miss::Stopped => return Err(lacking),
            _ => {}
        }
        let bytes = match attachment.provider == "external" {
            true if image => return Err(lacking),
            true => {
                let address = self.external_content(id).await?.preview_image_url;
                let address = address.ok_or(Miss::None)?;
                let fetched = self.fetch_external(&address, Giver::Sender, job, stop);
                fetched.await?.bytes
            }
            false => match self.lines_preview(job, &attachment, stop).await? {
                Some(bytes) => bytes,
                None => return Err(lacking),
            },
        };
        match self.previews(bytes).await {
            Ok(previews) if image && attachment.original_state == State::Waiting => {
                self.land_previews(job, id, &previews, true).await?;
                Err(Miss::NotYet(Reason::Original))
            }
            Ok(previews) => self.land_previews(job, id, &previews, false).await,
            Err(Miss::Failed(_)) if image => Err(lacking),
            Err(miss) => Err(miss),
        }
    }

    /// LINE's preview; `None` if LINE has none.
    async fn lines_preview(
        &self,
        job: &Job,
        attachment: &Attachment,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<u8>>, Miss> {
        let token = self.token(job).await?;
        let asked = self.line.preview(&token, &attachment.message_id);
        let content = match stop.run_until_cancelled(asked).await.ok_or(Miss::Stopped)? {
            Answer::NotFound if attachment.kind == "image" => return Ok(None),
            Answer::Never(_) => return Ok(None),
            other => Miss::or_got(other, job.attempts)?,
        };
        let bytes = stop.run_until_cancelled(content.bytes(LARGEST)).await;
        match bytes.ok_or(Miss::Stopped)? {
            Ok(bytes) => Ok(Some(bytes.ok_or(Miss::Failed(Reason::TooLarge))?)),
            Err(Trouble::Timeout) => Err(Miss::NotYet(Reason::Trouble)),
            Err(_) => Err(Miss::NotYet(Reason::Truncated)),
        }
    }

    /// The original from the bucket, if it is there, or what became of it.
    async fn original_bytes(&self, attachment: &Attachment) -> Result<Vec<u8>, Miss> {
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
        match self.read(key).await {
            // Where it is not an unsend that took it, the bucket has lost it: the comparison asks for it again.
            Err(Error::Objects(objects::Error::NotFound)) => Err(Miss::NotYet(Reason::Trouble)),
            other => Ok(other?),
        }
    }

    async fn land_previews(
        &self,
        job: &Job,
        id: Uuid,
        previews: &Previews,
        early: bool,
    ) -> Result<(), Miss> {
        let place = Place::Preview(id, previews, early);
        let jpegs = previews.jpegs.clone();
        self.land(job, place, Some(JPEG.into()), jpegs).await
    }
}
