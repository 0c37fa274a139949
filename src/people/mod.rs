//! Requests the profiles of contacts and the summaries of groups from LINE, and keeps them with the time of the
//! request. A "not found" is kept as well.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    line::client::{Answer, Document, LineApi},
    records::{
        channels,
        failure::Internal,
        jobs::{self, Job, Verdict},
        objects,
        people::{self, Person, StoredDocument, Subject},
        wrapping,
    },
    seal::Keyring,
};

/// About seven hours, with a back-off that doubles up to an hour: before that neither a failure nor an answer that there is
/// no such profile is believed. The next message leads to another job.
const ATTEMPTS: i32 = 18;
/// How long a channel pauses after a 429 without a usable `Retry-After`.
const DEFAULT_PAUSE: Duration = Duration::from_secs(10);

/// Requests profiles and group summaries from LINE, for claimed jobs. Clones share everything.
#[derive(Clone, Debug)]
pub struct People {
    pool: PgPool,
    clock: Clock,
    keyring: Keyring,
    line: LineApi,
}

impl People {
    /// Creates it from its dependencies.
    pub fn new(pool: PgPool, clock: Clock, keyring: Keyring, line: LineApi) -> Self {
        Self {
            pool,
            clock,
            keyring,
            line,
        }
    }

    /// Requests the profile of the job's contact, until `stop`.
    pub async fn profile(&self, job: &Job, stop: &CancellationToken) -> Result<Verdict, Internal> {
        let mut conn = self.pool.acquire().await?;
        let Some(contact) = job.contact_id else {
            jobs::finish(&mut conn, job).await?;
            return Ok(Verdict::Settled);
        };
        let Some(person) = people::person(&mut conn, contact, job.conversation_id).await? else {
            return Ok(Verdict::Settled);
        };
        let Some(token) = channels::token(&mut conn, &self.keyring, job.channel_id).await? else {
            return Ok(Verdict::PutBack);
        };
        drop(conn);
        match stop.run_until_cancelled(self.ask(&token, &person)).await {
            Some(answer) => self.settle(job, Subject::Contact(contact), answer).await,
            None => Ok(Verdict::PutBack),
        }
    }

    /// Requests the summary of the job's group, until `stop`.
    pub async fn summary(&self, job: &Job, stop: &CancellationToken) -> Result<Verdict, Internal> {
        let mut conn = self.pool.acquire().await?;
        let group = match job.conversation_id {
            Some(id) => people::group_id(&mut conn, id)
                .await?
                .map(|group| (id, group)),
            None => None,
        };
        let Some((id, group)) = group else {
            jobs::finish(&mut conn, job).await?;
            return Ok(Verdict::Settled);
        };
        let Some(token) = channels::token(&mut conn, &self.keyring, job.channel_id).await? else {
            return Ok(Verdict::PutBack);
        };
        drop(conn);
        match stop
            .run_until_cancelled(self.line.group_summary(&token, &group))
            .await
        {
            Some(answer) => self.settle(job, Subject::Group(id), answer).await,
            None => Ok(Verdict::PutBack),
        }
    }

    /// Requests the profile from the endpoint that fits where the person was seen: for users, group members or room
    /// members. If LINE does not know them there, uses the other endpoint that may know them.
    async fn ask(&self, token: &SecretString, person: &Person) -> Answer<Document> {
        let user = &person.user_id;
        let Some(chat) = &person.chat_id else {
            return self.line.profile(token, user).await;
        };
        let mut answer = Answer::NotFound;
        for in_chat in [person.asked_in_chat, !person.asked_in_chat] {
            answer = match (in_chat, person.chat_is_group) {
                (false, _) => self.line.profile(token, user).await,
                (true, true) => self.line.group_member(token, chat, user).await,
                (true, false) => self.line.room_member(token, chat, user).await,
            };
            if !matches!(answer, Answer::NotFound | Answer::Gone | Answer::Never(_)) {
                break;
            }
        }
        answer
    }

    /// Saves the answer, unless another worker has the job by now.
    async fn settle(
        &self,
        job: &Job,
        subject: Subject,
        answer: Answer<Document>,
    ) -> Result<Verdict, Internal> {
        let document = match answer {
            Answer::Got(document) => Some(document),
            Answer::NotFound | Answer::Gone | Answer::Never(_) if job.attempts < ATTEMPTS => {
                return Ok(Verdict::Again);
            }
            Answer::NotFound | Answer::Gone | Answer::Never(_) => None,
            Answer::Refused(401) => return Ok(Verdict::Refused),
            Answer::TooMany(pause) => return Ok(Verdict::Paused(pause.unwrap_or(DEFAULT_PAUSE))),
            Answer::Trouble(_) => return self.retry_or_give_up(job, Verdict::Trouble).await,
            Answer::NotReady | Answer::Refused(_) => {
                return self.retry_or_give_up(job, Verdict::Again).await;
            }
        };
        self.save(job, subject, document).await
    }

    async fn retry_or_give_up(&self, job: &Job, retry: Verdict) -> Result<Verdict, Internal> {
        if job.attempts < ATTEMPTS {
            return Ok(retry);
        }
        let mut conn = self.pool.acquire().await?;
        jobs::finish(&mut conn, job).await?;
        Ok(Verdict::Settled)
    }

    /// Saves the document, or (`None`) that LINE has none.
    async fn save(
        &self,
        job: &Job,
        subject: Subject,
        document: Option<Document>,
    ) -> Result<Verdict, Internal> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let Some(known) = people::lock(&mut tx, &self.keyring, subject).await? else {
            return Ok(Verdict::Settled);
        };
        if !jobs::finish(&mut tx, job).await? {
            return Ok(Verdict::Settled);
        }
        let mut taken = None;
        let sealed = match &document {
            Some(document) => {
                let id = subject.id();
                let key = wrapping::key_for(&mut tx, &self.keyring, id, 1, now).await?;
                let key = taken.insert(key);
                Some(key.key.seal(subject.seal_context(), document.as_bytes())?)
            }
            None => None,
        };
        people::answered(&mut tx, subject, sealed.as_deref(), now).await?;
        let known_to_line = document.is_some();
        if let Some(document) = document {
            update_picture(&mut tx, job, subject, known, &document, now).await?;
            people::notify(&mut tx, subject).await?;
        }
        tx.commit().await?;
        if let Some(taken) = taken {
            self.keyring.claimed(subject.id(), taken.key.id());
        }
        Ok(match known_to_line {
            true => Verdict::Fetched,
            false => Verdict::Settled,
        })
    }
}

/// Removes the picture if LINE has none any more, and queues a fetch if its URL has changed or it was never fetched.
async fn update_picture(
    conn: &mut PgConnection,
    job: &Job,
    subject: Subject,
    known: StoredDocument,
    document: &Document,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let before = known.picture_key();
    let picture = document.picture_url();
    let known = known.document.and_then(Document::new);
    let changed = picture != known.and_then(|known| known.picture_url());
    match (&picture, before) {
        (None, Some(before)) => {
            people::set_picture(conn, subject, None).await?;
            objects::discard(conn, before, now).await
        }
        (Some(_), before) if changed || before.is_none() => {
            people::ask_for_picture(conn, job.channel_id, subject, Some(job.flow), now).await
        }
        _ => Ok(()),
    }
}
