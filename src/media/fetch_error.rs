//! Reasons why a fetch kept no file, and what follows: another attempt, giving up, or a pause for the whole channel.

use std::time::Duration;

use uuid::Uuid;

use super::{Error, Media};
use crate::{
    line::client::Answer,
    objects as bucket,
    records::{
        jobs::{self, Job, Kind, Verdict},
        media::{self, Part, Reason, State},
        missing, objects,
    },
};

/// With a back-off that doubles up to an hour, this is about two days.
pub(super) const ATTEMPTS: i32 = 58;
/// With the same back-off, this is about a minute: LINE does not promise that content is available at once.
const ATTEMPTS_NOT_FOUND: i32 = 6;
/// How long a channel pauses after a 429 without a usable `Retry-After`.
const DEFAULT_PAUSE: Duration = Duration::from_secs(10);

/// Why this attempt kept no file.
#[derive(Debug)]
pub(super) enum FetchError {
    /// Another attempt may succeed.
    NotYet(Reason),
    /// The file can no longer be fetched anywhere.
    Gone(Reason),
    /// The file can never be kept.
    Failed(Reason),
    /// There is no file to fetch.
    None,
    /// LINE refuses the channel access token.
    Refused,
    /// LINE asks for a pause of this length (rate limit).
    Paused(Duration),
    /// The channel has no token any more, or the worker is about to stop.
    Stopped,
    /// The message was unsent meanwhile, another worker has the job, or the sweep took the object for abandoned.
    Lost,
    /// Our own database, keyring or object store failed.
    Ours(Error),
}

impl<E: Into<Error>> From<E> for FetchError {
    fn from(error: E) -> Self {
        match error.into() {
            // Only a purge deletes an object that is being written or read.
            Error::Objects(bucket::Error::NotFound) => Self::Lost,
            other => Self::Ours(other),
        }
    }
}

impl FetchError {
    /// The error for status 404 in attempt number `attempts`.
    pub(super) fn not_found(attempts: i32) -> Self {
        if attempts < ATTEMPTS_NOT_FOUND {
            Self::NotYet(Reason::NotFound)
        } else {
            Self::Gone(Reason::NotFound)
        }
    }

    /// The content of LINE's answer, or the error that the answer means.
    pub(super) fn into_result<T>(answer: Answer<T>, attempts: i32) -> Result<T, Self> {
        Err(match answer {
            Answer::Got(got) => return Ok(got),
            Answer::NotReady => Self::NotYet(Reason::Preparing),
            Answer::NotFound => Self::not_found(attempts),
            Answer::Gone => Self::Gone(Reason::Gone),
            Answer::Refused(403) => Self::NotYet(Reason::Forbidden),
            Answer::Refused(_) => Self::Refused,
            Answer::TooMany(pause) => Self::Paused(pause.unwrap_or(DEFAULT_PAUSE)),
            Answer::Never(_) => Self::Failed(Reason::Rejected),
            Answer::Trouble(_) => Self::NotYet(Reason::Trouble),
        })
    }
}

impl Media {
    /// Saves what `error` means for one file of the attachment `id`, unless another worker has the job by now.
    pub(super) async fn settle(
        &self,
        job: &Job,
        id: Uuid,
        part: Part,
        error: FetchError,
    ) -> Result<Verdict, Error> {
        let may_come = matches!(error, FetchError::NotYet(_));
        let (state, reason) = match error {
            FetchError::NotYet(reason) if job.attempts < ATTEMPTS => (State::Waiting, Some(reason)),
            FetchError::NotYet(reason) | FetchError::Failed(reason) => {
                (State::Failed, Some(reason))
            }
            FetchError::Gone(reason) => (State::Gone, Some(reason)),
            FetchError::None => (State::None, None),
            FetchError::Refused => return Ok(Verdict::Refused),
            FetchError::Paused(pause) => return Ok(Verdict::Paused(pause)),
            FetchError::Stopped => return Ok(Verdict::PutBack),
            // Perhaps only the object was purged, because this machine slept past its lease: the message may still
            // exist.
            FetchError::Lost => (State::Waiting, None),
            FetchError::Ours(error) => return Err(error),
        };
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if media::lock(&mut tx, id, part).await? != Some(State::Waiting) {
            drop(tx);
            return self.drop_job(job).await;
        }
        let (state, reason) = match part {
            // Earlier attempts may have failed for other reasons: a single 404 does not prove that the file is gone.
            Part::Original
                if reason == Some(Reason::NotFound)
                    && state == State::Gone
                    && media::original_reason(&mut tx, id).await? != reason =>
            {
                (State::Waiting, reason)
            }
            // The provisional preview stays: there will be no other one.
            Part::Preview
                if state != State::Waiting && media::preview_key(&mut tx, id).await?.is_some() =>
            {
                (State::Kept, None)
            }
            _ => (state, reason),
        };
        if may_come
            && reason == Some(Reason::Original)
            && media::lock(&mut tx, id, Part::Original).await? != Some(State::Waiting)
        {
            return Ok(Verdict::PutBack); // the original is settled by now, and its job did not see that this one waits
        }
        media::mark(&mut tx, id, part, state, reason).await?;
        if part == Part::Original
            && (state, reason) == (State::Gone, Some(Reason::Gone))
            && let Some(lost) = missing::original_key(&mut tx, id).await?
        {
            // LINE says that the message was unsent: an original that the object store has lost must not come back from
            // a backup.
            missing::lose_original(&mut tx, id).await?;
            objects::discard(&mut tx, lost, now).await?;
        }
        let verdict = match state {
            State::Waiting if jobs::renew(&mut tx, job, now + super::LEASE).await? => {
                Verdict::Again
            }
            State::Waiting => return Ok(Verdict::Settled),
            _ if !jobs::finish(&mut tx, job).await? => return Ok(Verdict::Settled),
            _ => {
                if part == Part::Original {
                    media::hurry_preview(&mut tx, id, now).await?;
                }
                media::notify(&mut tx, id).await?;
                Verdict::Settled
            }
        };
        tx.commit().await?;
        Ok(verdict)
    }

    /// Gives up a job that crashed too often, alone or with the whole process. The page of an attachment shows the
    /// reason.
    pub async fn give_up(&self, job: &Job) -> Result<Verdict, Error> {
        let error = FetchError::Failed(Reason::Crashed);
        match (job.kind, job.attachment_id) {
            (Kind::Original, Some(id)) => self.settle(job, id, Part::Original, error).await,
            (Kind::Preview, Some(id)) => self.settle(job, id, Part::Preview, error).await,
            _ => self.drop_job(job).await,
        }
    }

    /// Deletes a job that has nothing left to do, if this worker still has it.
    pub(super) async fn drop_job(&self, job: &Job) -> Result<Verdict, Error> {
        let mut conn = self.pool.acquire().await?;
        jobs::finish(&mut conn, job).await?;
        Ok(Verdict::Settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_404_is_believed_after_a_minute_only() {
        let after = |attempts| FetchError::into_result(Answer::<()>::NotFound, attempts);
        assert!(matches!(
            after(1),
            Err(FetchError::NotYet(Reason::NotFound))
        ));
        assert!(matches!(
            after(5),
            Err(FetchError::NotYet(Reason::NotFound))
        ));
        assert!(matches!(after(6), Err(FetchError::Gone(Reason::NotFound))));
    }

    #[test]
    fn a_refused_token_says_nothing_about_the_content() {
        let refused = |status| FetchError::into_result(Answer::<()>::Refused(status), ATTEMPTS);
        assert!(matches!(refused(401), Err(FetchError::Refused)));
        assert!(matches!(
            refused(403),
            Err(FetchError::NotYet(Reason::Forbidden))
        ));
    }
}
