//! Reconciling the bucket with the rows: objects without a row, and rows without an object.

use std::{fs, time::Duration};

use bytes::Bytes;
use futures_util::TryStreamExt;
use line_chat_archive::{
    fake_line::{Call, pictures::photo},
    media::{Reach, Reconciled},
    objects::{ObjectKey, Objects},
    worker::Worker,
};

use tokio_util::sync::CancellationToken;

use crate::{
    archive::{Archive, until},
    healed::Log,
};

const MINUTE: Duration = Duration::from_secs(60);

async fn write(objects: &Objects, bytes: &'static [u8]) {
    let mut writer = objects.put(ObjectKey::new()).await.unwrap();
    writer.write(Bytes::from_static(bytes)).await.unwrap();
    writer.finish().await.unwrap();
}

async fn compare(t: &Archive) -> (usize, usize) {
    let Reconciled {
        unknown_objects,
        missing,
    } = t.worker.compare().await.unwrap();
    (unknown_objects, missing)
}

async fn with_a_photo() -> (Archive, uuid::Uuid) {
    let t = Archive::new().await;
    let event = t.shop.user("Aoi").sends_image(photo(1, 64, 64)).make();
    let id = t.receives(&event).await;
    t.work().await;
    (t, id)
}

#[tokio::test]
async fn where_all_agrees_nothing_is_touched() {
    let (t, _) = with_a_photo().await;
    assert_eq!(compare(&t).await, (0, 0));
    assert_eq!(t.work().await, 0);
    t.holds_only(2).await;
}

#[tokio::test]
async fn an_object_without_a_row_goes_after_the_longest_lease() {
    let (t, _) = with_a_photo().await;
    write(&t.objects, b"left over").await;
    // A writer whose process ends leaves an unfinished file.
    let mut half = t.objects.put(ObjectKey::new()).await.unwrap();
    half.write(vec![1; 12 << 20].into()).await.unwrap();
    std::mem::forget(half);
    assert_eq!(t.bucket.files().await, 4);

    assert_eq!(compare(&t).await, (2, 0));
    t.work().await;
    assert_eq!(t.bucket.files().await, 4, "a second look is due first");
    assert_eq!(compare(&t).await, (0, 0), "they have rows by now");
    t.work_on(1, MINUTE).await;
    t.holds_only(2).await;
}

#[tokio::test]
async fn an_object_that_is_being_written_is_let_be() {
    let (t, _) = with_a_photo().await;
    let video = t.shop.user("Ren").sends_file("a", vec![5; 200_000]).make();
    let id = t.receives(&video).await;
    let gate = t.line.trouble(Call::Content).held_after(100_000);
    let worker = t.another_worker(Reach::Anywhere).await;
    let working = tokio::spawn(async move { worker.run_until_idle().await });
    gate.reached().await;
    until(async || t.has_written(100_000)).await;
    assert_eq!(compare(&t).await, (0, 0));
    gate.open();
    working.await.unwrap().unwrap();
    assert_eq!(t.states(id).await, "kept, none");
    t.holds_only(3).await;
}

#[tokio::test]
async fn what_the_bucket_has_lost_is_fetched_again() {
    let (t, id) = with_a_photo().await;
    for seed in 2..4 {
        let event = t.shop.user("Ren").sends_image(photo(seed, 64, 64)).make();
        t.receives(&event).await;
    }
    t.work().await;
    let before = t.attachment(id).await;
    let (original, preview) = (
        before.original_key().unwrap(),
        before.preview_key().unwrap(),
    );
    t.objects.purge(original).await.unwrap();
    t.objects.purge(preview).await.unwrap();

    assert_eq!(compare(&t).await, (0, 2));
    assert_eq!(t.states(id).await, "waiting, waiting");
    assert_eq!(compare(&t).await, (0, 0), "they are known to be missed");
    t.work().await;
    assert_eq!(t.states(id).await, "kept, kept");
    let after = t.attachment(id).await;
    assert_ne!(after.original_key(), Some(original));
    assert_eq!(after.original_size, before.original_size);
    t.holds_only(6).await;
    assert_eq!(t.jobs().await, 0);
}

#[tokio::test]
async fn what_line_has_no_more_either_is_gone_and_a_preview_stays() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let event = aoi.sends_image(photo(1, 64, 64)).make();
    let id = t.receives(&event).await;
    t.work().await;
    let _ = aoi.unsends(&event).make();
    let original = t.attachment(id).await.original_key().unwrap();
    t.objects.purge(original).await.unwrap();

    assert_eq!(compare(&t).await, (0, 1));
    t.work().await;
    t.work_on(20, 2 * MINUTE).await;
    assert_eq!(t.states(id).await, "gone gone, kept");
    t.holds_only(1).await;
}

#[tokio::test]
async fn an_unsend_of_what_is_missing_leaves_nothing() {
    let (t, id) = with_a_photo().await;
    let original = t.attachment(id).await.original_key().unwrap();
    t.objects.purge(original).await.unwrap();
    assert_eq!(compare(&t).await, (0, 1));
    let erasure = t.unsends(id).await;
    t.work_on(1, 2 * MINUTE).await;
    t.holds_only(0).await;
    assert_eq!(t.jobs().await, 0);
    // The file of a directory can be moved aside and come back: see `lost_objects`. A bucket has an object, or it has not.
    let is_complete = t.objects_gone_at(erasure).await.is_some();
    assert_eq!(is_complete, !t.objects.can_lose_objects());
}

#[tokio::test]
async fn another_archives_bucket_is_not_emptied() {
    let (t, _) = with_a_photo().await;
    let other = Archive::new().await;
    let stranger = worker_on(&other, &t.objects);
    assert_eq!(stranger.compare().await.unwrap(), Reconciled::default());
    other.clock.advance(2 * MINUTE);
    stranger.run_until_idle().await.unwrap();
    t.holds_only(2).await;
}

#[tokio::test]
async fn a_bucket_that_is_not_there_makes_nothing_wait() {
    let (t, id) = with_a_photo().await;
    let empty = Archive::new().await;
    let astray = worker_on(&t, &empty.objects);
    assert_eq!(astray.compare().await.unwrap(), Reconciled::default());
    assert_eq!(t.states(id).await, "kept, kept");
    t.holds_only(2).await;
}

/// A worker with the rows of one archive and the objects of another.
fn worker_on(t: &Archive, objects: &Objects) -> Worker {
    let url = url::Url::parse(t.line.url()).unwrap();
    crate::archive::worker(
        &t.pool,
        &t.clock,
        &t.keyring,
        objects,
        [url.clone(), url],
        Reach::Anywhere,
    )
}

#[tokio::test]
async fn the_worker_compares_at_its_start_and_every_six_hours() {
    let (t, _) = with_a_photo().await;
    write(&t.objects, b"first").await;
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (worker, stop) = (t.worker.clone(), stop.clone());
        async move { worker.run(stop).await }
    });
    let due = "select count(*) from object where state = 'purge'";
    until(async || t.count(due).await == 1).await;

    write(&t.objects, b"second").await;
    t.clock.advance(360 * MINUTE);
    let later = "select count(*) from object where created_at = '2026-11-20T15:00:00Z'";
    until(async || t.count(later).await == 1).await;
    stop.cancel();
    running.await.unwrap();
    t.work_on(1, MINUTE).await;
    t.holds_only(2).await;
}

/// Removes an object from the bucket; returns its encrypted bytes.
async fn taken_out(t: &Archive, key: ObjectKey) -> Bytes {
    let (_, body) = t.objects.get(key, None).await.unwrap();
    let pieces: Vec<Bytes> = body.try_collect().await.unwrap();
    t.objects.purge(key).await.unwrap();
    pieces.concat().into()
}

#[tokio::test]
async fn what_somebody_brings_back_from_a_copy_after_line_has_forgotten_it_is_kept_again() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let event = aoi.sends_image(photo(1, 64, 64)).make();
    let id = t.receives(&event).await;
    t.work().await;
    let original = t.attachment(id).await.original_key();
    let bytes = t.bytes(original).await;
    let copy = taken_out(&t, original.unwrap()).await;

    assert_eq!(compare(&t).await, (0, 1));
    t.line.trouble(Call::Content).times(18).answers(404);
    t.work_on(30, 30 * MINUTE).await;
    assert_eq!(t.states(id).await, "gone not_found, kept");
    assert_eq!(compare(&t).await, (0, 0), "it is not asked for on and on");
    assert_eq!(t.jobs().await, 0);

    let mut writer = t.objects.put(original.unwrap()).await.unwrap();
    writer.write(copy).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(compare(&t).await, (0, 0), "it is no stranger");
    assert_eq!(t.states(id).await, "kept, kept");
    assert_eq!(t.bytes(original).await, bytes);
    t.holds_only(2).await;
    let erasure = t.unsends(id).await;
    t.work_on(1, 2 * MINUTE).await;
    t.holds_only(0).await;
    assert!(t.objects_gone_at(erasure).await.is_some());
}

#[tokio::test]
async fn a_preview_of_what_the_bucket_has_lost_is_not_tried_without_a_pause() {
    let (t, id) = with_a_photo().await;
    let original = t.attachment(id).await.original_key().unwrap();
    t.objects.purge(original).await.unwrap();
    t.text(
        "update attachment set preview_state = 'waiting', preview_key = null where id = $1 returning id::text",
        id,
    )
    .await;
    t.text(
        "insert into job (kind, channel_id, attachment_id, asks_line, run_at)
         select 'preview', channel_id, id, true, '2020-01-01' from attachment where id = $1 returning id::text",
        id,
    )
    .await;
    t.line.trouble(Call::Preview).times(1_000).answers(404);
    let worked = tokio::time::timeout(MINUTE, t.work()).await;
    assert!(worked.is_ok(), "it ends");
    assert_eq!(t.states(id).await, "kept, waiting trouble");
}

#[tokio::test]
async fn a_file_of_many_damaged_keys_is_named_in_one_line() {
    let log = Log::kept();
    let t = Archive::new().await;
    for n in 0..20 {
        let sent = t.shop.user(&format!("Person {n}")).sends_text("hello");
        sent.await.unwrap();
    }
    let key = sqlx::query_scalar("select id from keyring_key where subject is not null limit 1");
    let key = key.fetch_one(&t.pool).await.unwrap();
    let name = t.keyring.file_of(key);
    let file = t.home.path().join("keyring").join(&name);
    fs::write(&file, &fs::read(&file).unwrap()[..10]).unwrap();
    t.clock.advance(25 * 60 * MINUTE);
    while t.damaged_keys().await == 0 {
        t.worker.scrub().await.unwrap();
    }
    assert!(t.damaged_keys().await >= 20);
    let named = log.text();
    let named = named.lines().filter(|line| line.contains(&name));
    assert_eq!(named.filter(|line| line.contains(" ERROR ")).count(), 1);
}
