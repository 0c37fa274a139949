//! The end of an outage at LINE: what waited for it is tried again at once, and nothing else is asked for more often.

use std::time::Duration;

use line_chat_archive::fake_line::{Call, FakeLine, pictures::photo};
use uuid::Uuid;

use crate::archive::Archive;

const STEP: Duration = Duration::from_secs(10);
const HALF_AN_HOUR: u32 = 180;
const A_MINUTE: u32 = 6;

type Outage = (&'static str, fn(&FakeLine, Call));

const OUTAGES: [Outage; 3] = [
    ("503", |line, call| line.trouble(call).always().answers(503)),
    ("no answer", |line, call| {
        line.trouble(call).always().hangs_up();
    }),
    ("cut off", |line, call| {
        line.trouble(call).always().cut_after(10);
    }),
];

/// Receives `count` files of one sender.
async fn receive_files(t: &Archive, name: &str, count: u8) -> Vec<Uuid> {
    let user = t.shop.user(name);
    let mut ids = vec![];
    for n in 0..count {
        ids.push(t.receives(&user.sends_file("a", vec![n; 100]).make()).await);
    }
    ids
}

async fn waiting(t: &Archive) -> i64 {
    t.count("select count(*) from attachment where 'waiting' in (original_state, preview_state)")
        .await
}

#[tokio::test]
async fn the_files_come_within_a_minute_of_the_end_of_an_outage() {
    for (name, outage) in OUTAGES {
        let t = Archive::new().await;
        outage(&t.line, Call::Content);
        outage(&t.line, Call::Preview);
        for sender in ["Aoi", "Ren", "Ken"] {
            receive_files(&t, sender, 6).await;
        }
        let video = t.shop.user("Mei").sends_video(vec![1; 64], 1);
        let video = t.receives(&video.previewed_by(photo(1, 9, 9)).make()).await;
        t.work_on(HALF_AN_HOUR, STEP).await;
        let asked = t.line.all_calls(Call::Content) + t.line.all_calls(Call::Preview);
        // After an answer that was cut off, the rest is requested too.
        let tries = if name == "cut off" { asked / 2 } else { asked };
        assert!(tries < 20 * 20, "{name}: {tries} tries in half an hour");
        assert_eq!(waiting(&t).await, 19, "{name}");
        t.line.is_well();
        t.work_on(A_MINUTE, STEP).await;
        assert_eq!(waiting(&t).await, 0, "{name}");
        assert_eq!(t.states(video).await, "kept, kept", "{name}");
        t.stop().await;
    }
}

#[tokio::test]
async fn a_lone_file_comes_within_a_minute_too_and_is_still_given_up_after_two_days_only() {
    let t = Archive::new().await;
    t.line.trouble(Call::Content).always().answers(500);
    let file = receive_files(&t, "Aoi", 1).await[0];
    t.work_on(HALF_AN_HOUR, STEP).await;
    let asked = t.line.all_calls(Call::Content);
    assert!(asked < 60, "{asked} requests in half an hour");
    let attempts = t.count("select attempts::bigint from job").await;
    assert!(attempts < 15, "{attempts} count");
    t.line.is_well();
    t.work_on(A_MINUTE, STEP).await;
    assert_eq!(t.states(file).await, "kept, none");
}

#[tokio::test]
async fn profiles_come_within_a_minute_of_their_own_outage_only() {
    let t = Archive::new().await;
    t.line.trouble(Call::Profile).always().answers(502);
    t.line.trouble(Call::Content).always().answers(502);
    for n in 0..10 {
        let user = t.shop.user(&format!("Aoi {n}"));
        t.deliver(&[user.sends_file("a", vec![n; 100]).make()])
            .await
            .unwrap();
    }
    t.work_on(HALF_AN_HOUR, STEP).await;
    let known = "select count(*) from contact where profile_state = 'known'";
    assert_eq!(t.count(known).await, 0);
    t.line.is_well();
    t.line.trouble(Call::Content).always().answers(502);
    let asked = t.line.all_calls(Call::Content);
    t.work_on(A_MINUTE, STEP).await;
    assert_eq!(t.count(known).await, 10);
    let asked = t.line.all_calls(Call::Content) - asked;
    assert!(asked < 10, "{asked} requests for files, whose host fails");
}

#[tokio::test]
async fn an_end_of_trouble_does_not_shorten_the_wait_after_a_refusal() {
    let t = Archive::new().await;
    let user = t.shop.user("Aoi");
    let mut refused = vec![];
    for status in [400, 403, 404] {
        let file = user.sends_file("a", vec![1; 100]).make();
        t.receives(&file).await;
        let trouble = t.line.trouble(Call::Content).of(file.message_id());
        trouble.always().answers(status);
        refused.push(file.message_id().to_owned());
    }
    let broken = user.sends_file("b", vec![1; 100]).make();
    let id = t.receives(&broken).await;
    let trouble = t.line.trouble(Call::Content).of(broken.message_id());
    trouble.times(20).answers(500);
    t.work_on(HALF_AN_HOUR, STEP).await;
    let asked = || {
        let calls = refused.iter().map(|id| t.line.calls(Call::Content, id));
        calls.sum::<usize>()
    };
    let before = asked();
    // Far enough that none is due by itself.
    sqlx::query("update job set run_at = run_at + interval '1 hour' where attachment_id <> $1")
        .bind(id)
        .execute(&t.pool)
        .await
        .unwrap();
    t.work_on(HALF_AN_HOUR, STEP).await;
    assert_eq!(t.states(id).await, "kept, none");
    assert_eq!(asked(), before);
}

/// The last outage ended without a success, because its only file was given up.
#[tokio::test]
async fn an_outage_that_nobody_noticed_the_end_of_does_not_delay_the_end_of_the_next_one() {
    let t = Archive::new().await;
    let long_ago = t.clock.now() - Duration::from_secs(10 * 86_400);
    sqlx::query("insert into line_trouble (channel_id, people, since) values ($1, false, $2)")
        .bind(t.channel_id)
        .bind(long_ago)
        .execute(&t.pool)
        .await
        .unwrap();
    t.line.trouble(Call::Content).always().answers(500);
    receive_files(&t, "Aoi", 1).await;
    t.work_on(HALF_AN_HOUR, STEP).await;
    t.line.is_well();
    t.work_on(A_MINUTE, STEP).await;
    assert_eq!(waiting(&t).await, 0);
}

/// A file that always fails, while others arrive every minute.
#[tokio::test]
async fn successes_do_not_make_a_storm_of_a_file_that_always_fails() {
    let t = Archive::new().await;
    let user = t.shop.user("Aoi");
    let broken = user.sends_file("a", vec![1; 100]).make();
    let id = t.receives(&broken).await;
    let trouble = t.line.trouble(Call::Content).of(broken.message_id());
    trouble.always().answers(500);
    for _ in 0..120 {
        t.receives(&user.sends_file("b", vec![2; 100]).make()).await;
        t.work_on(1, Duration::from_secs(60)).await;
    }
    assert_eq!(t.states(id).await, "waiting trouble, none");
    let asked = t.line.calls(Call::Content, broken.message_id());
    assert!(asked < 40, "{asked} requests in two hours");
}
