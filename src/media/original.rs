//! The file of a message, from LINE or from wherever the sender's app said it is.

use secrecy::SecretString;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Error, Media,
    external::Giver,
    landing::{Landing, Place},
    miss::Miss,
};
use crate::{
    line::client::{Answer, Content, Transcoding, Trouble},
    records::{
        jobs::{self, Job, Verdict},
        media::{self, Attachment, Part, Reason, State},
    },
};

/// Largest file that is kept, in MiB. LINE documents no limit; this one keeps a single file from filling the bucket.
pub const LARGEST_MIB: u32 = 2048;
const LARGEST: u64 = (LARGEST_MIB as u64) << 20;

/// How often one attempt goes on with a transfer that broke off.
const RESUMES: u32 = 20;

impl Media {
    /// Fetches the original of the job's attachment, until `stop`.
    pub async fn original(&self, job: &Job, stop: &CancellationToken) -> Result<Verdict, Error> {
        let Some(id) = job.attachment_id else {
            return self.drop_job(job).await;
        };
        match self.fetch_original(job, id, stop).await {
            Ok(()) => Ok(Verdict::Settled),
            Err(miss) => self.settle(job, id, Part::Original, miss).await,
        }
    }

    async fn fetch_original(
        &self,
        job: &Job,
        id: Uuid,
        stop: &CancellationToken,
    ) -> Result<(), Miss> {
        let attachment = self.waiting(id, Part::Original).await?;
        if attachment.provider == "external" {
            let address = self.external_content(id).await?.original_content_url;
            let address = address.ok_or(Miss::Failed(Reason::Address))?;
            let fetched = self
                .fetch_external(&address, Giver::Sender, job, stop)
                .await?;
            let largest = attachment.largest().unwrap_or(LARGEST);
            if fetched.bytes.len() as u64 > largest {
                return Err(Miss::Failed(Reason::TooLarge));
            }
            let place = Place::Original(id);
            return self
                .land(job, place, fetched.media_type, fetched.bytes.into())
                .await;
        }
        let token = self.token(job).await?;
        let asked = self.ask_content(&token, &attachment, job.attempts);
        let content = stop
            .run_until_cancelled(asked)
            .await
            .ok_or(Miss::Stopped)??;
        let length = content.length();
        let largest = attachment.largest().map_or(LARGEST, |cap| cap.min(LARGEST));
        if length.is_some_and(|length| length > largest) {
            return Err(Miss::Failed(Reason::TooLarge));
        }
        let media_type = content.media_type();
        let place = Place::Original(id);
        let mut landing = Landing::begin(self, job, place, media_type, length).await?;
        let transfer = Transfer {
            media: self,
            token: &token,
            message: &attachment.message_id,
            stop,
            length,
            largest,
        };
        match transfer.pour(content, &mut landing).await {
            // Only a file may be empty: LINE was not ready, and did not say so.
            Ok(()) if landing.size() == 0 && attachment.kind != "file" => {
                landing.discard(Miss::NotYet(Reason::Preparing)).await
            }
            Ok(()) => landing.keep().await,
            Err(miss) => landing.discard(miss).await,
        }
    }

    /// Asks LINE for the file; if it was not ready the last time, only once LINE says that it is.
    async fn ask_content(
        &self,
        token: &SecretString,
        attachment: &Attachment,
        attempts: i32,
    ) -> Result<Content, Miss> {
        let message = &attachment.message_id;
        let transcoded = attachment.kind == "video" || attachment.kind == "audio";
        if transcoded && attachment.original_reason == Some(Reason::Preparing) {
            match self.line.transcoding(token, message).await {
                Answer::Got(Transcoding::Succeeded) | Answer::Never(_) => {}
                Answer::Got(Transcoding::Processing) => {
                    return Err(Miss::NotYet(Reason::Preparing));
                }
                Answer::Got(Transcoding::Failed) => return Err(Miss::Failed(Reason::Unprepared)),
                other => {
                    Miss::or_got(other, attempts)?;
                }
            }
        }
        Miss::or_got(self.line.content(token, message).await, attempts)
    }

    /// The attachment, if one of its files is still wanted.
    pub(super) async fn waiting(&self, id: Uuid, part: Part) -> Result<Attachment, Miss> {
        let mut conn = self.pool.acquire().await?;
        let attachment = media::attachment(&mut conn, id).await?;
        attachment
            .filter(|attachment| attachment.state(part) == State::Waiting)
            .ok_or(Miss::Lost)
    }

    pub(super) async fn token(&self, job: &Job) -> Result<SecretString, Miss> {
        let mut conn = self.pool.acquire().await?;
        jobs::token(&mut conn, &self.keyring, job.channel_id)
            .await?
            .ok_or(Miss::Stopped)
    }

    /// Where the sender's app said that the files are.
    pub(super) async fn external_content(&self, id: Uuid) -> Result<ContentProvider, Miss> {
        let mut conn = self.pool.acquire().await?;
        let event = media::event(&mut conn, &self.keyring, id)
            .await?
            .ok_or(Miss::Lost)?;
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

/// A transfer from LINE, which may break off and go on.
struct Transfer<'a> {
    media: &'a Media,
    token: &'a SecretString,
    message: &'a str,
    stop: &'a CancellationToken,
    /// Bytes of the whole, where LINE says so.
    length: Option<u64>,
    /// More than that is not kept.
    largest: u64,
}

impl Transfer<'_> {
    /// Everything that arrives, into the landing; an end before the announced length is no end. A connection that broke is
    /// taken up where it did, if LINE gives the rest alone.
    async fn pour(&self, mut content: Content, landing: &mut Landing<'_>) -> Result<(), Miss> {
        let mut resumed = 0;
        loop {
            let before = landing.size();
            let broken = match self.pour_one(content, landing).await {
                Err(miss @ Miss::NotYet(Reason::Trouble | Reason::Truncated)) => miss,
                done => return done,
            };
            // One that brings nothing is not asked on and on.
            if self.length.is_none() || resumed == RESUMES || landing.size() == before {
                return Err(broken);
            }
            resumed += 1;
            // Each of the silences, of the broken one, of the question and of its answer, may be half a lease long.
            landing.renew().await?;
            let line = &self.media.line;
            let rest = line.content_from(self.token, self.message, landing.size());
            let rest = self.stop.run_until_cancelled(rest).await;
            content = match rest.ok_or(Miss::Stopped)? {
                // Of the same file: nothing else says so.
                Answer::Got(Some(rest)) if rest.whole() == self.length => rest,
                _ => return Err(broken),
            };
            landing.renew().await?;
        }
    }

    async fn pour_one(&self, mut content: Content, landing: &mut Landing<'_>) -> Result<(), Miss> {
        loop {
            let chunk = self.stop.run_until_cancelled(content.chunk()).await;
            match chunk.ok_or(Miss::Stopped)? {
                Ok(Some(bytes)) => landing.write(bytes).await?,
                Ok(None) => break,
                Err(Trouble::Timeout) => return Err(Miss::NotYet(Reason::Trouble)),
                Err(_) => return Err(Miss::NotYet(Reason::Truncated)),
            }
            if landing.size() > self.largest {
                return Err(Miss::Failed(Reason::TooLarge));
            }
        }
        match self.length {
            Some(length) if length != landing.size() => Err(Miss::NotYet(Reason::Truncated)),
            _ => Ok(()),
        }
    }
}
