//! Outages at LINE. A back-off grows as long as LINE fails, so that its end would be noticed late. Therefore one of the
//! jobs that wait after a failure of LINE's is tried at least every [`PROBE_SECONDS`], and the first answer pulls the
//! others forward. A try that is pulled forward does not count as an attempt, and leaves the end of the back-off as it
//! is: a job that fails for ever is given up after as many attempts as without it, and at most one back-off earlier.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};

use super::jobs::{self, Job, Queue};

/// How long LINE is not asked, at most, in the first 80 minutes of an outage. Later it is a 120th of the outage: an
/// outage of two days leads to about 550 tries that do not count, for a whole channel.
const PROBE_SECONDS: f64 = 40.0;
const PROBES_PER_OUTAGE: f64 = 120.0;
/// The jobs that an answer pulls forward are spread over this time.
const SPREAD_SECONDS: f64 = 20.0;
/// Most jobs that an answer pulls forward. Ten thousand keep the slots busy for minutes; the rest waits for its
/// back-off.
const MAX_PULLED_JOBS: i64 = 10_000;

/// True: profiles and group summaries, from LINE's API. False: files, from LINE's host for content. `None`: another host,
/// which says nothing about LINE.
fn asks_for_people(queue: Queue) -> Option<bool> {
    match queue {
        Queue::Content | Queue::Large | Queue::Preview => Some(false),
        Queue::People => Some(true),
        Queue::Picture | Queue::External => None,
    }
}

/// Releases the job after a failure of LINE's, for `wait`, or until the end of its back-off if this attempt was pulled
/// forward. Schedules a probe: one job of the channel runs soon.
pub async fn retry(
    conn: &mut PgConnection,
    job: &Job,
    now: DateTime<Utc>,
    wait: Duration,
) -> Result<()> {
    let Some(people) = asks_for_people(job.queue) else {
        return jobs::retry(conn, job, now + wait).await;
    };
    begin(conn, job.channel_id, people, now).await?;
    sqlx::query(
        "update job set lease = null, leased_until = null, deferred = true,
             attempts = attempts - coalesce(backoff_until > $3, false)::int,
             run_at = case when backoff_until > $3 then backoff_until else $4 end,
             backoff_until = case when backoff_until > $3 then backoff_until else $4 end
         where id = $1 and lease = $2",
    )
    .bind(job.id)
    .bind(job.lease)
    .bind(now)
    .bind(now + wait)
    .execute(&mut *conn)
    .await?;
    // Not at the first failure: a file that LINE never serves would be asked for every 40 s while others arrive.
    // Locked jobs are skipped: an erasure may hold one, and wait for the job that this transaction holds.
    sqlx::query(
        "with probe as (
             select $3 + make_interval(secs => greatest($4, extract(epoch from $3 - since) / $5)) as at
             from line_trouble
             where channel_id = $1 and people = $2 and since <= $3 - make_interval(secs => $4)
         ), first as (
             select id from job
             where channel_id = $1 and (queue = 'people') = $2 and deferred and backoff_until is not null
             order by run_at limit 1 for update skip locked
         )
         update job set run_at = probe.at from probe, first where job.id = first.id and run_at > probe.at and run_at = backoff_until",
    )
    .bind(job.channel_id)
    .bind(people)
    .bind(now)
    .bind(PROBE_SECONDS)
    .bind(PROBES_PER_OUTAGE)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that LINE fails. If no job waits because of an earlier failure, an outage begins: the last one may have ended
/// without a success, because its jobs were given up or erased.
async fn begin(
    conn: &mut PgConnection,
    channel_id: i32,
    people: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "update line_trouble set since = $3 where channel_id = $1 and people = $2 and not exists (
             select from job where job.channel_id = $1 and (queue = 'people') = $2 and backoff_until is not null)",
    )
    .bind(channel_id)
    .bind(people)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into line_trouble (channel_id, people, since) values ($1, $2, $3) on conflict do nothing",
    )
    .bind(channel_id)
    .bind(people)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that LINE gave what `job` asked for. If that ends an outage, pulls the channel's jobs forward that wait because
/// of it. Jobs whose back-off lasts for more than four times as long as the outage wait for other reasons, such as a file
/// that LINE never serves: each success would ask for it.
pub async fn end(conn: &mut PgConnection, job: &Job, now: DateTime<Utc>) -> Result<()> {
    let Some(people) = asks_for_people(job.queue) else {
        return Ok(());
    };
    sqlx::query(
        "with over as (
             delete from line_trouble where channel_id = $1 and people = $2 returning since
         ), pulled as (
             select early.id from over cross join lateral (
                 select id from job
                 where channel_id = $1 and (queue = 'people') = $2 and deferred and backoff_until is not null
                     and run_at = backoff_until and run_at > $3 + make_interval(secs => $4)
                     and run_at < $3 + 4 * ($3 - over.since)
                 order by run_at limit $5 for update skip locked
             ) early
         )
         update job set run_at = $3 + make_interval(secs => $4 * random())
         where id in (select id from pulled)",
    )
    .bind(job.channel_id)
    .bind(people)
    .bind(now)
    .bind(SPREAD_SECONDS)
    .bind(MAX_PULLED_JOBS)
    .execute(conn)
    .await?;
    Ok(())
}
