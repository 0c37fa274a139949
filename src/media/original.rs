//! Fetches the original of an attachment, from LINE or from the address that the sender's app gave.

use secrecy::SecretString;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Media,
    external::Giver,
    fetch_error::FetchError,
    page::{ENOUGH, is_page},
    upload::{Upload, UploadTarget},
};
use crate::{
    line::client::{Answer, Content, Transcoding, Trouble},
    records::{
        channels,
        failure::Internal,
        jobs::{Job, Verdict},
        media::{self, Attachment, Part, Reason, State},
    },
};

/// Largest file that is kept, in MiB. LINE documents no limit; this one keeps a single file from filling the object
/// store.
pub const LARGEST_MIB: u32 = 2048;
const LARGEST: u64 = (LARGEST_MIB as u64) << 20;

/// How often one attempt resumes a transfer that broke off.
const RESUMES: u32 = 20;

impl Media {
    /// Fetches the original of the job's attachment, until `stop`.
    pub async fn original(&self, job: &Job, stop: &CancellationToken) -> Result<Verdict, Internal> {
        let Some(id) = job.attachment_id else {
            return self.drop_job(job).await;
        };
        match self.fetch_original(job, id, stop).await {
            Ok(()) => Ok(Verdict::Fetched),
            Err(error) => self.settle(job, id, Part::Original, error).await,
        }
    }

    async fn fetch_original(
        &self,
        job: &Job,
        id: Uuid,
        stop: &CancellationToken,
    ) -> Result<(), FetchError> {
        let attachment = self.waiting(id, Part::Original).await?;
        if attachment.provider == "external" {
            let address = self.external_content(id).await?.original_content_url;
            let address = address.ok_or(FetchError::Failed(Reason::Address))?;
            let fetched = self
                .fetch_external(&address, Giver::Sender, job, stop)
                .await?;
            let largest = attachment.largest().unwrap_or(LARGEST);
            if fetched.bytes.len() as u64 > largest {
                return Err(FetchError::Failed(Reason::TooLarge));
            }
            let target = UploadTarget::Original(id);
            return self
                .upload_whole(job, target, fetched.media_type, fetched.bytes.into())
                .await;
        }
        let token = self.token(job).await?;
        let asked = self.ask_content(&token, &attachment, job.attempts);
        let content = stop
            .run_until_cancelled(asked)
            .await
            .ok_or(FetchError::Stopped)??;
        let length = content.length();
        let largest = attachment.largest().map_or(LARGEST, |cap| cap.min(LARGEST));
        if length.is_some_and(|length| length > largest) {
            return Err(FetchError::Failed(Reason::TooLarge));
        }
        let media_type = content.media_type();
        let (may_be_page, declared) = (attachment.kind == "file", media_type.clone());
        let target = UploadTarget::Original(id);
        let mut upload = Upload::begin(self, job, target, media_type, length).await?;
        let mut transfer = Transfer {
            media: self,
            token: &token,
            message: &attachment.message_id,
            stop,
            length,
            largest,
            first: Vec::new(),
        };
        match transfer.pour(content, &mut upload).await {
            // Only the original of a file message may be empty. Otherwise LINE was not ready, and did not say so.
            Ok(()) if upload.size() == 0 && attachment.kind != "file" => {
                upload.discard(FetchError::NotYet(Reason::Preparing)).await
            }
            Ok(()) if !may_be_page && is_page(declared.as_deref(), &transfer.first) => {
                upload.discard(FetchError::NotYet(Reason::NotTheFile)).await
            }
            Ok(()) => upload.keep().await,
            Err(error) => upload.discard(error).await,
        }
    }

    /// Requests the file from LINE. If LINE was still preparing a video or audio, first asks whether it is ready.
    async fn ask_content(
        &self,
        token: &SecretString,
        attachment: &Attachment,
        attempts: i32,
    ) -> Result<Content, FetchError> {
        let message = &attachment.message_id;
        let transcoded = attachment.kind == "video" || attachment.kind == "audio";
        if transcoded && attachment.original_reason == Some(Reason::Preparing) {
            match self.line.transcoding(token, message).await {
                Answer::Got(Transcoding::Succeeded) | Answer::Never(_) => {}
                Answer::Got(Transcoding::Processing) => {
                    return Err(FetchError::NotYet(Reason::Preparing));
                }
                Answer::Got(Transcoding::Failed) => {
                    return Err(FetchError::Failed(Reason::Unprepared));
                }
                other => {
                    FetchError::into_result(other, attempts)?;
                }
            }
        }
        FetchError::into_result(self.line.content(token, message).await, attempts)
    }

    /// The attachment, if `part` still waits to be fetched; otherwise [`FetchError::Lost`].
    pub(super) async fn waiting(&self, id: Uuid, part: Part) -> Result<Attachment, FetchError> {
        let mut conn = self.pool.acquire().await?;
        let attachment = media::attachment(&mut conn, id).await?;
        attachment
            .filter(|attachment| attachment.state(part) == State::Waiting)
            .ok_or(FetchError::Lost)
    }

    pub(super) async fn token(&self, job: &Job) -> Result<SecretString, FetchError> {
        let mut conn = self.pool.acquire().await?;
        channels::token(&mut conn, &self.keyring, job.channel_id)
            .await?
            .ok_or(FetchError::Stopped)
    }

    /// The addresses of the files, as the sender's app gave them.
    pub(super) async fn external_content(&self, id: Uuid) -> Result<ContentProvider, FetchError> {
        let mut conn = self.pool.acquire().await?;
        let event = media::event(&mut conn, &self.keyring, id)
            .await?
            .ok_or(FetchError::Lost)?;
        Ok(content_provider(&event).unwrap_or_default())
    }
}

/// `contentProvider` of an external message.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContentProvider {
    pub(super) original_content_url: Option<String>,
    pub(super) preview_image_url: Option<String>,
}

fn content_provider(event: &[u8]) -> Option<ContentProvider> {
    #[derive(Deserialize)]
    struct Event {
        message: Message,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Message {
        content_provider: ContentProvider,
    }
    serde_json::from_slice::<Event>(event)
        .ok()
        .map(|event| event.message.content_provider)
}

/// A transfer from LINE, which can resume after it broke off.
struct Transfer<'a> {
    media: &'a Media,
    token: &'a SecretString,
    message: &'a str,
    stop: &'a CancellationToken,
    /// Size of the whole file in bytes; `None` if LINE does not announce it.
    length: Option<u64>,
    /// Limit in bytes: a larger file is not kept.
    largest: u64,
    /// The first bytes of the file, at least [`ENOUGH`] if it has as many.
    first: Vec<u8>,
}

impl Transfer<'_> {
    /// Writes everything that arrives into `upload`. An end before the announced length counts as a broken connection.
    /// A broken transfer resumes where it broke off, if LINE serves the rest alone.
    async fn pour(
        &mut self,
        mut content: Content,
        upload: &mut Upload<'_>,
    ) -> Result<(), FetchError> {
        let mut resumed = 0;
        loop {
            let before = upload.size();
            let broken = match self.pour_one(content, upload).await {
                Err(error @ FetchError::NotYet(Reason::Trouble | Reason::Truncated)) => error,
                done => return done,
            };
            // A transfer that brought no new bytes is not resumed again.
            if self.length.is_none() || resumed == RESUMES || upload.size() == before {
                return Err(broken);
            }
            resumed += 1;
            // The silence before the break, the new request, and its response may each take half a lease.
            upload.renew().await?;
            let line = &self.media.line;
            let rest = line.content_from(self.token, self.message, upload.size());
            let rest = self.stop.run_until_cancelled(rest).await;
            content = match rest.ok_or(FetchError::Stopped)? {
                // The rest of the same file: only the equal size of the whole shows it.
                Answer::Got(Some(rest)) if rest.whole() == self.length => rest,
                _ => return Err(broken),
            };
            upload.renew().await?;
        }
    }

    async fn pour_one(
        &mut self,
        mut content: Content,
        upload: &mut Upload<'_>,
    ) -> Result<(), FetchError> {
        loop {
            let chunk = self.stop.run_until_cancelled(content.chunk()).await;
            match chunk.ok_or(FetchError::Stopped)? {
                Ok(Some(bytes)) => {
                    let room = ENOUGH.saturating_sub(self.first.len());
                    self.first
                        .extend_from_slice(&bytes[..bytes.len().min(room)]);
                    upload.write(bytes).await?;
                }
                Ok(None) => break,
                Err(Trouble::Timeout) => return Err(FetchError::NotYet(Reason::Trouble)),
                Err(_) => return Err(FetchError::NotYet(Reason::Truncated)),
            }
            if upload.size() > self.largest {
                return Err(FetchError::Failed(Reason::TooLarge));
            }
        }
        match self.length {
            Some(length) if length != upload.size() => Err(FetchError::NotYet(Reason::Truncated)),
            _ => Ok(()),
        }
    }
}
