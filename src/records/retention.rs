//! Retention rules, and the messages and events that are older than the rules keep them.
//!
//! The queries find what is due in the index of the timeline, conversation by conversation: an index by age would cost
//! the webhook handler an insert for every message, for a query that runs once a day.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection, Result};
use uuid::Uuid;

/// The kinds that a rule may be for.
pub const KINDS: [&str; 10] = [
    "any", "text", "image", "video", "audio", "file", "location", "sticker", "other", "event",
];

/// A rule, as pages show it.
#[derive(FromRow, Clone, Debug)]
pub struct Rule {
    /// Our own id.
    pub id: Uuid,
    /// The channel.
    pub channel_id: i32,
    /// One of [`KINDS`].
    pub kind: String,
    /// Number of whole days for which messages are kept.
    pub days: i32,
    /// Login of the operator who added it.
    pub created_by: String,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// Login of the operator who switched it on.
    pub switched_on_by: Option<String>,
    /// When it was switched on; `None`: not yet.
    pub switched_on_at: Option<DateTime<Utc>>,
    /// Login of the operator who switched it off.
    pub switched_off_by: Option<String>,
    /// When it was switched off; `None`: not yet.
    pub switched_off_at: Option<DateTime<Utc>>,
}

/// A rule to apply.
#[derive(FromRow, Clone, Debug)]
pub struct Task {
    /// Our own id.
    pub id: Uuid,
    /// The channel.
    pub channel_id: i32,
    /// One of [`KINDS`].
    pub kind: String,
    /// Messages and events older than this are due.
    pub before: DateTime<Utc>,
    /// Messages and events older than this were examined; `None`: all have to be examined.
    pub done_before: Option<DateTime<Utc>>,
    /// Counts how often all had to be examined again.
    pub round: i32,
    /// Kinds of the channel that have a rule of their own.
    pub others: Vec<String>,
}

/// A message or event that is due.
#[derive(FromRow, Clone, Debug)]
pub struct Due {
    /// Our own id.
    pub id: Uuid,
    /// LINE's id of the message; `None`: it is an event.
    pub message_id: Option<String>,
    /// The conversation it is in.
    pub conversation_id: Uuid,
}

/// Messages and events of one month that a rule would erase.
#[derive(FromRow, Clone, Debug, PartialEq, Eq)]
pub struct Month {
    /// The month in UTC, for example `2026-11`.
    pub month: String,
    /// Number of messages.
    pub messages: i64,
    /// Number of other events.
    pub events: i64,
    /// Number of their originals that are kept.
    pub files: i64,
    /// Size of these originals in bytes.
    pub bytes: i64,
    /// Number of messages and events that a hold keeps.
    pub held: i64,
}

/// Adds a rule that is not switched on. `false`: the channel has one for this kind, which has to be switched off first.
pub async fn add(
    conn: &mut PgConnection,
    channel_id: i32,
    kind: &str,
    days: i32,
    by: Uuid,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query(
        "insert into retention_rule (id, channel_id, kind, days, created_by, created_at)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
    )
    .bind(Uuid::now_v7())
    .bind(channel_id)
    .bind(kind)
    .bind(days)
    .bind(by)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How a rule is switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It erases from now on.
    On,
    /// It never erases again.
    Off,
}

/// Switches a rule. `false`: no rule in scope can be switched so. All rules of the channel examine everything again,
/// because the most specific rule wins.
pub async fn switch(
    conn: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
    to: Switch,
    by: Uuid,
    now: DateTime<Utc>,
) -> Result<bool> {
    let sql = match to {
        Switch::On => {
            "update retention_rule set switched_on_by = $3, switched_on_at = $4
             where id = $1 and channel_id = any($2) and switched_on_at is null and switched_off_at is null
             returning channel_id"
        }
        Switch::Off => {
            "update retention_rule set switched_off_by = $3, switched_off_at = $4
             where id = $1 and channel_id = any($2) and switched_off_at is null returning channel_id"
        }
    };
    let channel: Option<i32> = sqlx::query_scalar(sql)
        .bind(id)
        .bind(channels)
        .bind(by)
        .bind(now)
        .fetch_optional(&mut *conn)
        .await?;
    let Some(channel) = channel else {
        return Ok(false);
    };
    examine_again(conn, &[channel]).await?;
    Ok(true)
}

/// A pass looks for messages that arrived up to this long after they were sent. Those that arrive later let the rules of their
/// channel examine everything again.
pub const LATE_ARRIVALS: TimeDelta = TimeDelta::days(30);

/// Lets the rules of these channels that are not switched off examine everything again.
pub async fn examine_again(conn: &mut PgConnection, channels: &[i32]) -> Result<()> {
    sqlx::query(
        "update retention_rule set done_before = null, round = round + 1
         where channel_id = any($1) and switched_off_at is null",
    )
    .bind(channels)
    .execute(conn)
    .await?;
    Ok(())
}

/// The rules of the channels in scope, at most 500; those that are switched off come last in their channel.
pub async fn rules(conn: &mut PgConnection, channels: &[i32]) -> Result<Vec<Rule>> {
    sqlx::query_as(
        "select r.id, channel_id, kind, days, c.login as created_by, r.created_at,
             n.login as switched_on_by, switched_on_at, f.login as switched_off_by, switched_off_at
         from retention_rule r join operator c on c.id = r.created_by
         left join operator n on n.id = r.switched_on_by left join operator f on f.id = r.switched_off_by
         where channel_id = any($1)
         order by channel_id, switched_off_at desc nulls first, kind <> 'any', kind limit 500",
    )
    .bind(channels)
    .fetch_all(conn)
    .await
}

/// The rules that have something to do at `now`; or only the rule `named`, as if it were on.
pub async fn tasks(
    conn: &mut PgConnection,
    named: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<Vec<Task>> {
    sqlx::query_as(
        "with rule as (
             select *, (date_trunc('day', $2::timestamptz at time zone 'UTC') - make_interval(days => days))
                 at time zone 'UTC' as before
             from retention_rule where switched_off_at is null
         )
         select id, channel_id, kind, before, done_before, round, array(
             select o.kind from rule o
             where o.channel_id = r.channel_id and o.id <> r.id and o.kind <> 'any' and o.switched_on_at is not null
         ) as others
         from rule r
         where case when $1 is null then switched_on_at is not null and coalesce(done_before < before, true)
                    else id = $1 end
         order by id",
    )
    .bind(named)
    .bind(now)
    .fetch_all(conn)
    .await
}

/// True if the rule is on; it stays on until the transaction ends.
pub async fn is_on(conn: &mut PgConnection, id: Uuid) -> Result<bool> {
    let found: Option<i32> = sqlx::query_scalar(
        "select 1 from retention_rule
         where id = $1 and switched_on_at is not null and switched_off_at is null for share",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Records that all that is due by the task was examined, unless a rule or a hold has changed meanwhile.
pub async fn done(conn: &mut PgConnection, task: &Task) -> Result<()> {
    sqlx::query("update retention_rule set done_before = $2 where id = $1 and round = $3")
        .bind(task.id)
        .bind(task.before)
        .bind(task.round)
        .execute(conn)
        .await?;
    Ok(())
}

/// Up to `limit` messages that are due and not held, not older than `since`, in conversations from `from` on in the
/// order of their ids.
pub async fn messages(
    conn: &mut PgConnection,
    task: &Task,
    since: DateTime<Utc>,
    from: Uuid,
    limit: i64,
) -> Result<Vec<Due>> {
    due(
        conn,
        "select m.* from (
             select id from conversation c where channel_id = $1 and id >= $2
                 and not exists (select from hold h where h.conversation_id = c.id and h.lifted_at is null)
             order by id
         ) c cross join lateral (
             select m.id, m.message_id, m.conversation_id from message m
             where m.conversation_id = c.id and m.occurred_at >= $3 and m.occurred_at < $4
                 and case $5 when 'any' then message_class(m.kind) <> all($6) else message_class(m.kind) = $5 end
             order by m.occurred_at limit $7
         ) m limit $7",
        task,
        since,
        from,
        limit,
    )
    .await
}

/// As [`messages`], for other events; none if the rule is not for them.
pub async fn events(
    conn: &mut PgConnection,
    task: &Task,
    since: DateTime<Utc>,
    from: Uuid,
    limit: i64,
) -> Result<Vec<Due>> {
    due(
        conn,
        "select m.* from (
             select id from conversation c where channel_id = $1 and id >= $2
                 and not exists (select from hold h where h.conversation_id = c.id and h.lifted_at is null)
                 and case $5 when 'any' then 'event' <> all($6) else $5 = 'event' end
             order by id
         ) c cross join lateral (
             select v.id, null::text as message_id, v.conversation_id from event v
             where v.conversation_id = c.id and v.occurred_at >= $3 and v.occurred_at < $4
             order by v.occurred_at limit $7
         ) m limit $7",
        task,
        since,
        from,
        limit,
    )
    .await
}

async fn due(
    conn: &mut PgConnection,
    sql: &'static str,
    task: &Task,
    since: DateTime<Utc>,
    from: Uuid,
    limit: i64,
) -> Result<Vec<Due>> {
    sqlx::query_as(sql)
        .bind(task.channel_id)
        .bind(from)
        .bind(since)
        .bind(task.before)
        .bind(&task.kind)
        .bind(&task.others)
        .bind(limit)
        .fetch_all(conn)
        .await
}

/// Counts what the rule would erase now, by month.
pub async fn preview(conn: &mut PgConnection, task: &Task) -> Result<Vec<Month>> {
    sqlx::query_as(
        "with c as (
             select id, exists (select from hold h where h.conversation_id = c.id and h.lifted_at is null) as held
             from conversation c where channel_id = $1
         ), due as (
             select m.occurred_at, held, false as event, a.original_size
             from c join message m on m.conversation_id = c.id and m.occurred_at < $2
             left join attachment a on a.message_id = m.id and a.original_state = 'kept'
             where case $3 when 'any' then message_class(m.kind) <> all($4) else message_class(m.kind) = $3 end
             union all
             select v.occurred_at, held, true, null
             from c join event v on v.conversation_id = c.id and v.occurred_at < $2
             where case $3 when 'any' then 'event' <> all($4) else $3 = 'event' end
         )
         select to_char(occurred_at at time zone 'UTC', 'YYYY-MM') as month,
             count(*) filter (where not held and not event) as messages,
             count(*) filter (where not held and event) as events,
             count(original_size) filter (where not held) as files,
             coalesce(sum(original_size) filter (where not held), 0)::bigint as bytes,
             count(*) filter (where held) as held
         from due group by 1 order by 1",
    )
    .bind(task.channel_id)
    .bind(task.before)
    .bind(&task.kind)
    .bind(&task.others)
    .fetch_all(conn)
    .await
}
