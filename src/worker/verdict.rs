//! Applies a verdict: ends the job, lets it wait for a back-off, or pauses the whole channel.

use std::{borrow::Cow, time::Duration};

use super::{Error, Worker};
use crate::records::{
    self, channel_pauses,
    jobs::{self, Job, Kind, Verdict},
    line_trouble,
};

/// Longest back-off before jitter.
const LONGEST: Duration = Duration::from_secs(3600);
/// Shortest and longest pause that LINE can impose on a channel.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 24 * 3600);
/// A longer pause is logged.
const LONG_PAUSE: Duration = Duration::from_secs(600);

/// How long a channel is not asked for after LINE refused its token for the first time. A refusal may pass: then the
/// pauses get longer, up to [`LONGEST`].
const SHORTEST_REFUSAL: Duration = Duration::from_secs(30);

/// A job is given up after this many crashes. The back-offs between them add up to about 70 minutes, before jitter.
/// Long before that time is over, a job that crashed only because another one ended the process no longer runs beside
/// it.
const CRASHES: i32 = 12;

impl Worker {
    /// The verdict on an attempt that ended without one: by a panic, or because its lease ran out.
    pub(super) async fn crashed(&self, job: &Job) -> Result<Verdict, Error> {
        if job.crashes + 1 < CRASHES {
            return Ok(Verdict::Crashed);
        }
        tracing::error!(job = job.id, kind = ?job.kind, "a job crashed too often and is given up");
        Ok(self.media.give_up(job).await?)
    }

    /// Writes how `job` ended. A failure on our side is tried again without limit, and returned.
    pub(super) async fn write(
        &self,
        job: &Job,
        verdict: Result<Verdict, Error>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let mut failed = Ok(());
        // Lock order: the attachment before the job, as everywhere.
        if job.kind == Kind::Original
            && !matches!(verdict, Ok(Verdict::Settled | Verdict::Fetched))
            && let Some(id) = job.attachment_id
        {
            records::media::clear_progress(&mut tx, id).await?;
        }
        match verdict {
            // A picture is not on LINE's API, and says nothing of the token.
            Ok(Verdict::Settled | Verdict::Fetched) if job.kind == Kind::Picture => {}
            Ok(Verdict::Settled) => {
                channel_pauses::accept_token(&mut tx, job.channel_id, now).await?;
            }
            Ok(Verdict::Fetched) => {
                channel_pauses::accept_token(&mut tx, job.channel_id, now).await?;
                line_trouble::end(&mut tx, job, now).await?;
            }
            Ok(Verdict::Again) => jobs::retry(&mut tx, job, now + wait(job.attempts)).await?,
            Ok(Verdict::Trouble) => {
                line_trouble::retry(&mut tx, job, now, wait(job.attempts)).await?;
            }
            Ok(Verdict::Crashed) => {
                tracing::error!(job = job.id, kind = ?job.kind, crashes = job.crashes + 1, "a job crashed");
                jobs::crashed(&mut tx, job, now + wait(job.attempts)).await?;
            }
            Ok(Verdict::PutBack) => jobs::put_back(&mut tx, job).await?,
            Ok(Verdict::Refused) => {
                tracing::warn!(
                    channel = job.channel_id,
                    "LINE refuses the channel access token"
                );
                // Lock order: the job before the channel, as in the committer.
                jobs::put_back(&mut tx, job).await?;
                channel_pauses::refuse_token(
                    &mut tx,
                    job.channel_id,
                    now,
                    SHORTEST_REFUSAL,
                    LONGEST,
                )
                .await?;
            }
            Ok(Verdict::Paused(pause)) => {
                let pause = allowed_pause(pause, job.channel_id);
                jobs::put_back(&mut tx, job).await?;
                channel_pauses::pause(&mut tx, job.channel_id, now + pause).await?;
            }
            Err(error) => {
                tracing::warn!(job = job.id, kind = ?job.kind, reason = %reason(&error), "a job failed");
                jobs::failed(&mut tx, job, now + wait(job.attempts)).await?;
                failed = Err(error);
            }
        }
        tx.commit().await?;
        failed
    }
}

/// The pause of a channel that LINE asks for, within its bounds. A long one is logged.
fn allowed_pause(pause: Duration, channel_id: i32) -> Duration {
    let pause = pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    if pause > LONG_PAUSE {
        tracing::warn!(
            channel = channel_id,
            seconds = pause.as_secs(),
            "LINE asks for a long pause (429): no file and no profile of this channel is fetched meanwhile"
        );
    }
    pause
}

/// Back-off: 2 s, 4 s, 8 s … an hour, with a jitter of ±50 %, so that jobs that failed together do not retry together.
fn wait(attempts: i32) -> Duration {
    let doubled = 2_u64.saturating_pow(u32::try_from(attempts).unwrap_or_default());
    Duration::from_secs(doubled)
        .min(LONGEST)
        .mul_f64(rand::random_range(0.5..1.5))
}

/// The part of an error that may be logged: a SQLSTATE or a kind. The message may contain text that a person wrote.
pub(super) fn reason(error: &Error) -> Cow<'_, str> {
    match error {
        Error::Internal(error) => error.reason(),
        Error::Panic | Error::Stalled(_) => error.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour_and_never_meet() {
        for (attempts, seconds) in [(1, 2), (2, 4), (11, 2048), (12, 3600), (1000, 3600)] {
            for _ in 0..100 {
                let wait = wait(attempts).as_secs_f64() / f64::from(seconds);
                assert!((0.5..1.5).contains(&wait), "{attempts}: {wait}");
            }
        }
        assert_ne!(wait(9), wait(9));
    }
}
