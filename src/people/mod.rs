//! What LINE says of people and groups: asked for once, kept with its age. That LINE knows nothing is kept as well.

use std::time::Duration;

use secrecy::SecretString;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    line::client::{Answer, Document, LineApi},
    records::{
        jobs::{self, Job, Verdict},
        keys, objects,
        people::{self, Person, Subject},
    },
    seal::{self, Keyring},
};

/// About a quarter of an hour, with a wait that doubles. The next message asks again.
const ATTEMPTS: i32 = 10;
/// How long a channel rests after a 429 that does not say.
const PAUSE: Duration = Duration::from_secs(10);

/// What failed on our side. Says nothing of anybody.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] seal::Error),
}

/// Asks LINE who people are, for claimed jobs. Clones share everything.
#[derive(Clone, Debug)]
pub struct People {
    pool: PgPool,
    clock: Clock,
    keyring: Keyring,
    line: LineApi,
}

impl People {
    /// Takes its handles.
    pub fn new(pool: PgPool, clock: Clock, keyring: Keyring, line: LineApi) -> Self {
        Self {
            pool,
            clock,
            keyring,
            line,
        }
    }

    /// Asks for the profile of the job's contact, until `stop`.
    pub async fn profile(&self, job: &Job, stop: &CancellationToken) -> Result<Verdict, Error> {
        let mut conn = self.pool.acquire().await?;
        let Some(contact) = job.contact_id else {
            jobs::finish(&mut conn, job).await?;
            return Ok(Verdict::Settled);
        };
        let Some(person) = people::person(&mut conn, contact, job.conversation_id).await? else {
            return Ok(Verdict::Settled);
        };
        let Some(token) = jobs::token(&mut conn, &self.keyring, job.channel_id).await? else {
            return Ok(Verdict::PutBack);
        };
        drop(conn);
        match stop.run_until_cancelled(self.ask(&token, &person)).await {
            Some(answer) => self.settle(job, Subject::Contact(contact), answer).await,
            None => Ok(Verdict::PutBack),
        }
    }

    /// Asks for the summary of the job's group, until `stop`.
    pub async fn summary(&self, job: &Job, stop: &CancellationToken) -> Result<Verdict, Error> {
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
        let Some(token) = jobs::token(&mut conn, &self.keyring, job.channel_id).await? else {
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

    /// Asks where the person was seen; if they are not known there, at the other place that may know them.
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

    /// Writes the answer down, unless another has the job by now.
    async fn settle(
        &self,
        job: &Job,
        subject: Subject,
        answer: Answer<Document>,
    ) -> Result<Verdict, Error> {
        let document = match answer {
            Answer::Got(document) => Some(document),
            Answer::NotFound | Answer::Gone | Answer::Never(_) => None,
            Answer::Refused(401) => return Ok(Verdict::Refused),
            Answer::TooMany(pause) => return Ok(Verdict::Paused(pause.unwrap_or(PAUSE))),
            Answer::NotReady | Answer::Refused(_) | Answer::Trouble(_)
                if job.attempts < ATTEMPTS =>
            {
                return Ok(Verdict::Again);
            }
            Answer::NotReady | Answer::Refused(_) | Answer::Trouble(_) => {
                let mut conn = self.pool.acquire().await?;
                jobs::finish(&mut conn, job).await?;
                return Ok(Verdict::Settled);
            }
        };
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
                let key = keys::key_for(&mut tx, &self.keyring, id, 1, now).await?;
                let key = taken.insert(key);
                Some(key.key.seal(subject.place(), document.as_bytes())?)
            }
            None => None,
        };
        people::answered(&mut tx, subject, sealed.as_deref(), now).await?;
        if let Some(document) = document {
            let before = known.picture_key();
            let picture = document.picture_url();
            let known = known.document.and_then(Document::new);
            let changed = picture != known.and_then(|known| known.picture_url());
            match (&picture, before) {
                (None, Some(before)) => {
                    people::set_picture(&mut tx, subject, None).await?;
                    objects::discard(&mut tx, before, now).await?;
                }
                (Some(_), before) if changed || before.is_none() => {
                    people::ask_for_picture(&mut tx, job.channel_id, subject, Some(job.flow), now)
                        .await?;
                }
                _ => {}
            }
            people::notify(&mut tx, subject).await?;
        }
        tx.commit().await?;
        if let Some(taken) = taken {
            self.keyring.claimed(subject.id(), taken.key.id());
        }
        Ok(Verdict::Settled)
    }
}
