//! Work that follows a commit: claimed by a short lease, ended by whoever still holds it.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use crate::seal::{Keyring, Place};

/// What a job fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// The file of an attachment.
    Original,
    /// The preview image of an attachment.
    Preview,
    /// The profile of a contact.
    Profile,
    /// Name and picture address of a group.
    Summary,
    /// The picture of a contact, or of a group.
    Picture,
}

/// A claimed job.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Job {
    /// Our own number.
    pub id: i64,
    /// What to fetch.
    pub kind: Kind,
    /// The channel whose token is used.
    pub channel_id: i32,
    /// For [`Kind::Original`] and [`Kind::Preview`].
    pub attachment_id: Option<Uuid>,
    /// For [`Kind::Profile`], and [`Kind::Picture`] of a contact.
    pub contact_id: Option<Uuid>,
    /// For [`Kind::Summary`], and [`Kind::Picture`] of a group; with a contact: where they were seen.
    pub conversation_id: Option<Uuid>,
    /// The flow whose turns it takes.
    pub flow: i32,
    /// How often it was begun; this time included, unless it is `lapsed`.
    pub attempts: i32,
    /// How often an attempt ended without a verdict.
    pub crashes: i32,
    /// The lease of the last attempt ran out, and that is all there is to be written down now.
    pub lapsed: bool,
    /// Proof of the claim.
    pub lease: Uuid,
}

/// What a room says of the job it was given, for the worker to write down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is written, or another has the job, or what it worked for is gone.
    Settled,
    /// To be tried again after a while.
    Again,
    /// Not tried; it counts as never begun.
    PutBack,
    /// LINE refuses the channel's token.
    Refused,
    /// LINE wants no request of this channel for so long.
    Paused(std::time::Duration),
    /// It panicked, or took its process with it: to be tried again after a while.
    Crashed,
}

/// What a connection that claims asks of the server: plans that go by key. One made while there are few jobs, and kept
/// for as long as the connection lives, would scan them all for each claim (measured: 46 ms among 200,000, and 0.4 ms
/// so), and statistics that say that all jobs are of one channel would lead through those of all others.
pub const CLAIMING: [(&str, &str); 6] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];

/// The worker's slots that a job is claimed for: a bulkhead each, so that jobs that hang in one keep none of the others
/// waiting. The column `job.queue` says which job belongs where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Queue {
    /// Images and voice messages, from LINE, which forgets them.
    Content,
    /// Videos and files, from LINE.
    Large,
    /// Previews, from LINE or of LINE's originals.
    Preview,
    /// Profiles and group summaries.
    People,
    /// Pictures of people and groups.
    Picture,
    /// Originals and previews from hosts that senders chose.
    External,
}

impl Queue {
    /// True if its jobs need the channel's token, and wait while the channel is paused.
    fn asks_line(self) -> bool {
        !matches!(self, Self::Picture | Self::External)
    }

    /// How many jobs of one flow may run at the same time.
    fn running_per_flow(self) -> i64 {
        match self {
            Self::External => 1,
            _ => i64::MAX,
        }
    }
}

/// Which of a channel's jobs come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Flows take turns, the newest of each first: somebody may be looking.
    Newest,
    /// What it fetches will be forgotten first.
    Oldest,
}

/// Flows of a channel that one claim looks at, from a random one onwards.
const FLOWS: i64 = 32;

/// Deferred jobs that one call puts back into their queues.
const RELEASED: i64 = 1000;

// The due jobs of one channel `c`, by flow. Distinct flows are found by a loose index scan over `job_flows`, one probe a
// flow: a `distinct` would read every job of a sender with many. The walk begins at a random flow and wraps around, which
// gives each flow the same share without a cursor that replicas would have to agree on. Flows with fewer running jobs
// come first.
const NEWEST: &str = "
    select id, row_number() over (order by rank, tie) as turn from (
        select j.id, random() as tie,
            r.running + row_number() over (partition by w.flow order by j.id desc) - 1 as rank
        from (
            select p.flow from (values (1, $7::int, 2147483647), (2, (-2147483648)::int, $7 - 1)) part (n, lowest, highest)
            cross join lateral (
                with recursive walk (flow) as (
                    (select flow from job where channel_id = c.id and queue = $1 and not deferred
                     and flow between part.lowest and part.highest order by flow limit 1)
                    union all
                    select (select flow from job where channel_id = c.id and queue = $1 and not deferred
                            and flow > walk.flow and flow <= part.highest order by flow limit 1)
                    from walk where walk.flow is not null
                )
                select flow from walk where flow is not null limit $8
            ) p limit $8
        ) w
        cross join lateral (
            select count(*) as running from job where channel_id = c.id and queue = $1 and flow = w.flow
            and lease is not null and leased_until > $3
        ) r
        cross join lateral (
            select id from job where channel_id = c.id and queue = $1 and flow = w.flow and not deferred
            and run_at <= $3 and (leased_until is null or leased_until <= $3)
            and r.running < $9
            order by id desc limit least($2, $9)
        ) j
    ) ranked order by rank, tie limit $2";

const OLDEST: &str = "
    select id, row_number() over (order by id) as turn from (
        select id from job where channel_id = c.id and queue = $1 and not deferred
        and run_at <= $3 and (leased_until is null or leased_until <= $3)
        and $7::int is not null and $8::bigint is not null and $9::bigint is not null
        order by id limit $2
    ) due";

/// Claims up to `limit` jobs of one queue that are due at `now`, until `until`: of each channel the first in `order`, of
/// the channels any, so that one with many jobs keeps no other waiting.
///
/// Passes over channels that are paused, have no token, or whose token was refused after `refused_after`, unless the queue
/// asks other hosts than LINE's API.
pub async fn claim(
    conn: &mut PgConnection,
    (queue, order): (Queue, Order),
    limit: i64,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    refused_after: DateTime<Utc>,
) -> Result<Vec<Job>> {
    release(conn, now).await?;
    let first = match order {
        Order::Newest => NEWEST,
        Order::Oldest => OLDEST,
    };
    let sql = format!(
        "with found as (
             select n.id from channel c cross join lateral ({first}) n
             where not $6 or (c.access_token is not null
                 and (c.paused_until is null or c.paused_until <= $3)
                 and (c.token_refused_at is null or c.token_refused_at <= $5))
             order by n.turn, random() limit $2
         ), due as (
             select id, lease is not null as lapsed from job where id in (select id from found)
             and (leased_until is null or leased_until <= $3)
             for update skip locked
         )
         update job set lease = gen_random_uuid(), leased_until = $4,
             attempts = attempts + (not due.lapsed)::int
         from due where job.id = due.id
         returning job.id, kind, channel_id, attachment_id, contact_id, conversation_id, flow, attempts,
             crashes, due.lapsed, job.lease"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(queue)
        .bind(limit)
        .bind(now)
        .bind(until)
        .bind(refused_after)
        .bind(queue.asks_line())
        .bind(rand::random_range(i32::MIN + 1..=i32::MAX))
        .bind(FLOWS)
        .bind(queue.running_per_flow())
        .fetch_all(conn)
        .await
}

/// Puts deferred jobs that are due at `now` back into their queues, at most [`RELEASED`] of them.
async fn release(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "update job set deferred = false where id in (
             select id from job where deferred and run_at <= $1 order by run_at limit $2 for update skip locked)",
    )
    .bind(now)
    .bind(RELEASED)
    .execute(conn)
    .await?;
    Ok(())
}

/// Holds the job until `until`; `false`: it is no longer the caller's, or gone with what it worked for.
pub async fn renew(conn: &mut PgConnection, job: &Job, until: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query("update job set leased_until = $3 where id = $1 and lease = $2")
        .bind(job.id)
        .bind(job.lease)
        .bind(until)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends the job; `false`: it was no longer the caller's to end, and whatever it brought must not be kept.
pub async fn finish(conn: &mut PgConnection, job: &Job) -> Result<bool> {
    let done = sqlx::query("delete from job where id = $1 and lease = $2")
        .bind(job.id)
        .bind(job.lease)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Lets the job go until `run_at`.
pub async fn retry(conn: &mut PgConnection, job: &Job, run_at: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "update job set lease = null, leased_until = null, run_at = $3, deferred = true where id = $1 and lease = $2",
    )
    .bind(job.id)
    .bind(job.lease)
    .bind(run_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the job go until `run_at`, after a failure of our own. Such ones are never a reason to give up: they are counted for
/// the wait alone, as far as it grows.
pub async fn failed(conn: &mut PgConnection, job: &Job, run_at: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "update job set lease = null, leased_until = null, run_at = $3, deferred = true, attempts = least(attempts, 12)
         where id = $1 and lease = $2",
    )
    .bind(job.id)
    .bind(job.lease)
    .bind(run_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the job go until `run_at`, after an attempt that ended without a verdict.
pub async fn crashed(conn: &mut PgConnection, job: &Job, run_at: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "update job set lease = null, leased_until = null, run_at = $3, deferred = true, crashes = crashes + 1
         where id = $1 and lease = $2",
    )
    .bind(job.id)
    .bind(job.lease)
    .bind(run_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the job go as if it had not been begun.
pub async fn put_back(conn: &mut PgConnection, job: &Job) -> Result<()> {
    sqlx::query(
        "update job set lease = null, leased_until = null, attempts = attempts - 1
         where id = $1 and lease = $2",
    )
    .bind(job.id)
    .bind(job.lease)
    .execute(conn)
    .await?;
    Ok(())
}

/// The channel access token; `None` if there is none. One that cannot be opened, because the secret key is another, is an
/// error: what waits for it is tried again, less and less.
pub async fn token(
    conn: &mut PgConnection,
    keyring: &Keyring,
    channel_id: i32,
) -> Result<Option<SecretString>> {
    let bytes: Option<Option<Vec<u8>>> =
        sqlx::query_scalar("select access_token from channel where id = $1")
            .bind(channel_id)
            .fetch_optional(conn)
            .await?;
    let Some(sealed) = bytes.flatten() else {
        return Ok(None);
    };
    let place = Place::AccessToken(channel_id);
    let opened = keyring.secrets().open(place, &sealed);
    let opened = opened.map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(String::from_utf8(opened).ok().map(SecretString::from))
}

/// Notes that LINE refused the channel's token at `now`.
pub async fn refuse_token(
    conn: &mut PgConnection,
    channel_id: i32,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("update channel set token_refused_at = $2 where id = $1")
        .bind(channel_id)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Lets no request of the channel go out before `until`.
pub async fn pause(conn: &mut PgConnection, channel_id: i32, until: DateTime<Utc>) -> Result<()> {
    sqlx::query("update channel set paused_until = greatest(paused_until, $2) where id = $1")
        .bind(channel_id)
        .bind(until)
        .execute(conn)
        .await?;
    Ok(())
}
