//! Fetches pictures of contacts and groups. They are always made smaller, and never kept as received.

use tokio_util::sync::CancellationToken;

use super::{
    Media, external::Giver, fetch_error::FetchError, thumbnail::JPEG, upload::UploadTarget,
};
use crate::{
    line::client::Document,
    records::{
        failure::Internal,
        jobs::{Job, Verdict},
        people::{self, Subject},
    },
};

/// About seven hours, with the back-off. The next request for the profile leads to another job for the
/// picture.
const ATTEMPTS: i32 = 18;

impl Media {
    /// Fetches the picture that the profile or group summary of the job's subject points to, until `stop`.
    pub async fn picture(&self, job: &Job, stop: &CancellationToken) -> Result<Verdict, Internal> {
        match self.fetch_picture(job, stop).await {
            Ok(()) => Ok(Verdict::Settled),
            Err(FetchError::NotYet(_) | FetchError::Lost) if job.attempts < ATTEMPTS => {
                Ok(Verdict::Again)
            }
            Err(FetchError::Stopped) => Ok(Verdict::PutBack),
            Err(FetchError::Internal(error)) => Err(error),
            Err(_) => self.drop_job(job).await,
        }
    }

    async fn fetch_picture(&self, job: &Job, stop: &CancellationToken) -> Result<(), FetchError> {
        let subject = match (job.contact_id, job.conversation_id) {
            (Some(contact), _) => Subject::Contact(contact),
            (None, Some(conversation)) => Subject::Group(conversation),
            (None, None) => return Err(FetchError::None),
        };
        let mut conn = self.pool.acquire().await?;
        let document = people::document(&mut conn, &self.keyring, subject).await?;
        drop(conn);
        let address = document
            .and_then(Document::new)
            .and_then(|document| document.picture_url())
            .ok_or(FetchError::None)?;
        let fetched = self
            .fetch_external(&address, Giver::Line, job, stop)
            .await?;
        let picture = self.small_picture(fetched.bytes).await?;
        let target = UploadTarget::Picture(subject, &address);
        self.upload_whole(job, target, Some(JPEG.into()), picture.into())
            .await
    }
}
