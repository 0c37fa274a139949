//! LINE's error answers, each with its own meaning; and the state after a crash.

use std::time::Duration;

use line_chat_archive::{
    fake_line::{Call, pictures::photo},
    media::Reach,
};
use tokio_util::sync::CancellationToken;

use crate::archive::{Archive, until};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn content_that_is_not_found_is_looked_for_again_for_hours() {
    let t = Archive::new().await;
    let file = t
        .shop
        .user("Aoi")
        .sends_file("plan.pdf", &b"%PDF"[..])
        .make();
    let late = t.receives(&file).await;
    let never = t
        .receives(
            &t.shop
                .user("Ren")
                .sends_file("x", &b"x"[..])
                .unpreparable()
                .make(),
        )
        .await;
    t.line
        .trouble(Call::Content)
        .of(file.message_id())
        .times(2)
        .answers(404);
    t.work().await;
    assert_eq!(t.states(late).await, "waiting not_found, none");

    t.work_on(8, MINUTE).await;
    assert_eq!(t.states(late).await, "kept, none");
    t.work_on(8, 30 * MINUTE).await;
    assert_eq!(t.states(never).await, "waiting not_found, none");
    t.work_on(24, 30 * MINUTE).await;
    assert_eq!(t.states(never).await, "gone not_found, none");
    assert_eq!(t.jobs().await, 0);
    t.holds_only(1).await;
}

#[tokio::test]
async fn refusals_that_alternate_are_believed_like_equal_ones() {
    let t = Archive::new().await;
    let file = t.shop.user("Aoi").sends_file("a", &b"a"[..]).make();
    let id = t.receives(&file).await;
    t.line.trouble(Call::Content).every_second().answers(400);
    t.line.trouble(Call::Content).always().answers(404);
    t.work().await;
    t.work_on(48, 30 * MINUTE).await;
    assert_eq!(t.states(id).await, "gone not_found, none");
    assert_eq!(t.line.calls(Call::Content, file.message_id()), 18);
}

#[tokio::test]
async fn a_410_after_other_answers_is_not_believed_alone() {
    let t = Archive::new().await;
    let file = t.shop.user("Aoi").sends_file("a", &b"a"[..]).make();
    let id = t.receives(&file).await;
    t.line.trouble(Call::Content).times(11).answers(404);
    t.line.trouble(Call::Content).answers(410);
    t.work().await;
    t.work_on(48, 30 * MINUTE).await;
    assert_eq!(t.states(id).await, "kept, none");
}

#[tokio::test]
async fn content_that_is_gone_is_asked_for_a_few_times() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let photo = aoi.sends_image(photo(1, 64, 64)).make();
    let id = t.receives(&photo).await;
    let _ = aoi.unsends(&photo).make();
    t.work().await;
    assert!(t.states(id).await.starts_with("waiting gone, "));
    t.work_on(12, 10 * MINUTE).await;
    assert_eq!(t.states(id).await, "gone gone, gone gone");
    assert_eq!(t.line.calls(Call::Content, photo.message_id()), 10);
    assert_eq!(t.jobs().await, 0);
    t.holds_only(0).await;
}

#[tokio::test]
async fn a_refused_token_stops_the_channel_for_ever_longer_or_until_it_has_another() {
    let t = Archive::new().await;
    let file = t
        .receives(&t.shop.user("Aoi").sends_file("a", &b"a"[..]).make())
        .await;
    let elsewhere = t.line.elsewhere(photo(1, 64, 64));
    let external = t.shop.user("Ren").sends_external(
        line_chat_archive::fake_line::Media::Audio,
        &elsewhere,
        None,
    );
    let external = t.receives(&external.make()).await;
    let token = t.shop.reissue_token();
    t.work().await;
    assert_eq!(t.states(file).await, "waiting, none");
    assert_eq!(
        t.states(external).await,
        "kept, none",
        "others' servers want no token"
    );
    let calls = t.line.all_calls(Call::Content);

    t.work_on(1, Duration::from_secs(29)).await;
    assert_eq!(t.line.all_calls(Call::Content), calls);
    t.work_on(1, Duration::from_secs(1)).await;
    assert_eq!(t.line.all_calls(Call::Content), calls + 1, "after 30 s");
    // 1, 2, 4 … minutes after the first refusal, and from the second hour on once an hour.
    t.work_on(24 * 60, MINUTE).await;
    let asked = t.line.all_calls(Call::Content) - calls;
    assert!((25..=35).contains(&asked), "{asked} in a day");

    t.has_token(token).await;
    t.work().await;
    assert_eq!(t.states(file).await, "kept, none");
}

#[tokio::test]
async fn a_token_that_line_refuses_for_a_moment_costs_a_minute() {
    let t = Archive::new().await;
    let file = t.shop.user("Aoi").sends_file("a", &b"a"[..]).make();
    let id = t.receives(&file).await;
    t.line.trouble(Call::Content).times(1).answers(401);
    t.work().await;
    t.work_on(1, Duration::from_secs(30)).await;
    assert_eq!(t.states(id).await, "kept, none");
    let refused = "select count(*) from channel where token_refused_at is not null";
    assert_eq!(
        t.count(refused).await,
        0,
        "and nobody is told of it any more"
    );
}

#[tokio::test]
async fn a_channel_without_a_token_waits() {
    let t = Archive::new().await;
    let file = t
        .receives(&t.shop.user("Aoi").sends_file("a", &b"a"[..]).make())
        .await;
    sqlx::query("update channel set access_token = null")
        .execute(&t.pool)
        .await
        .unwrap();
    assert_eq!(t.work().await, 0);
    assert_eq!(t.states(file).await, "waiting, none");
    assert_eq!(t.line.all_calls(Call::Content), 0);
}

#[tokio::test]
async fn too_many_requests_give_the_whole_channel_a_rest() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let file = aoi.sends_file("a", &b"a"[..]).make();
    let first = t.receives(&file).await;
    t.line.trouble(Call::Content).answers(429);
    t.work().await;
    let second = t.receives(&aoi.sends_file("b", &b"b"[..]).make()).await;
    assert_eq!(t.work().await, 0, "it rests");

    t.work_on(1, Duration::from_secs(10)).await;
    assert_eq!(t.states(first).await, "kept, none");
    assert_eq!(t.states(second).await, "kept, none");
    assert_eq!(t.line.calls(Call::Content, file.message_id()), 2);
}

#[tokio::test]
async fn a_cut_answer_is_no_content_whatever_way_it_was_cut() {
    let t = Archive::new().await;
    let bytes = vec![7_u8; 300_000];
    let file = t.shop.user("Aoi").sends_file("a", bytes.clone()).make();
    let id = t.receives(&file).await;
    // After each answer that breaks off, the worker requests the rest from LINE.
    t.line.trouble(Call::Content).cut_after(200_000);
    t.line.trouble(Call::Content).answers(500);
    t.line.trouble(Call::Content).with_content_length(300_001);
    t.line.trouble(Call::Content).answers(500);
    t.line.trouble(Call::Content).hangs_up();
    for reason in ["truncated", "truncated", "trouble"] {
        t.work().await;
        assert_eq!(t.states(id).await, format!("waiting {reason}, none"));
        t.holds_only(0).await;
        t.clock.advance(MINUTE);
    }
    t.work().await;
    assert_eq!(t.states(id).await, "kept, none");
    assert_eq!(t.bytes(t.attachment(id).await.original_key()).await, bytes);
    t.holds_only(1).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_its_announcement() {
    let t = Archive::new().await;
    let id = t
        .receives(&t.shop.user("Aoi").sends_file("a", &b"a"[..]).make())
        .await;
    t.line.trouble(Call::Content).with_content_length(3 << 30);
    t.work().await;
    assert_eq!(t.states(id).await, "failed too_large, none");
    assert_eq!(t.jobs().await, 0);
    t.holds_only(0).await;
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_less_and_less_for_two_days() {
    let t = Archive::new().await;
    let file = t.shop.user("Aoi").sends_file("a", &b"a"[..]).make();
    let id = t.receives(&file).await;
    t.line.trouble(Call::Content).always().answers(503);
    let begun = t.clock.now();
    let mut waits = Vec::new();
    t.work().await;
    while t.states(id).await == "waiting trouble, none" {
        let asked = t.line.all_calls(Call::Content);
        let since = t.clock.now();
        let run_at: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select run_at from job")
            .fetch_one(&t.pool)
            .await
            .unwrap();
        assert_eq!(t.work().await, 0, "not before its time");
        t.clock.advance((run_at - since).to_std().unwrap());
        waits.push((run_at - since).num_seconds());
        t.work().await;
        assert_eq!(t.line.all_calls(Call::Content), asked + 1);
    }
    assert_eq!(t.states(id).await, "failed trouble, none");
    assert_eq!(t.jobs().await, 0);
    let hours = (t.clock.now() - begun).num_hours();
    assert!((36..60).contains(&hours), "{hours} h");
    assert!((1..=3).contains(&waits[0]), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 5400), "{waits:?}");
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_download_costs_little_more_than_a_minute_and_leaves_nothing() {
    let t = Archive::new().await;
    let bytes = vec![9_u8; 200_000];
    let id = t
        .receives(&t.shop.user("Aoi").sends_file("a", bytes.clone()).make())
        .await;
    let gate = t.line.trouble(Call::Content).held_after(100_000);
    let doomed = t.another_worker(Reach::Anywhere).await;
    let doomed = tokio::spawn(async move { doomed.run_until_idle().await });
    gate.reached().await;
    until(async || t.has_written(100_000)).await;
    doomed.abort();
    assert!(doomed.await.unwrap_err().is_cancelled());

    assert_eq!(t.work().await, 0, "the lease still runs");
    t.work_on(1, MINUTE).await;
    assert_eq!(t.states(id).await, "waiting, none", "it may happen again");
    t.work_on(1, Duration::from_secs(3)).await;
    assert_eq!(t.states(id).await, "kept, none");
    assert_eq!(t.bytes(t.attachment(id).await.original_key()).await, bytes);
    t.holds_only(1).await;
}

#[tokio::test]
async fn a_retry_survives_a_restart() {
    let t = Archive::new().await;
    let id = t
        .receives(&t.shop.user("Aoi").sends_file("a", &b"a"[..]).make())
        .await;
    t.line.trouble(Call::Content).answers(500);
    t.work().await;
    let next = t.another_worker(Reach::Anywhere).await;
    assert_eq!(next.run_until_idle().await.unwrap(), 0);
    t.clock.advance(MINUTE);
    assert_eq!(next.run_until_idle().await.unwrap(), 1);
    assert_eq!(t.states(id).await, "kept, none");
}

#[tokio::test]
async fn a_stop_lets_go_of_a_download_at_once() {
    let t = Archive::new().await;
    let id = t
        .receives(&t.shop.user("Aoi").sends_file("a", vec![1; 200_000]).make())
        .await;
    let gate = t.line.trouble(Call::Content).held_after(100_000);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (worker, stop) = (t.worker.clone(), stop.clone());
        async move { worker.run(stop).await }
    });
    gate.reached().await;
    until(async || t.has_written(100_000)).await;
    stop.cancel();
    running.await.unwrap();

    t.holds_only(0).await;
    assert_eq!(
        t.count("select count(*) from job where lease is null and attempts = 0")
            .await,
        1
    );
    t.work().await;
    assert_eq!(t.states(id).await, "kept, none");
}

#[tokio::test]
async fn the_bell_wakes_the_worker() {
    let t = Archive::new().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (worker, stop) = (t.worker.clone(), stop.clone());
        async move { worker.run(stop).await }
    });
    let id = t
        .receives(&t.shop.user("Aoi").sends_file("a", &b"a"[..]).make())
        .await;
    t.worker.wake().notify_one();
    until(async || t.states(id).await == "kept, none").await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn one_404_is_not_believed_however_often_something_else_failed_before() {
    let t = Archive::new().await;
    let event = t.shop.user("Aoi").sends_file("a", vec![7; 100]).make();
    let id = t.receives(&event).await;
    t.line.trouble(Call::Content).times(7).answers(503);
    t.work_on(7, 5 * MINUTE).await;
    assert_eq!(t.states(id).await, "waiting trouble, none");
    t.line.trouble(Call::Content).times(1).answers(404);
    t.work_on(1, 5 * MINUTE).await;
    assert_eq!(t.states(id).await, "waiting not_found, none");
    t.work_on(1, 20 * MINUTE).await;
    assert_eq!(t.states(id).await, "kept, none");
}

#[tokio::test]
async fn a_photo_of_no_bytes_is_not_ready_and_an_empty_file_is_a_file() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let photo = t.receives(&aoi.sends_image(vec![]).make()).await;
    let file = t.receives(&aoi.sends_file("empty", vec![]).make()).await;
    t.work().await;
    assert_eq!(t.states(file).await, "kept, none");
    let states = t.states(photo).await;
    assert!(states.starts_with("waiting preparing, "), "{states}");
}

#[tokio::test]
async fn failures_of_our_own_never_use_up_the_attempts() {
    let t = Archive::new().await;
    let event = t.shop.user("Aoi").sends_file("a", vec![7; 100]).make();
    let id = t.receives(&event).await;
    t.text(
        "update job set attempts = 70 where attachment_id = $1 returning id::text",
        id,
    )
    .await;
    t.text(
        "update attachment set percent = 43 where id = $1 returning id::text",
        id,
    )
    .await;
    t.bucket.breaks();
    assert!(t.worker.run_until_idle().await.is_err());
    t.bucket.heals();
    let percent = "select coalesce(percent, -1)::text from attachment where id = $1";
    assert_eq!(t.text(percent, id).await, "-1", "nothing is coming");
    t.line.trouble(Call::Content).times(1).answers(503);
    t.work_on(1, 120 * MINUTE).await;
    t.work_on(1, 120 * MINUTE).await;
    assert_eq!(t.states(id).await, "kept, none");
}
