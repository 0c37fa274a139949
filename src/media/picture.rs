//! Pictures of people and groups: always made small, never kept as they came.

use tokio_util::sync::CancellationToken;

use super::{Error, Media, external::Giver, landing::Place, miss::Miss, thumbnail::JPEG};
use crate::{
    line::client::Document,
    records::{
        jobs::{Job, Verdict},
        people::{self, Subject},
    },
};

/// About a quarter of an hour. The next look at the profile asks for the picture again.
const ATTEMPTS: i32 = 10;

impl Media {
    /// Fetches the picture that the profile, or the group summary, of the job points to, until `stop`.
    pub async fn picture(&self, job: &Job, stop: &CancellationToken) -> Result<Verdict, Error> {
        match self.fetch_picture(job, stop).await {
            Ok(()) => Ok(Verdict::Settled),
            Err(Miss::NotYet(_) | Miss::Lost) if job.attempts < ATTEMPTS => Ok(Verdict::Again),
            Err(Miss::Stopped) => Ok(Verdict::PutBack),
            Err(Miss::Ours(error)) => Err(error),
            Err(_) => self.drop_job(job).await,
        }
    }

    async fn fetch_picture(&self, job: &Job, stop: &CancellationToken) -> Result<(), Miss> {
        let subject = match (job.contact_id, job.conversation_id) {
            (Some(contact), _) => Subject::Contact(contact),
            (None, Some(conversation)) => Subject::Group(conversation),
            (None, None) => return Err(Miss::None),
        };
        let mut conn = self.pool.acquire().await?;
        let document = people::document(&mut conn, &self.keyring, subject).await?;
        drop(conn);
        let address = document
            .and_then(Document::new)
            .and_then(|document| document.picture_url())
            .ok_or(Miss::None)?;
        let fetched = self
            .fetch_external(&address, Giver::Line, job, stop)
            .await?;
        let picture = self.small_picture(fetched.bytes).await?;
        let place = Place::Picture(subject, &address);
        self.land(job, place, Some(JPEG.into()), picture.into())
            .await
    }
}
