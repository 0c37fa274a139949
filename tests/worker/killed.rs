//! A process is killed at ten random points of a transfer: the next one fetches the file, and no partial file stays.

use std::{
    env,
    process::{Command, Stdio},
    time::Duration,
};

use line_chat_archive::{fake_line::Call, media::Reach};
use sqlx::{ConnectOptions, postgres::PgPoolOptions};

use crate::{
    archive::{Archive, worker},
    bucket,
    support::keys::keyring,
};

const HALF: usize = 3_500_000;

/// Not a test on its own: the next test runs and kills it as a process.
#[tokio::test]
async fn doomed() {
    let Ok(database) = env::var("DOOMED_DATABASE") else {
        return;
    };
    let of = |name: &str| env::var(name).unwrap();
    let pool = PgPoolOptions::new().connect(&database).await.unwrap();
    let clock = line_chat_archive::clock::Clock::manual(of("DOOMED_NOW").parse().unwrap());
    let ring = keyring(of("DOOMED_KEYRING").as_ref());
    line_chat_archive::erasure::keys::Keys::new(pool.clone(), clock.clone(), ring.clone())
        .supply()
        .await
        .unwrap();
    let objects = bucket::opened(&of("DOOMED_BUCKET")).await;
    let line = url::Url::parse(&of("DOOMED_LINE")).unwrap();
    let hosts = [line.clone(), line];
    let worker = worker(&pool, &clock, &ring, &objects, hosts, Reach::Anywhere);
    worker.run_until_idle().await.unwrap();
}

#[tokio::test]
async fn a_process_killed_at_ten_places_leaves_no_part_and_the_next_brings_the_file() {
    let t = Archive::new().await;
    let sent: Vec<u8> = (0..2 * HALF as u32).map(|n| (n % 251) as u8).collect();
    let file = t.shop.user("Aoi").sends_file("a", sent.clone()).make();
    let id = t.receives(&file).await;
    for _ in 0..10 {
        let at = rand::random_range(1..2 * HALF);
        eprintln!("killed after {at} bytes");
        let gate = t.line.trouble(Call::Content).held_after(at);
        let database = t.pool.connect_options().to_url_lossy().to_string();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "killed::doomed", "--nocapture"])
            .env("DOOMED_DATABASE", database)
            .env("DOOMED_NOW", t.clock.now().to_rfc3339())
            .env("DOOMED_KEYRING", t.keyring_dir())
            .env("DOOMED_BUCKET", t.bucket.words())
            .env("DOOMED_LINE", t.line.url())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::timeout(Duration::from_secs(60), gate.reached())
            .await
            .expect("it has begun");
        child.kill().unwrap();
        child.wait().unwrap();
        drop(gate);
        // The lease runs out, the worker notes the crash, and the job becomes due again.
        t.clock.advance(Duration::from_secs(3600));
        t.work().await;
        t.clock.advance(Duration::from_secs(2 * 3600));
        assert_eq!(t.states(id).await, "waiting, none");
    }
    t.work_on(3, Duration::from_secs(3600)).await;
    assert_eq!(t.states(id).await, "kept, none");
    assert_eq!(t.bytes(t.attachment(id).await.original_key()).await, sent);
    t.holds_only(1).await;
}
