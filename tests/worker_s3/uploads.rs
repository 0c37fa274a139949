//! Multipart uploads of large objects. However they end, no part stays.

use std::time::Duration;

use bytes::Bytes;
use line_chat_archive::{
    fake_line::Call,
    media::Reach,
    objects::{Error, ObjectKey, Objects},
};

use crate::{
    archive::{Archive, until},
    bucket::{Bucket, VERSIONED},
    client::{Client, between},
};

const LARGE: usize = 12 << 20;
const MINUTE: Duration = Duration::from_secs(60);

async fn half(objects: &Objects, key: ObjectKey) -> line_chat_archive::objects::Writer {
    let mut writer = objects.put(key).await.unwrap();
    for _ in 0..12 {
        writer.write(vec![1; 1 << 20].into()).await.unwrap();
    }
    writer
}

#[tokio::test]
async fn an_upload_that_is_dropped_half_way_is_no_object_and_a_purge_takes_its_parts() {
    let t = Bucket::new().await;
    let (key, other) = (ObjectKey::new(), ObjectKey::new());
    let _other = half(&t.objects, other).await;
    drop(half(&t.objects, key).await);
    assert_eq!(t.held().await.len(), 2);
    assert!(!t.objects.has(key).await.unwrap());
    assert_eq!(t.objects.under_way(), 12 << 20);

    t.objects.purge(key).await.unwrap();
    assert_eq!(t.held().await, [format!("Upload {other}")]);
}

#[tokio::test]
async fn a_writer_whose_upload_was_purged_fails_and_makes_nothing() {
    let t = Bucket::new().await;
    let key = ObjectKey::new();
    let mut writer = half(&t.objects, key).await;
    t.objects.purge(key).await.unwrap();
    let mut ended = Ok(());
    for _ in 0..7 {
        ended = writer.write(vec![1; 1 << 20].into()).await;
        if ended.is_err() {
            break;
        }
    }
    assert!(matches!(ended, Err(Error::NotFound)), "{ended:?}");
    let again = writer.write(Bytes::from_static(b"more")).await;
    assert!(again.is_err(), "it is of no more use");
    assert!(writer.finish().await.is_err());
    assert_eq!(t.held().await, [""; 0]);

    let writer = half(&t.objects, key).await;
    t.objects.purge(key).await.unwrap();
    assert!(matches!(writer.finish().await, Err(Error::NotFound)));
    assert_eq!(t.held().await, [""; 0]);
}

#[tokio::test]
async fn an_unsend_in_the_middle_of_an_upload_leaves_no_part() {
    let t = Archive::new().await;
    let event = t.shop.user("Aoi").sends_file("a", vec![5; LARGE]).make();
    let id = t.receives(&event).await;
    let gate = t.line.trouble(Call::Content).held_after(LARGE - 1000);
    let working = tokio::spawn({
        let worker = t.worker.clone();
        async move { worker.run_until_idle().await }
    });
    gate.reached().await;
    until(async || t.has_written(LARGE - 1000)).await;
    let held = t.bucket.held().await;
    assert!(
        held.len() == 1 && held[0].starts_with("Upload "),
        "{held:?}"
    );

    let erasure = t.unsends(id).await;
    let other = t.another_worker(Reach::Anywhere).await;
    other.run_until_idle().await.unwrap();
    assert_eq!(t.bucket.held().await, [""; 0]);
    assert_eq!(
        t.objects_gone_at(erasure).await,
        None,
        "a writer may be alive"
    );

    // The server executes earlier requests late.
    let key = held[0].strip_prefix("Upload ").unwrap();
    let path = format!("/{VERSIONED}/{}/{key}", t.bucket.prefix);
    let client = Client::admin().await;
    let late = client.send("POST", &format!("{path}?uploads="), "").await;
    let upload = between(&late, "<UploadId>", "</UploadId>");
    client
        .send(
            "PUT",
            &format!("{path}?partNumber=1&uploadId={upload}"),
            "late",
        )
        .await;
    client.send("PUT", &path, "later").await;
    assert_eq!(t.bucket.held().await.len(), 2);

    working.abort();
    let _ = working.await;
    t.work_on(1, 2 * MINUTE).await;
    t.holds_only(0).await;
    assert!(t.objects_gone_at(erasure).await.is_some());
}

#[tokio::test]
async fn a_large_file_arrives_whole_over_a_bad_line() {
    let t = Archive::new().await;
    let bytes: Vec<u8> = (0..LARGE).map(|n| (n % 253) as u8).collect();
    let event = t.shop.user("Aoi").sends_file("a", bytes.clone()).make();
    let id = t.receives(&event).await;
    for (request, status) in [
        ("POST ", 503),
        ("partNumber=1", 500),
        ("partNumber=2", 0),
        ("partNumber=2", 429),
        ("HEAD ", 503),
    ] {
        t.bucket.proxy.answers(request, status, 1);
    }
    t.work().await;
    assert_eq!(t.states(id).await, "kept, none");
    for (request, status) in [("GET ", 0), ("GET ", 503)] {
        t.bucket.proxy.answers(request, status, 1);
    }
    assert!(t.bytes(t.attachment(id).await.original_key()).await == bytes);
    t.holds_only(1).await;

    for (request, status) in [("GET ", 503), ("DELETE ", 0), ("DELETE ", 503)] {
        t.bucket.proxy.answers(request, status, 1);
    }
    t.unsends(id).await;
    t.work().await;
    t.holds_only(0).await;
}

#[tokio::test]
async fn a_bucket_that_fails_for_long_costs_an_attempt_and_leaves_no_part() {
    let t = Archive::new().await;
    let bytes = vec![9; LARGE];
    let event = t.shop.user("Aoi").sends_file("a", bytes.clone()).make();
    let id = t.receives(&event).await;
    t.bucket.proxy.answers("partNumber=2", 503, usize::MAX);
    assert!(t.worker.run_until_idle().await.is_err());
    assert_eq!(t.states(id).await, "waiting, none");
    t.bucket.heals();

    t.work_on(2, 2 * MINUTE).await;
    assert_eq!(t.states(id).await, "kept, none");
    assert!(t.bytes(t.attachment(id).await.original_key()).await == bytes);
    t.holds_only(1).await;
}
