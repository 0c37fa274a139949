//! Transfers that break off and resume, files that are too large, and the progress of a file.

use std::time::Duration;

use line_chat_archive::{
    fake_line::{Call, pictures::photo},
    records::refetch,
};

use crate::archive::{Archive, until};

const MINUTE: Duration = Duration::from_secs(60);

/// Bytes without repetition, so that a wrong part is noticed.
fn bytes(length: u32) -> Vec<u8> {
    (0..length / 4)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes())
        .collect()
}

/// Ten random positions at which transfers of a file of this length break off; printed to reproduce a failure.
fn breaks(length: usize) -> Vec<usize> {
    let breaks: Vec<usize> = (0..10).map(|_| rand::random_range(1..length)).collect();
    eprintln!("breaks off at {breaks:?}");
    breaks
}

#[tokio::test]
async fn a_transfer_that_breaks_off_ten_times_goes_on_where_line_gives_the_rest() {
    let t = Archive::new().await;
    t.line.honours_range();
    let sent = bytes(3_000_000);
    let video = t.shop.user("Aoi").sends_file("a", sent.clone()).make();
    let id = t.receives(&video).await;
    // Each position counts from the point at which the transfer resumed.
    for at in breaks(sent.len() / 20) {
        t.line.trouble(Call::Content).cut_after(at);
    }
    t.work().await;
    assert_eq!(t.states(id).await, "kept, none");
    assert_eq!(t.bytes(t.attachment(id).await.original_key()).await, sent);
    assert_eq!(t.line.calls(Call::Content, video.message_id()), 11);
    t.holds_only(1).await;
}

#[tokio::test]
async fn where_line_gives_no_parts_it_is_begun_again_and_leaves_none_behind() {
    let t = Archive::new().await;
    let sent = bytes(3_000_000);
    let video = t.shop.user("Aoi").sends_file("a", sent.clone()).make();
    let id = t.receives(&video).await;
    for at in breaks(sent.len()) {
        t.line.trouble(Call::Content).cut_after(at);
    }
    for _ in 0..12 {
        t.work().await;
        if t.states(id).await == "kept, none" {
            break;
        }
        t.holds_only(0).await;
        t.clock.advance(60 * MINUTE);
    }
    assert_eq!(t.bytes(t.attachment(id).await.original_key()).await, sent);
    assert!(t.line.calls(Call::Content, video.message_id()) <= 22);
    t.holds_only(1).await;
}

#[tokio::test]
async fn a_transfer_that_brings_nothing_more_is_not_asked_on() {
    let t = Archive::new().await;
    t.line.honours_range();
    let file = t.shop.user("Aoi").sends_file("a", bytes(300_000)).make();
    let id = t.receives(&file).await;
    t.line.trouble(Call::Content).cut_after(200_000);
    t.line.trouble(Call::Content).always().cut_after(0);
    t.work().await;
    assert_eq!(t.states(id).await, "waiting truncated, none");
    assert_eq!(t.line.calls(Call::Content, file.message_id()), 2);
    t.holds_only(0).await;
}

#[tokio::test]
async fn a_file_above_the_channels_limit_is_not_kept_until_somebody_wants_it() {
    let t = Archive::new().await;
    sqlx::query("update channel set largest_file = 50000")
        .execute(&t.pool)
        .await
        .unwrap();
    let aoi = t.shop.user("Aoi");
    let sent = bytes(300_000);
    let file = aoi.sends_file("a", sent.clone()).make();
    let large = t.receives(&file).await;
    let picture = photo(7, 1600, 1200);
    assert!(picture.len() > 50_000);
    let picture = t.receives(&aoi.sends_image(picture).make()).await;
    let small = t.receives(&aoi.sends_file("b", bytes(40_000)).make()).await;
    t.work_on(3, MINUTE).await;
    assert_eq!(t.states(large).await, "failed too_large, none");
    assert_eq!(t.states(picture).await, "failed too_large, kept");
    assert_eq!(t.states(small).await, "kept, none");
    assert_eq!(t.line.calls(Call::Content, file.message_id()), 1);
    t.holds_only(2).await;

    let mut conn = t.pool.acquire().await.unwrap();
    let now = t.clock.now();
    assert!(
        !refetch::retry_fetch(&mut conn, &[99], large, now)
            .await
            .unwrap()
    );
    assert!(
        !refetch::retry_fetch(&mut conn, &[1], small, now)
            .await
            .unwrap()
    );
    assert!(
        refetch::retry_fetch(&mut conn, &[1], large, now)
            .await
            .unwrap()
    );
    assert!(
        !refetch::retry_fetch(&mut conn, &[1], large, now)
            .await
            .unwrap()
    );
    t.work().await;
    assert_eq!(t.states(large).await, "kept, none");
    assert_eq!(
        t.bytes(t.attachment(large).await.original_key()).await,
        sent
    );
    assert_eq!(t.states(picture).await, "failed too_large, kept");
}

#[tokio::test]
async fn open_pages_are_told_how_far_a_file_is() {
    let t = Archive::new().await;
    sqlx::raw_sql(
        "create table told (percent int);
         create function tell() returns trigger language plpgsql as
         $$ begin insert into told values (new.percent); return new; end $$;
         create trigger tell after update of percent on attachment for each row
         when (new.percent is not null) execute function tell()",
    )
    .execute(&t.pool)
    .await
    .unwrap();
    let file = t.shop.user("Aoi").sends_file("a", bytes(1_000_000)).make();
    let id = t.receives(&file).await;
    let gate = t.line.trouble(Call::Content).held_after(400_000);
    let (_, ()) = tokio::join!(t.work(), async {
        gate.reached().await;
        until(async || t.has_written(400_000)).await;
        t.clock.advance(Duration::from_secs(3));
        gate.open();
    });
    assert_eq!(t.states(id).await, "kept, none");
    let told: Vec<i32> = sqlx::query_scalar("select percent from told")
        .fetch_all(&t.pool)
        .await
        .unwrap();
    assert_eq!(told, [40]);
    let left: Option<i16> = sqlx::query_scalar("select percent from attachment")
        .fetch_one(&t.pool)
        .await
        .unwrap();
    assert_eq!(left, None);
}

#[tokio::test]
async fn what_failed_otherwise_and_is_asked_for_again_is_still_held_to_the_limit() {
    let t = Archive::new().await;
    sqlx::query("update channel set largest_file = 100000")
        .execute(&t.pool)
        .await
        .unwrap();
    let event = t.shop.user("Aoi").sends_file("a", bytes(200_000)).make();
    let id = t.receives(&event).await;
    t.text(
        "with over as (delete from job where attachment_id = $1)
         update attachment set original_state = 'failed', original_reason = 'trouble', original_key = null
         where id = $1
         returning id::text",
        id,
    )
    .await;
    let mut conn = t.pool.acquire().await.unwrap();
    assert!(
        refetch::retry_fetch(&mut conn, &[t.channel_id], id, t.clock.now())
            .await
            .unwrap()
    );
    drop(conn);
    t.work().await;
    assert_eq!(t.states(id).await, "failed too_large, none");
}
