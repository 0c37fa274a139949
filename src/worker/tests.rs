use url::Url;

use super::*;
use crate::{
    MIGRATOR,
    embedded::Scratch,
    seal::{Cipher, DirectoryKeyStore, SecretKey},
};

/// A worker with one job. The tests send no requests.
async fn worker(dir: &std::path::Path) -> Worker {
    let scratch = Scratch::shared().await.expect("a cluster");
    let options = scratch.create_database("hands").await.expect("a database");
    let pool = PgPool::connect_with(options).await.expect("a pool");
    MIGRATOR.run(&pool).await.expect("a schema");
    sqlx::query("insert into channel (slug, name) values ('shop', 'Shop')")
        .execute(&pool)
        .await
        .expect("a channel");
    sqlx::query("insert into job (kind, channel_id, asks_line, run_at) select 'picture', id, false, $1 from channel")
        .bind(chrono::DateTime::UNIX_EPOCH)
        .execute(&pool)
        .await
        .expect("a job");
    let clock = Clock::manual("2026-10-20T09:00:00Z".parse().expect("a time"));
    let bucket = Url::from_directory_path(dir).expect("an address");
    let objects = Objects::open(&bucket).await.expect("a bucket");
    let nowhere = Url::parse("http://127.0.0.1:1").expect("an address");
    let line = LineApi::new(nowhere.clone(), nowhere).expect("a client");
    let secret = SecretKey::load_or_make(&dir.join("secret.key")).expect("a key");
    let store = DirectoryKeyStore::open(&dir.join("keyring")).expect("a directory");
    let keyring = Keyring::new(&secret, Arc::new(store), Cipher::Sealed);
    Worker::new(pool, clock, keyring, objects, line, Reach::Guarded).expect("a worker")
}

#[tokio::test]
async fn a_panic_is_an_attempt_that_failed() {
    let dir = tempfile::tempdir().expect("a directory");
    let worker = worker(dir.path()).await;
    let mut waits = vec![];
    for attempt in 1..=12 {
        let now = worker.clock.now();
        let mut conn = worker.pool.acquire().await.expect("a connection");
        let until = now + LEASE;
        let job = jobs::claim(&mut conn, (Queue::Picture, Order::Newest), 9, now, until).await;
        let job = job.expect("a claim").pop().expect("a job");
        assert_eq!(job.attempts, attempt);
        let panics = async { panic!("what a person wrote") };
        worker
            .settle(&job, panics)
            .await
            .expect("it is written down");
        let run_at: Option<chrono::DateTime<chrono::Utc>> =
            sqlx::query_scalar("select run_at from job where lease is null")
                .fetch_optional(&mut *conn)
                .await
                .expect("an answer");
        let Some(run_at) = run_at else { break };
        waits.push((run_at - now).num_seconds());
        worker
            .clock
            .advance((run_at - now).to_std().expect("later"));
    }
    assert_eq!(waits.len(), 11, "the twelfth is the last: {waits:?}");
    assert!((1..=3).contains(&waits[0]) && waits[10] > 1000, "{waits:?}");
    let left: i64 = sqlx::query_scalar("select count(*) from job")
        .fetch_one(&worker.pool)
        .await
        .expect("a count");
    assert_eq!(left, 0);
}
