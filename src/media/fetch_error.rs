//! Reasons why a fetch kept no file, and what follows: another attempt, giving up, or a pause for the whole channel.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Media;
use crate::{
    line::client::{Answer, Trouble},
    records::{
        failure::Internal,
        jobs::{self, Job, Kind, Verdict},
        media::{self, Part, Reason, State},
        missing, notify, objects,
    },
};

/// With a back-off that doubles up to an hour, this is about two days.
pub(super) const ATTEMPTS: i32 = 58;
/// With the same back-off, this is about seven hours. LINE's content endpoint answered 400 for an hour and a half on
/// 2026-02-03, for files that were there.
const ATTEMPTS_DOUBTED: i32 = 18;
/// With the same back-off, this is about a quarter of an hour. 410 says that the message was unsent, and then its unsend
/// event comes too.
const ATTEMPTS_GONE: i32 = 10;
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
    Internal(Internal),
}

impl<E: Into<Internal>> From<E> for FetchError {
    fn from(error: E) -> Self {
        match error.into() {
            // Only a purge deletes an object that is being written or read.
            Internal::Objects(crate::objects::Error::NotFound) => Self::Lost,
            other => Self::Internal(other),
        }
    }
}

impl FetchError {
    /// The error for a status that says, in attempt number `attempts`, that the file will never come. It is believed
    /// only after hours, because LINE has said so of files that were there.
    pub(super) fn doubted(attempts: i32, reason: Reason) -> Self {
        match reason {
            _ if !is_believed(attempts, reason) => Self::NotYet(reason),
            Reason::Rejected => Self::Failed(reason),
            _ => Self::Gone(reason),
        }
    }

    /// The content of LINE's answer, or the error that the answer means.
    pub(super) fn into_result<T>(answer: Answer<T>, attempts: i32) -> Result<T, Self> {
        Err(match answer {
            Answer::Got(got) => return Ok(got),
            Answer::NotReady => Self::NotYet(Reason::Preparing),
            Answer::NotFound => Self::doubted(attempts, Reason::NotFound),
            Answer::Gone => Self::doubted(attempts, Reason::Gone),
            Answer::Refused(403) => Self::NotYet(Reason::Forbidden),
            Answer::Refused(_) => Self::Refused,
            Answer::TooMany(pause) => Self::Paused(pause.unwrap_or(DEFAULT_PAUSE)),
            Answer::Never(_) => Self::doubted(attempts, Reason::Rejected),
            Answer::Trouble(Trouble::Unreadable) => Self::NotYet(Reason::NotTheFile),
            Answer::Trouble(_) => Self::NotYet(Reason::Trouble),
        })
    }
}

/// Whether a refusal for this reason is believed in attempt number `attempts`.
fn is_believed(attempts: i32, reason: Reason) -> bool {
    match reason {
        Reason::Gone => attempts >= ATTEMPTS_GONE,
        Reason::NotFound | Reason::Rejected => attempts >= ATTEMPTS_DOUBTED,
        _ => false,
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
    ) -> Result<Verdict, Internal> {
        let may_come = matches!(error, FetchError::NotYet(_));
        let (state, reason) = match consequence(error, job.attempts)? {
            Consequence::Mark(state, reason) => (state, reason),
            Consequence::Leave(verdict) => return Ok(verdict),
        };
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if media::lock(&mut tx, id, part).await? != Some(State::Waiting) {
            drop(tx);
            return self.drop_job(job).await;
        }
        let (state, reason) =
            state_to_mark(&mut tx, id, part, job.attempts, (state, reason)).await?;
        if may_come
            && reason == Some(Reason::Original)
            && media::lock(&mut tx, id, Part::Original).await? != Some(State::Waiting)
        {
            return Ok(Verdict::PutBack); // the original is settled by now, and its job did not see that this one waits
        }
        media::mark(&mut tx, id, part, state, reason).await?;
        if part == Part::Original && (state, reason) == (State::Gone, Some(Reason::Gone)) {
            forget_lost_original(&mut tx, id, now).await?;
        }
        let verdict = renew_or_finish(&mut tx, job, id, part, state, now).await?;
        let Some(verdict) = verdict else {
            return Ok(Verdict::Settled);
        };
        tx.commit().await?;
        Ok(match reason {
            Some(Reason::Trouble | Reason::Truncated | Reason::NotTheFile)
                if verdict == Verdict::Again =>
            {
                Verdict::Trouble
            }
            _ => verdict,
        })
    }

    /// Gives up a job that crashed too often, alone or with the whole process. The page of an attachment shows the
    /// reason.
    pub async fn give_up(&self, job: &Job) -> Result<Verdict, Internal> {
        let error = FetchError::Failed(Reason::Crashed);
        match (job.kind, job.attachment_id) {
            (Kind::Original, Some(id)) => self.settle(job, id, Part::Original, error).await,
            (Kind::Preview, Some(id)) => self.settle(job, id, Part::Preview, error).await,
            _ => self.drop_job(job).await,
        }
    }

    /// Deletes a job that has nothing left to do, if this worker still has it.
    pub(super) async fn drop_job(&self, job: &Job) -> Result<Verdict, Internal> {
        let mut conn = self.pool.acquire().await?;
        jobs::finish(&mut conn, job).await?;
        Ok(Verdict::Settled)
    }
}

/// The consequence of a [`FetchError`] for the file.
enum Consequence {
    /// The file gets this state, for this reason.
    Mark(State, Option<Reason>),
    /// The file stays as it is, and this is the verdict on the job.
    Leave(Verdict),
}

/// The consequence of an error in attempt number `attempts`; the error itself if it is [`FetchError::Internal`].
fn consequence(error: FetchError, attempts: i32) -> Result<Consequence, Internal> {
    let (state, reason) = match error {
        FetchError::NotYet(reason) if attempts < ATTEMPTS => (State::Waiting, Some(reason)),
        FetchError::NotYet(reason) | FetchError::Failed(reason) => (State::Failed, Some(reason)),
        FetchError::Gone(reason) => (State::Gone, Some(reason)),
        FetchError::None => (State::None, None),
        FetchError::Refused => return Ok(Consequence::Leave(Verdict::Refused)),
        FetchError::Paused(pause) => return Ok(Consequence::Leave(Verdict::Paused(pause))),
        FetchError::Stopped => return Ok(Consequence::Leave(Verdict::PutBack)),
        // Perhaps only the object was purged, because this machine slept past its lease: the message may still exist.
        FetchError::Lost => (State::Waiting, None),
        FetchError::Internal(error) => return Err(error),
    };
    Ok(Consequence::Mark(state, reason))
}

/// The state and reason to save, after a look at what earlier attempts have saved.
async fn state_to_mark(
    conn: &mut PgConnection,
    id: Uuid,
    part: Part,
    attempts: i32,
    (state, reason): (State, Option<Reason>),
) -> sqlx::Result<(State, Option<Reason>)> {
    Ok(match part {
        // Earlier attempts may have failed for other reasons: a single refusal does not prove that the file is gone. It
        // takes two in turn that are believed by now, of whatever kind: LINE may alternate between 400 and 404.
        Part::Original
            if attempts < ATTEMPTS
                && state != State::Waiting
                && reason.is_some_and(|reason| is_believed(attempts, reason))
                && !media::original_reason(conn, id)
                    .await?
                    .is_some_and(|before| is_believed(attempts, before)) =>
        {
            (State::Waiting, reason)
        }
        // The provisional preview stays: there will be no other one.
        Part::Preview
            if state != State::Waiting && media::preview_key(conn, id).await?.is_some() =>
        {
            (State::Kept, None)
        }
        _ => (state, reason),
    })
}

/// LINE says that the message was unsent: an original that the object store has lost must not come back from a backup.
async fn forget_lost_original(
    conn: &mut PgConnection,
    id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if let Some(lost) = missing::original_key(conn, id).await? {
        missing::lose_original(conn, id).await?;
        objects::discard(conn, lost, now).await?;
    }
    Ok(())
}

/// Renews the job if the file still waits, and finishes it otherwise. `None`: another worker has the job by now.
async fn renew_or_finish(
    conn: &mut PgConnection,
    job: &Job,
    id: Uuid,
    part: Part,
    state: State,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Verdict>> {
    if state == State::Waiting {
        let ours = jobs::renew(conn, job, now + objects::LEASE).await?;
        return Ok(ours.then_some(Verdict::Again));
    }
    if !jobs::finish(conn, job).await? {
        return Ok(None);
    }
    if part == Part::Original {
        media::hurry_preview(conn, id, now).await?;
    }
    notify::attachment_changed(conn, id).await?;
    Ok(Some(Verdict::Settled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_line_says_of_a_file_for_good_is_believed_after_hours_only() {
        let after = |answer, attempts| FetchError::into_result::<()>(answer, attempts);
        for attempts in [1, 6, 17] {
            for (answer, reason) in [
                (Answer::NotFound, Reason::NotFound),
                (Answer::Never(400), Reason::Rejected),
                (Answer::Refused(403), Reason::Forbidden),
            ] {
                let error = after(answer, attempts);
                assert!(matches!(error, Err(FetchError::NotYet(why)) if why == reason));
            }
        }
        let gone = |attempts| after(Answer::Gone, attempts);
        assert!(matches!(gone(9), Err(FetchError::NotYet(Reason::Gone))));
        assert!(matches!(gone(10), Err(FetchError::Gone(Reason::Gone))));
        let not_found = after(Answer::NotFound, 18);
        assert!(matches!(not_found, Err(FetchError::Gone(Reason::NotFound))));
        let rejected = after(Answer::Never(400), 18);
        assert!(matches!(
            rejected,
            Err(FetchError::Failed(Reason::Rejected))
        ));
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
