//! The order in which jobs are claimed, and the cost of claiming them.

use line_chat_archive::{
    fake_line::Call,
    records::{
        jobs::{self, Job, Order, Queue},
        objects::LEASE,
    },
};
use sqlx::{ConnectOptions, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::archive::Archive;

async fn claiming(t: &Archive) -> PgConnection {
    let options = (*t.pool.connect_options()).clone();
    options.options(jobs::CLAIMING).connect().await.unwrap()
}

async fn claim(t: &Archive, conn: &mut PgConnection, limit: i64) -> Vec<Job> {
    let now = t.clock.now();
    jobs::claim(
        conn,
        (Queue::Picture, Order::Newest),
        limit,
        now,
        now + LEASE,
    )
    .await
    .unwrap()
}

/// Inserts `count` jobs of a channel that need no attachment.
async fn many(t: &Archive, channel_id: i32, count: i32) {
    sqlx::query(
        "with people as (
             insert into contact (id, channel_id, user_id)
             select gen_random_uuid(), $1, gen_random_uuid() from generate_series(1, $3) returning id)
         insert into job (kind, channel_id, asks_line, run_at, contact_id)
         select 'picture', $1, false, $2, id from people",
    )
    .bind(channel_id)
    .bind(t.clock.now())
    .bind(count)
    .execute(&t.pool)
    .await
    .unwrap();
}

/// A connection keeps the query plans of its first minutes, when the tables were almost empty.
#[tokio::test]
async fn claims_do_not_scan_the_jobs_once_there_are_many() {
    let t = Archive::new().await;
    let mut conn = claiming(&t).await;
    many(&t, t.channel_id, 5).await;
    for _ in 0..20 {
        claim(&t, &mut conn, 4).await;
    }
    many(&t, t.channel_id, 20_000).await;
    let scans = async |conn: &mut PgConnection| {
        sqlx::query("select pg_stat_force_next_flush()")
            .execute(&mut *conn)
            .await
            .unwrap();
        let sql = "select seq_scan from pg_stat_user_tables where relname = 'job'";
        sqlx::query_scalar::<_, i64>(sql)
            .fetch_one(conn)
            .await
            .unwrap()
    };
    let before = scans(&mut conn).await;
    for _ in 0..20 {
        assert_eq!(claim(&t, &mut conn, 4).await.len(), 4);
    }
    assert_eq!(scans(&mut conn).await - before, 0);
}

#[tokio::test]
async fn a_channel_with_many_jobs_keeps_no_other_waiting() {
    let t = Archive::new().await;
    let mut conn = claiming(&t).await;
    let other: i32 =
        sqlx::query_scalar("insert into channel (slug, name) values ('bar', 'Bar') returning id")
            .fetch_one(&t.pool)
            .await
            .unwrap();
    many(&t, other, 5).await;
    many(&t, t.channel_id, 500).await;
    let mut others = 0;
    for _ in 0..100 {
        let job = claim(&t, &mut conn, 1).await.pop().unwrap();
        others += i32::from(job.channel_id == other);
    }
    assert_eq!(
        others, 5,
        "of 100 claims about half are the other's, as long as it has jobs"
    );
    many(&t, other, 5).await;
    let both = claim(&t, &mut conn, 4).await;
    let others = both.iter().filter(|job| job.channel_id == other).count();
    assert_eq!(others, 2, "hands that are free together are shared");
}

#[tokio::test]
async fn one_hand_in_four_takes_the_oldest() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    for n in 0..40 {
        let file = aoi.sends_file(&format!("{n}"), &b"x"[..]).make();
        t.receives(&file).await;
    }
    let stop = CancellationToken::new();
    let mut gates = vec![];
    for _ in 0..4 {
        gates.push(t.line.trouble(Call::Content).held_after(0));
    }
    let running = tokio::spawn({
        let (worker, stop) = (t.worker.clone(), stop.clone());
        async move { worker.run(stop).await }
    });
    for gate in &gates {
        gate.reached().await;
    }
    let held: Vec<i64> = sqlx::query_scalar(
        "select rank from (select lease, row_number() over (order by id) as rank from job) j
         where lease is not null order by rank",
    )
    .fetch_all(&t.pool)
    .await
    .unwrap();
    assert_eq!(held, [1, 38, 39, 40]);
    for gate in &gates {
        gate.open();
    }
    stop.cancel();
    running.await.unwrap();
}

/// The number of index entries of `job` that were read so far.
async fn entries_read(conn: &mut PgConnection) -> i64 {
    sqlx::query("select pg_stat_force_next_flush()")
        .execute(&mut *conn)
        .await
        .unwrap();
    let sql = "select sum(idx_tup_read)::bigint from pg_stat_user_indexes where relname = 'job'";
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap()
}

/// Measured with 100,000 jobs: 1.2 ms a claim if all belong to one sender, 2.7 ms if each belongs to another, 0.8 ms if
/// none is due.
#[tokio::test]
async fn a_claim_reads_few_of_many_jobs_whoever_they_are_of_and_however_many_were_put_off() {
    let t = Archive::new().await;
    let mut conn = claiming(&t).await;
    many(&t, t.channel_id, 20_000).await;
    for (jobs, claimed) in [
        ("flow = 7", 4),
        ("flow = job_flow(gen_random_uuid())", 4),
        ("deferred = true, run_at = '2030-01-01'", 0),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(format!("update job set {jobs}")))
            .execute(&t.pool)
            .await
            .unwrap();
        // The first query that meets index entries of dead rows reads them. The vacuum removes them before the count.
        sqlx::query("vacuum analyze job")
            .execute(&t.pool)
            .await
            .unwrap();
        claim(&t, &mut conn, 4).await;
        let before = entries_read(&mut conn).await;
        for _ in 0..10 {
            assert_eq!(claim(&t, &mut conn, 4).await.len(), claimed, "{jobs}");
        }
        let read = (entries_read(&mut conn).await - before) / 10;
        assert!(read < 500, "{jobs}: {read} entries a claim");
    }
}

#[tokio::test]
async fn senders_take_turns_and_a_deferred_job_comes_back() {
    let t = Archive::new().await;
    let mut conn = claiming(&t).await;
    many(&t, t.channel_id, 300).await;
    sqlx::query("update job set flow = case when id <= 10 then id else 99 end")
        .execute(&t.pool)
        .await
        .unwrap();
    let first = claim(&t, &mut conn, 11).await;
    let mut flows: Vec<i32> = first.iter().map(|job| job.flow).collect();
    flows.sort_unstable();
    assert_eq!(flows, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99], "one of each");

    let due = t.clock.now() + LEASE / 2;
    for job in &first {
        jobs::retry(&mut conn, job, due).await.unwrap();
    }
    let flows: Vec<i32> = claim(&t, &mut conn, 4)
        .await
        .iter()
        .map(|j| j.flow)
        .collect();
    assert_eq!(flows, [99; 4], "nobody else's is due");
    t.clock.advance(LEASE / 2);
    let mut flows: Vec<i32> = claim(&t, &mut conn, 10)
        .await
        .iter()
        .map(|j| j.flow)
        .collect();
    flows.sort_unstable();
    assert_eq!(flows, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
}
