//! Fetches or makes the previews of image and video messages. The preview of an image is made from the original,
//! because LINE documents neither size nor format of its own preview. LINE's preview stands in for it if the original
//! does not arrive within moments. A video has only the preview that LINE or the sender's app provides.

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Media,
    external::Giver,
    fetch_error::FetchError,
    page::is_page,
    thumbnail::{JPEG, Previews},
    upload::UploadTarget,
};
use crate::{
    line::client::{Answer, Trouble},
    objects,
    records::{
        failure::Internal,
        jobs::{Job, Verdict},
        media::{Attachment, Part, Reason, State},
    },
};

/// With the back-off, this is about a minute: as often a preview from LINE that is no picture is fetched again.
const ATTEMPTS_UNREADABLE: i32 = 6;
/// Largest preview from LINE that is kept, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;
/// Largest original that a preview is made from, in bytes.
const LARGEST_SOURCE: i64 = 64 * 1024 * 1024;

impl Media {
    /// Fetches, or makes, the preview of the job's attachment, until `stop`.
    pub async fn preview(&self, job: &Job, stop: &CancellationToken) -> Result<Verdict, Internal> {
        let Some(id) = job.attachment_id else {
            return self.drop_job(job).await;
        };
        match self.fetch_preview(job, id, stop).await {
            Ok(verdict) => Ok(verdict),
            Err(error) => self.settle(job, id, Part::Preview, error).await,
        }
    }

    async fn fetch_preview(
        &self,
        job: &Job,
        id: Uuid,
        stop: &CancellationToken,
    ) -> Result<Verdict, FetchError> {
        let attachment = self.waiting(id, Part::Preview).await?;
        let image = attachment.kind == "image";
        let lacking = match image {
            false => FetchError::None,
            true => match self.original_bytes(&attachment).await {
                Ok(bytes) => match self.previews(bytes).await {
                    Ok(previews) => {
                        self.land_previews(job, id, &previews, false).await?;
                        return Ok(Verdict::Settled);
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            },
        };
        match lacking {
            // Most originals arrive during the first back-off.
            FetchError::NotYet(Reason::Original)
                if attachment.original_reason.is_none() && job.attempts < 2 =>
            {
                return Err(lacking);
            }
            // LINE's preview stands in already.
            _ if attachment.preview_key().is_some() => return Err(lacking),
            FetchError::Internal(_) | FetchError::Lost | FetchError::Stopped => {
                return Err(lacking);
            }
            _ => {}
        }
        let bytes = match attachment.provider == "external" {
            true if image => return Err(lacking),
            true => {
                let address = self.external_content(id).await?.preview_image_url;
                let address = address.ok_or(FetchError::None)?;
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
                Err(FetchError::NotYet(Reason::Original))
            }
            Ok(previews) => {
                self.land_previews(job, id, &previews, false).await?;
                Ok(Verdict::Fetched)
            }
            Err(FetchError::Failed(_)) if image => Err(lacking),
            // LINE may have cut it, or had not finished it.
            Err(FetchError::Failed(Reason::Unreadable)) if job.attempts < ATTEMPTS_UNREADABLE => {
                Err(FetchError::NotYet(Reason::Unreadable))
            }
            Err(error) => Err(error),
        }
    }

    /// Fetches LINE's preview; `None` if LINE has no preview of the message.
    async fn lines_preview(
        &self,
        job: &Job,
        attachment: &Attachment,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<u8>>, FetchError> {
        let token = self.token(job).await?;
        let asked = self.line.preview(&token, &attachment.message_id);
        let content = match stop
            .run_until_cancelled(asked)
            .await
            .ok_or(FetchError::Stopped)?
        {
            Answer::NotFound if attachment.kind == "image" => return Ok(None),
            Answer::Never(_) if attachment.kind == "image" => return Ok(None),
            other => FetchError::into_result(other, job.attempts)?,
        };
        let declared = content.media_type();
        let bytes = stop.run_until_cancelled(content.bytes(LARGEST)).await;
        match bytes.ok_or(FetchError::Stopped)? {
            Ok(Some(bytes)) if is_page(declared.as_deref(), &bytes) => {
                Err(FetchError::NotYet(Reason::NotTheFile))
            }
            Ok(bytes) => Ok(Some(bytes.ok_or(FetchError::Failed(Reason::TooLarge))?)),
            Err(Trouble::Timeout) => Err(FetchError::NotYet(Reason::Trouble)),
            Err(_) => Err(FetchError::NotYet(Reason::Truncated)),
        }
    }

    /// The original from the object store, or the error that says why it is not there.
    async fn original_bytes(&self, attachment: &Attachment) -> Result<Vec<u8>, FetchError> {
        let reason = attachment.original_reason.unwrap_or(Reason::Original);
        let key = match attachment.original_state {
            State::Waiting => return Err(FetchError::NotYet(Reason::Original)),
            State::Gone => return Err(FetchError::Gone(reason)),
            State::Failed => return Err(FetchError::Failed(reason)),
            State::Kept | State::None => attachment.original_key().ok_or(FetchError::None)?,
        };
        if attachment
            .original_size
            .is_none_or(|size| size > LARGEST_SOURCE)
        {
            return Err(FetchError::Failed(Reason::TooLarge));
        }
        match self.read(key).await {
            // Unless an unsend deleted it, the object store has lost it: the next reconcile requests it again.
            Err(Internal::Objects(objects::Error::NotFound)) => {
                Err(FetchError::NotYet(Reason::Trouble))
            }
            other => Ok(other?),
        }
    }

    async fn land_previews(
        &self,
        job: &Job,
        id: Uuid,
        previews: &Previews,
        early: bool,
    ) -> Result<(), FetchError> {
        let target = UploadTarget::Preview(id, previews, early);
        let jpegs = previews.jpegs.clone();
        self.upload_whole(job, target, Some(JPEG.into()), jpegs)
            .await
    }
}
