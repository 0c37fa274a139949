//! Why there is nothing to keep, and what follows: wait, give up, or let the whole channel rest.

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

/// With a wait that doubles up to an hour, this is about two days.
pub(super) const ATTEMPTS: i32 = 58;
/// With the same wait, this is about a minute: LINE does not promise that content is there at once.
const ATTEMPTS_NOT_FOUND: i32 = 6;
/// How long a channel rests after a 429 that does not say.
const PAUSE: Duration = Duration::from_secs(10);

/// Why a file was not kept this time.
#[derive(Debug)]
pub(super) enum Miss {
    /// Another attempt may bring it.
    NotYet(Reason),
    /// It is nowhere any more.
    Gone(Reason),
    /// It can never be kept.
    Failed(Reason),
    /// There is none.
    None,
    /// LINE refuses the token.
    Refused,
    /// LINE wants a rest.
    Paused(Duration),
    /// The channel has no token any more, or the worker is about to stop.
    Stopped,
    /// The message was unsent meanwhile, or somebody else has the job, or took the object for abandoned.
    Lost,
    /// Our own database or bucket failed.
    Ours(Error),
}

impl<E: Into<Error>> From<E> for Miss {
    fn from(error: E) -> Self {
        match error.into() {
            // Only a purge takes an object away that is being written or read.
            Error::Objects(bucket::Error::NotFound) => Self::Lost,
            other => Self::Ours(other),
        }
    }
}

impl Miss {
    /// 404, for the `attempts`-th time.
    pub(super) fn not_found(attempts: i32) -> Self {
        if attempts < ATTEMPTS_NOT_FOUND {
            Self::NotYet(Reason::NotFound)
        } else {
            Self::Gone(Reason::NotFound)
        }
    }

    /// What LINE's answer brought, or what it means that it brought nothing.
    pub(super) fn or_got<T>(answer: Answer<T>, attempts: i32) -> Result<T, Self> {
        Err(match answer {
            Answer::Got(got) => return Ok(got),
            Answer::NotReady => Self::NotYet(Reason::Preparing),
            Answer::NotFound => Self::not_found(attempts),
            Answer::Gone => Self::Gone(Reason::Gone),
            Answer::Refused(403) => Self::NotYet(Reason::Forbidden),
            Answer::Refused(_) => Self::Refused,
            Answer::TooMany(pause) => Self::Paused(pause.unwrap_or(PAUSE)),
            Answer::Never(_) => Self::Failed(Reason::Rejected),
            Answer::Trouble(_) => Self::NotYet(Reason::Trouble),
        })
    }
}

impl Media {
    /// Writes down what `miss` means for one file of the attachment `id`, unless another has the job by now.
    pub(super) async fn settle(
        &self,
        job: &Job,
        id: Uuid,
        part: Part,
        miss: Miss,
    ) -> Result<Verdict, Error> {
        let may_come = matches!(miss, Miss::NotYet(_));
        let (state, reason) = match miss {
            Miss::NotYet(reason) if job.attempts < ATTEMPTS => (State::Waiting, Some(reason)),
            Miss::NotYet(reason) | Miss::Failed(reason) => (State::Failed, Some(reason)),
            Miss::Gone(reason) => (State::Gone, Some(reason)),
            Miss::None => (State::None, None),
            Miss::Refused => return Ok(Verdict::Refused),
            Miss::Paused(pause) => return Ok(Verdict::Paused(pause)),
            Miss::Stopped => return Ok(Verdict::PutBack),
            // Perhaps only the object went, because this machine slept past its lease: the message may still live.
            Miss::Lost => (State::Waiting, None),
            Miss::Ours(error) => return Err(error),
        };
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if media::lock(&mut tx, id, part).await? != Some(State::Waiting) {
            drop(tx);
            return self.drop_job(job).await;
        }
        let (state, reason) = match part {
            // The attempts before may have been spent otherwise: a single 404 is not believed.
            Part::Original
                if reason == Some(Reason::NotFound)
                    && state == State::Gone
                    && media::original_reason(&mut tx, id).await? != reason =>
            {
                (State::Waiting, reason)
            }
            // What stood in until there was another is all there will be.
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
            return Ok(Verdict::PutBack); // it came just now, and did not know that it is waited for
        }
        media::mark(&mut tx, id, part, state, reason).await?;
        if part == Part::Original
            && (state, reason) == (State::Gone, Some(Reason::Gone))
            && let Some(lost) = missing::original_key(&mut tx, id).await?
        {
            // Unsent, says LINE: what the bucket had lost is not to come back from a copy either.
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

    /// Gives up a job that ended this process, or itself, too often. Of an attachment the page says why.
    pub async fn give_up(&self, job: &Job) -> Result<Verdict, Error> {
        let miss = Miss::Failed(Reason::Crashed);
        match (job.kind, job.attachment_id) {
            (Kind::Original, Some(id)) => self.settle(job, id, Part::Original, miss).await,
            (Kind::Preview, Some(id)) => self.settle(job, id, Part::Preview, miss).await,
            _ => self.drop_job(job).await,
        }
    }

    /// Ends a job that has nothing left to do, if it is still there.
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
        let after = |attempts| Miss::or_got(Answer::<()>::NotFound, attempts);
        assert!(matches!(after(1), Err(Miss::NotYet(Reason::NotFound))));
        assert!(matches!(after(5), Err(Miss::NotYet(Reason::NotFound))));
        assert!(matches!(after(6), Err(Miss::Gone(Reason::NotFound))));
    }

    #[test]
    fn a_refused_token_says_nothing_about_the_content() {
        let refused = |status| Miss::or_got(Answer::<()>::Refused(status), ATTEMPTS);
        assert!(matches!(refused(401), Err(Miss::Refused)));
        assert!(matches!(refused(403), Err(Miss::NotYet(Reason::Forbidden))));
    }
}
