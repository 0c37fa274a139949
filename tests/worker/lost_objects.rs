//! Objects that are missing when they are to be purged: a directory of the object store was moved aside, and its mark is
//! still there. No erasure is complete by that, because the directory may come back.

use std::{fs, path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use line_chat_archive::{fake_line::pictures::photo, objects::ObjectKey, records::lost_objects};
use uuid::Uuid;

use crate::{archive::Archive, healed::Log};

const MINUTE: Duration = Duration::from_secs(60);

/// Files of the other photos: three originals, three previews.
const OTHERS: usize = 6;

/// An archive with a photo, and others: of an object store with one file, most files would be unknown soon.
async fn with_a_photo() -> (Archive, Uuid) {
    let t = Archive::new().await;
    for seed in 2..5 {
        t.receives(&t.shop.user("Ren").sends_image(photo(seed, 64, 64)).make())
            .await;
    }
    let event = t.shop.user("Aoi").sends_image(photo(1, 64, 64)).make();
    let id = t.receives(&event).await;
    t.work().await;
    (t, id)
}

/// The directory that holds the file of the original, moved aside with all that is in it.
async fn moved_aside(t: &Archive, id: Uuid) -> (PathBuf, PathBuf) {
    let key = t.attachment(id).await.original_key().unwrap();
    let shard = t
        .bucket
        .file_of(key)
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .to_owned();
    let aside = t.home.path().join("shard aside");
    fs::rename(&shard, &aside).unwrap();
    (shard, aside)
}

async fn gone_at(t: &Archive, erasure: Uuid) -> Option<DateTime<Utc>> {
    t.work_on(3, 2 * MINUTE).await;
    t.objects_gone_at(erasure).await
}

#[tokio::test]
async fn a_file_that_was_moved_aside_is_not_said_to_be_purged() {
    let log = Log::kept();
    let (t, id) = with_a_photo().await;
    let (shard, aside) = moved_aside(&t, id).await;
    let erasure = t.unsends(id).await;
    assert_eq!(gone_at(&t, erasure).await, None);
    let mut db = t.pool.acquire().await.unwrap();
    assert_eq!(lost_objects::count_lost(&mut db).await.unwrap(), (1, 1));
    let key = lost_objects::doubtful(&mut db, "", 10).await.unwrap()[0].to_string();
    let named = |line: &&str| line.contains("no purge of them was noted") && line.contains(&key);
    assert_eq!(log.text().lines().filter(named).count(), 1, "once");

    fs::rename(&aside, &shard).unwrap();
    t.work_on(1, 11 * MINUTE).await;
    assert!(gone_at(&t, erasure).await.is_some());
    assert_eq!(lost_objects::count_lost(&mut db).await.unwrap(), (0, 0));
    assert_eq!(t.bucket.files().await, OTHERS, "purged when it came back");
}

/// The file was missed, and fetched again, before the unsend. The erasure is for all files that the message ever had.
#[tokio::test]
async fn a_file_that_was_lost_before_the_unsend_is_waited_for_too() {
    let (t, id) = with_a_photo().await;
    let (shard, aside) = moved_aside(&t, id).await;
    t.worker.compare().await.unwrap();
    t.work_on(2, MINUTE).await;
    assert_eq!(t.states(id).await, "kept, kept", "fetched again");
    let erasure = t.unsends(id).await;
    assert_eq!(gone_at(&t, erasure).await, None);
    // Fetched again into a new directory of the same name, or into another one.
    let _ = fs::remove_dir_all(&shard);
    fs::rename(&aside, &shard).unwrap();
    t.work_on(1, 11 * MINUTE).await;
    assert!(gone_at(&t, erasure).await.is_some());
}

#[tokio::test]
async fn an_erasure_does_not_wait_for_a_file_that_was_given_up() {
    let (t, id) = with_a_photo().await;
    let (shard, aside) = moved_aside(&t, id).await;
    let erasure = t.unsends(id).await;
    assert_eq!(gone_at(&t, erasure).await, None);
    let mut db = t.pool.acquire().await.unwrap();
    let lost = lost_objects::doubtful(&mut db, "", 10).await.unwrap();
    lost_objects::give_up(&mut db, &lost, t.clock.now())
        .await
        .unwrap();
    assert!(gone_at(&t, erasure).await.is_some());
    fs::rename(&aside, &shard).unwrap();
    t.worker.compare().await.unwrap();
    t.work_on(3, 2 * MINUTE).await;
    assert_eq!(t.bucket.files().await, OTHERS, "the reconcile has found it");
}

/// One directory cannot be read; it keeps the files of no other erasure.
#[tokio::test]
async fn a_file_that_cannot_be_looked_for_keeps_no_other_erasure_waiting() {
    let (t, id) = with_a_photo().await;
    let other = t
        .receives(&t.shop.user("Ken").sends_image(photo(7, 64, 64)).make())
        .await;
    t.work().await;
    let (shard, aside) = moved_aside(&t, id).await;
    // A link to itself cannot be followed.
    std::os::unix::fs::symlink(&shard, &shard).unwrap();
    let erasures = [t.unsends(id).await, t.unsends(other).await];
    for _ in 0..3 {
        t.clock.advance(2 * MINUTE);
        assert!(t.worker.run_until_idle().await.is_err());
    }
    assert!(t.objects_gone_at(erasures[0]).await.is_none());
    assert!(t.objects_gone_at(erasures[1]).await.is_some());
    fs::remove_file(&shard).unwrap();
    fs::rename(&aside, &shard).unwrap();
    assert!(gone_at(&t, erasures[0]).await.is_some());
}

/// An unsent photo whose original is about to be deleted: that was noted, and nothing more.
async fn noted() -> (Archive, ObjectKey, Uuid) {
    let (t, id) = with_a_photo().await;
    let key = t.attachment(id).await.original_key().unwrap();
    let erasure = t.unsends(id).await;
    let mut db = t.pool.acquire().await.unwrap();
    lost_objects::begin_to_purge(&mut db, &[key], t.clock.now())
        .await
        .unwrap();
    drop(db);
    (t, key, erasure)
}

/// A process that ended after it removed the file, and before it wrote that down, has purged it.
#[tokio::test]
async fn a_purge_that_was_cut_off_is_completed() {
    let (t, key, erasure) = noted().await;
    let mut db = t.pool.acquire().await.unwrap();
    fs::remove_file(t.bucket.file_of(key)).unwrap();
    assert!(gone_at(&t, erasure).await.is_some());
    assert_eq!(lost_objects::count_lost(&mut db).await.unwrap(), (0, 0));
}

/// A purge failed while the file was there, and then its directory was moved aside.
#[tokio::test]
async fn a_file_that_could_not_be_purged_and_was_moved_aside_later_is_not_said_to_be_purged() {
    let (t, key, erasure) = noted().await;
    let mut db = t.pool.acquire().await.unwrap();
    lost_objects::is_still_there(&mut db, key).await.unwrap();
    let file = t.bucket.file_of(key);
    fs::rename(file.parent().unwrap(), t.home.path().join("shard aside")).unwrap();
    assert_eq!(gone_at(&t, erasure).await, None);
}

/// A file in use that is known to be missing is given up before anybody erases it, so that no later erasure waits.
#[tokio::test]
async fn a_file_that_was_given_up_while_it_was_in_use_keeps_no_erasure() {
    let (t, id) = with_a_photo().await;
    let (_, _aside) = moved_aside(&t, id).await;
    t.worker.scrub().await.unwrap();
    let mut db = t.pool.acquire().await.unwrap();
    let missing = lost_objects::doubtful(&mut db, "", 10).await.unwrap();
    assert_eq!(missing, [t.attachment(id).await.original_key().unwrap()]);
    lost_objects::give_up(&mut db, &missing, t.clock.now())
        .await
        .unwrap();
    let erasure = t.unsends(id).await;
    assert!(gone_at(&t, erasure).await.is_some());
}

/// A directory stands in the place of the file. The object store did not make it, so it is not taken for the file.
#[tokio::test]
async fn an_erasure_waits_for_a_file_with_a_directory_in_its_place_until_it_is_given_up() {
    let (t, id) = with_a_photo().await;
    let key = t.attachment(id).await.original_key().unwrap();
    let file = t.bucket.file_of(key);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let erasure = t.unsends(id).await;
    assert_eq!(gone_at(&t, erasure).await, None);
    let mut db = t.pool.acquire().await.unwrap();
    lost_objects::give_up(&mut db, &[key], t.clock.now())
        .await
        .unwrap();
    assert!(gone_at(&t, erasure).await.is_some());
}
