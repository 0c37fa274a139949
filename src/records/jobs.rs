//! Jobs: work that follows a commit. A process claims a job by a short lease, and only the holder of the lease ends it.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

/// Kind of data that a job fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// The file of an attachment.
    Original,
    /// The preview image of an attachment.
    Preview,
    /// The profile of a contact.
    Profile,
    /// The name and picture URL of a group.
    Summary,
    /// The picture of a contact, or of a group.
    Picture,
}

/// A claimed job.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Job {
    /// Our own number.
    pub id: i64,
    /// Kind of data to fetch.
    pub kind: Kind,
    /// The channel whose token is used.
    pub channel_id: i32,
    /// The attachment of [`Kind::Original`] and [`Kind::Preview`].
    pub attachment_id: Option<Uuid>,
    /// The contact of [`Kind::Profile`], and of [`Kind::Picture`] for a contact.
    pub contact_id: Option<Uuid>,
    /// The group of [`Kind::Summary`], and of [`Kind::Picture`] for a group; with a contact: where the contact was
    /// seen.
    pub conversation_id: Option<Uuid>,
    /// The slots that it is claimed for.
    pub queue: Queue,
    /// Its flow: flows of a queue take turns.
    pub flow: i32,
    /// Number of attempts, with this one unless the job is `lapsed`.
    pub attempts: i32,
    /// Number of attempts that ended without a verdict.
    pub crashes: i32,
    /// True: the lease of the last attempt ran out, and the caller only records that.
    pub lapsed: bool,
    /// Random id of this claim: proves that the caller still holds the job.
    pub lease: Uuid,
}

/// Outcome of a job, which the worker records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server gave what the job asked for, and it is written.
    Fetched,
    /// The result is written, or another process has the job, or its target is gone.
    Settled,
    /// To be tried again after a back-off.
    Again,
    /// The server failed, or did not answer completely: to be tried again after a back-off, or once it answers others.
    Trouble,
    /// Not tried; the attempt is not counted.
    PutBack,
    /// LINE refused the channel's token.
    Refused,
    /// LINE's rate limit (HTTP 429): no request of this channel for this duration.
    Paused(std::time::Duration),
    /// The attempt panicked, or ended its process: to be tried again after a back-off.
    Crashed,
}

/// Server options of the connection that claims jobs: they force plans that use indexes. A plan that was made while
/// there were few jobs, and that is kept for as long as the connection lives, would scan all jobs for each claim
/// (measured among 200,000 jobs: 46 ms, and 0.4 ms with these options). Statistics that say that all jobs belong to one
/// channel would lead to a plan that reads through the jobs of all other channels.
pub const CLAIMING: [(&str, &str); 6] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];

/// Group of worker slots for which a job is claimed. Each queue is a bulkhead: jobs that hang in one keep no other
/// waiting. The column `job.queue` says to which queue a job belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Queue {
    /// Images and voice messages, from LINE, which deletes them after a while.
    Content,
    /// Videos and files, from LINE.
    Large,
    /// Previews, from LINE or made of originals from LINE.
    Preview,
    /// Profiles and group summaries.
    People,
    /// Pictures of people and groups.
    Picture,
    /// Originals and previews from hosts that senders chose.
    External,
}

impl Queue {
    /// True if its jobs need the channel's token, and so wait while the channel is paused.
    fn asks_line(self) -> bool {
        !matches!(self, Self::Picture | Self::External)
    }

    /// Most jobs of one flow that may run at the same time.
    fn running_per_flow(self) -> i64 {
        match self {
            Self::External => 1,
            _ => i64::MAX,
        }
    }
}

/// Order in which the jobs of a channel are claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Flows take turns, the newest job of each first: an operator may be looking at it.
    Newest,
    /// The oldest job first: LINE will delete its content first.
    Oldest,
}

/// Flows of a channel that one claim looks at, beginning with a random one.
const FLOWS: i64 = 32;

/// Most deferred jobs that one call puts back into their queues.
const RELEASED: i64 = 1000;

// The due jobs of one channel `c`, by flow. A loose index scan over `job_flows` finds the distinct flows, with one
// probe per flow: a `distinct` would read every job of a sender with many. The walk begins at a random flow and wraps
// around, which gives each flow the same share without a cursor that replicas would have to agree on. Flows with fewer
// running jobs come first.
const NEWEST: &str = "
    select id, row_number() over (order by rank, tie) as turn from (
        select j.id, random() as tie,
            r.running + row_number() over (partition by w.flow order by j.id desc) - 1 as rank
        from (
            select p.flow from (values (1, $6::int, 2147483647), (2, (-2147483648)::int, $6 - 1)) part (n, lowest, highest)
            cross join lateral (
                with recursive walk (flow) as (
                    (select flow from job where channel_id = c.id and queue = $1 and not deferred
                     and flow between part.lowest and part.highest order by flow limit 1)
                    union all
                    select (select flow from job where channel_id = c.id and queue = $1 and not deferred
                            and flow > walk.flow and flow <= part.highest order by flow limit 1)
                    from walk where walk.flow is not null
                )
                select flow from walk where flow is not null limit $7
            ) p limit $7
        ) w
        cross join lateral (
            select count(*) as running from job where channel_id = c.id and queue = $1 and flow = w.flow
            and lease is not null and leased_until > $3
        ) r
        cross join lateral (
            select id from job where channel_id = c.id and queue = $1 and flow = w.flow and not deferred
            and run_at <= $3 and (leased_until is null or leased_until <= $3)
            and r.running < $8
            order by id desc limit least($2, $8)
        ) j
    ) ranked order by rank, tie limit $2";

const OLDEST: &str = "
    select id, row_number() over (order by id) as turn from (
        select id from job where channel_id = c.id and queue = $1 and not deferred
        and run_at <= $3 and (leased_until is null or leased_until <= $3)
        and $6::int is not null and $7::bigint is not null and $8::bigint is not null
        order by id limit $2
    ) due";

/// Claims up to `limit` jobs of one queue that are due at `now`, with a lease until `until`. Within a channel `order`
/// decides; channels take turns, in random order, so that one with many jobs keeps no other waiting.
///
/// Skips channels that are paused or have no token, unless the queue calls other hosts than LINE's API.
pub async fn claim(
    conn: &mut PgConnection,
    (queue, order): (Queue, Order),
    limit: i64,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Job>> {
    release(conn, now).await?;
    let first = match order {
        Order::Newest => NEWEST,
        Order::Oldest => OLDEST,
    };
    let sql = format!(
        "with found as (
             select n.id from channel c cross join lateral ({first}) n
             where not $5 or (c.access_token is not null
                 and (c.paused_until is null or c.paused_until <= $3))
             order by n.turn, random() limit $2
         ), due as (
             select id, lease is not null as lapsed from job where id in (select id from found)
             and (leased_until is null or leased_until <= $3)
             for update skip locked
         )
         update job set lease = gen_random_uuid(), leased_until = $4,
             attempts = attempts + (not due.lapsed)::int
         from due where job.id = due.id
         returning job.id, kind, channel_id, attachment_id, contact_id, conversation_id, queue, flow,
             attempts, crashes, due.lapsed, job.lease"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(queue)
        .bind(limit)
        .bind(now)
        .bind(until)
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

/// Extends the lease to `until`. `false`: the caller no longer holds the job, or it was deleted with its target.
pub async fn renew(conn: &mut PgConnection, job: &Job, until: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query("update job set leased_until = $3 where id = $1 and lease = $2")
        .bind(job.id)
        .bind(job.lease)
        .bind(until)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends the job. `false`: the caller no longer held it, and must not keep its result.
pub async fn finish(conn: &mut PgConnection, job: &Job) -> Result<bool> {
    let done = sqlx::query("delete from job where id = $1 and lease = $2")
        .bind(job.id)
        .bind(job.lease)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Releases the job until `run_at`.
pub async fn retry(conn: &mut PgConnection, job: &Job, run_at: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "update job set lease = null, leased_until = null, run_at = $3, deferred = true, backoff_until = null, crashes = 0
         where id = $1 and lease = $2",
    )
    .bind(job.id)
    .bind(job.lease)
    .bind(run_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Releases the job until `run_at`, after a failure on the archive's side. Such failures are never a reason to give up:
/// they only count for the back-off, up to its longest pause.
pub async fn failed(conn: &mut PgConnection, job: &Job, run_at: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "update job set lease = null, leased_until = null, run_at = $3, deferred = true, backoff_until = null,
             attempts = least(attempts, 12)
         where id = $1 and lease = $2",
    )
    .bind(job.id)
    .bind(job.lease)
    .bind(run_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Releases the job until `run_at`, after an attempt that ended without a verdict.
pub async fn crashed(conn: &mut PgConnection, job: &Job, run_at: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "update job set lease = null, leased_until = null, run_at = $3, deferred = true, backoff_until = null,
             crashes = crashes + 1
         where id = $1 and lease = $2",
    )
    .bind(job.id)
    .bind(job.lease)
    .bind(run_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Releases the job as if this attempt had not begun.
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
