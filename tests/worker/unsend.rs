//! A download never outlives an unsend, at whatever moment the unsend comes.

use std::time::Duration;

use line_chat_archive::{
    fake_line::{Call, pictures::photo},
    media::Reach,
};

use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::archive::{Archive, until};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_unsend_while_the_download_drips_leaves_nothing() {
    for dripped in [2_000, 100_000, 198_000] {
        let t = Archive::new().await;
        let id = t
            .receives(&t.shop.user("Aoi").sends_video(vec![5; 200_000], 9).make())
            .await;
        let gate = t.line.trouble(Call::Content).held_after(dripped);
        let working = tokio::spawn({
            let worker = t.worker.clone();
            async move { worker.run_until_idle().await }
        });
        gate.reached().await;
        until(async || t.states(id).await == "waiting, kept").await;
        until(async || t.has_written(dripped)).await;

        let erasure = t.unsends(id).await;
        let other = t.another_worker(Reach::Anywhere).await;
        other.run_until_idle().await.unwrap();
        assert_eq!(
            t.bucket.files().await,
            0,
            "neither the preview nor the half written original"
        );
        assert_eq!(
            t.objects_gone_at(erasure).await,
            None,
            "a writer may still be alive"
        );

        gate.open();
        working.await.unwrap().unwrap();
        t.work_on(1, 2 * MINUTE).await;
        t.holds_only(0).await;
        assert_eq!(t.jobs().await, 0);
        assert!(t.objects_gone_at(erasure).await.is_some());
    }
}

#[tokio::test]
async fn a_long_download_renews_its_lease_and_notices_the_unsend_on_its_way() {
    let t = Archive::new().await;
    let id = t
        .receives(&t.shop.user("Aoi").sends_file("a", &b"a"[..]).make())
        .await;
    let host = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let data = format!("http://{}", host.local_addr().unwrap());
    let worker = t.worker_with_data_host(&data, Reach::Anywhere).await;
    let working = tokio::spawn(async move { worker.run_until_idle().await });
    let (mut wire, _) = host.accept().await.unwrap();
    wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n")
        .await
        .unwrap();
    wire.write_all(&[1; 70_000]).await.unwrap();
    until(async || t.has_written(70_000)).await;

    t.clock.advance(50 * SECOND);
    wire.write_all(&[2; 70_000]).await.unwrap();
    until(async || t.has_written(140_000)).await;
    t.clock.advance(50 * SECOND);
    assert_eq!(
        t.work().await,
        0,
        "nobody else may have the job, or sweep the object"
    );
    assert!(t.has_written(140_000));

    let erasure = t.unsends(id).await;
    wire.write_all(b"third").await.unwrap();
    working.await.unwrap().unwrap();
    t.holds_only(0).await;
    assert!(t.objects_gone_at(erasure).await.is_some());
}

#[tokio::test]
async fn a_machine_that_slept_fetches_anew_what_was_swept_meanwhile() {
    let t = Archive::new().await;
    let id = t
        .receives(&t.shop.user("Aoi").sends_file("a", vec![5; 200_000]).make())
        .await;
    let gate = t.line.trouble(Call::Content).held_after(100_000);
    let sleeper = t.another_worker(Reach::Anywhere).await;
    let sleeping = tokio::spawn(async move { sleeper.run_until_idle().await });
    gate.reached().await;
    until(async || t.has_written(100_000)).await;

    // The sweep runs before any worker can do the job, because the channel has no token.
    t.clock.advance(2 * MINUTE);
    let token = t.shop.access_token();
    sqlx::query("update channel set access_token = null")
        .execute(&t.pool)
        .await
        .unwrap();
    t.work().await;
    t.holds_only(0).await;
    t.has_token(token).await;

    gate.open();
    sleeping.await.unwrap().unwrap();
    t.work_on(1, MINUTE).await;
    assert_eq!(t.states(id).await, "kept, none");
    t.holds_only(1).await;
}

#[tokio::test]
async fn an_unsend_between_the_last_byte_and_the_commit_leaves_nothing() {
    for crash in [false, true] {
        let t = Archive::new().await;
        let id = t
            .receives(&t.shop.user("Aoi").sends_file("a", vec![5; 200_000]).make())
            .await;
        let gate = t.line.trouble(Call::Content).held_after(199_999);
        let worker = t.another_worker(Reach::Anywhere).await;
        let working = tokio::spawn(async move { worker.run_until_idle().await });
        gate.reached().await;
        until(async || t.has_written(199_999)).await;
        let unsending = t.holding(id).await;
        gate.open();
        until(async || !t.listed().await.is_empty()).await;
        if crash {
            working.abort();
            assert!(working.await.unwrap_err().is_cancelled());
            t.unsent(unsending, id).await;
        } else {
            t.unsent(unsending, id).await;
            working.await.unwrap().unwrap();
            t.holds_only(0).await;
        }
        t.work_on(1, 2 * MINUTE).await;
        t.holds_only(0).await;
        assert_eq!(t.jobs().await, 0);
        assert_eq!(
            t.count("select count(*) from erasure where objects_gone_at is null")
                .await,
            0
        );
    }
}

#[tokio::test]
async fn an_unsend_while_the_preview_is_made_leaves_nothing_and_fetches_nothing_again() {
    let t = Archive::new().await;
    t.line.trouble(Call::Preview).always().answers(404);
    let event = t.shop.user("Aoi").sends_image(photo(4, 900, 900)).make();
    let id = t.receives(&event).await;
    sqlx::query("update job set leased_until = $1 where kind = 'preview'")
        .bind(t.clock.now() + 24 * 60 * MINUTE)
        .execute(&t.pool)
        .await
        .unwrap();
    t.work().await;
    let unsending = t.holding(id).await;
    t.clock.advance(24 * 60 * MINUTE);
    let working = tokio::spawn({
        let worker = t.worker.clone();
        async move { worker.run_until_idle().await }
    });
    // The preview is made, and the worker waits for the lock to attach it.
    until(async || {
        t.count("select count(*) from pg_locks where not granted")
            .await
            > 0
    })
    .await;
    t.unsent(unsending, id).await;
    working.await.unwrap().unwrap();
    t.work_on(3, MINUTE).await;
    t.holds_only(0).await;
    assert_eq!(t.jobs().await, 0);
    assert_eq!(t.line.calls(Call::Content, event.message_id()), 1);
}

#[tokio::test]
async fn a_worker_that_slept_past_its_lease_gives_way_to_the_next() {
    let t = Archive::new().await;
    let bytes = vec![3_u8; 200_000];
    let id = t
        .receives(&t.shop.user("Aoi").sends_file("a", bytes.clone()).make())
        .await;
    let gate = t.line.trouble(Call::Content).held_after(100_000);
    let zombie = t.another_worker(Reach::Anywhere).await;
    let zombie = tokio::spawn(async move { zombie.run_until_idle().await });
    gate.reached().await;
    until(async || t.has_written(100_000)).await;

    t.work_on(2, 2 * MINUTE).await;
    assert_eq!(t.states(id).await, "kept, none");
    t.holds_only(1).await;

    gate.open();
    zombie.await.unwrap().unwrap();
    t.holds_only(1).await;
    assert_eq!(t.bytes(t.attachment(id).await.original_key()).await, bytes);
}

#[tokio::test]
async fn a_purge_that_fails_is_tried_until_it_succeeds() {
    let t = Archive::new().await;
    let id = t
        .receives(&t.shop.user("Aoi").sends_image(photo(4, 90, 90)).make())
        .await;
    t.work().await;
    let erasure = t.unsends(id).await;
    t.bucket.breaks();
    for _ in 0..3 {
        assert!(t.worker.run_until_idle().await.is_err());
        assert_eq!(t.objects_gone_at(erasure).await, None);
        t.clock.advance(MINUTE);
    }
    t.bucket.heals();
    t.work().await;
    t.holds_only(0).await;
    assert_eq!(t.objects_gone_at(erasure).await, Some(t.clock.now()));
}
