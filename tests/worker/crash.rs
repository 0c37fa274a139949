//! Jobs that crash their process.

use std::{env, panic, process::Command, time::Duration};

use line_chat_archive::{
    config::LogFormat,
    fake_line::Call,
    records::{
        jobs::{self, Order, Queue},
        objects::LEASE,
    },
    telemetry,
};

use crate::archive::Archive;

/// A worker that claims jobs and then crashes. Returns the number of jobs that were claimed and not lapsed.
async fn dies(t: &Archive) -> usize {
    let mut conn = t.pool.acquire().await.unwrap();
    let now = t.clock.now();
    let claimed = jobs::claim(
        &mut conn,
        (Queue::Large, Order::Newest),
        4,
        now,
        now + LEASE,
    )
    .await;
    claimed.unwrap().iter().filter(|job| !job.lapsed).count()
}

#[tokio::test]
async fn a_job_that_kills_the_process_waits_longer_each_time_and_is_given_up() {
    let t = Archive::new().await;
    let deadly = t.shop.user("Aoi").sends_file("a", &b"a"[..]).make();
    let deadly = t.receives(&deadly).await;
    let mut waits = vec![];
    while t.states(deadly).await == "waiting, none" {
        assert_eq!(dies(&t).await, 1);
        t.clock.advance(LEASE);
        let lapsed = t.clock.now();
        assert_eq!(t.work().await, 0, "noted, and not begun");
        let run_at: Option<chrono::DateTime<chrono::Utc>> =
            sqlx::query_scalar("select run_at from job")
                .fetch_optional(&t.pool)
                .await
                .unwrap();
        let Some(run_at) = run_at else { break };
        waits.push((run_at - lapsed).num_seconds());
        t.clock.advance((run_at - lapsed).to_std().unwrap());
    }
    assert_eq!(t.states(deadly).await, "failed crashed, none");
    assert_eq!(t.line.all_calls(Call::Content), 0);
    assert_eq!(waits.len(), 11, "{waits:?}");
    assert!((1..=3).contains(&waits[0]) && waits[10] > 1000, "{waits:?}");
}

#[tokio::test]
async fn a_job_beside_one_that_kills_the_process_is_done() {
    let t = Archive::new().await;
    let beside = t.shop.user("Ren").sends_file("b", &b"b"[..]).make();
    let beside = t.receives(&beside).await;
    assert_eq!(dies(&t).await, 1);
    let other = t.shop.user("Aoi").sends_file("a", &b"a"[..]).make();
    let other = t.receives(&other).await;
    t.clock.advance(LEASE);
    t.work().await;
    assert_eq!(
        t.states(other).await,
        "kept, none",
        "nobody waits for a lapsed one"
    );
    t.work_on(1, Duration::from_secs(3)).await;
    assert_eq!(t.states(beside).await, "kept, none");
}

/// The other test runs this in its own process, because a panic hook belongs to the whole process.
#[test]
fn panics_when_asked_to() {
    if env::var_os("PANIC_PLEASE").is_some() {
        telemetry::start(LogFormat::Text);
        let written = panic::catch_unwind(|| panic!("Aoi's {}", "secret"));
        assert!(written.is_err());
    }
}

#[test]
fn a_panic_is_logged_by_its_place_and_not_by_its_words() {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::panics_when_asked_to", "--nocapture"])
        .env("PANIC_PLEASE", "1")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{log}");
    assert!(log.contains("a panic at tests/worker/crash.rs:"), "{log}");
    assert!(!log.contains("secret") && !log.contains("Aoi"), "{log}");
}
