//! Objects that are missing or damaged in the object store: what a person sees, and how they come back.

use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use line_chat_archive::fake_line::{Call, Event, pictures};
use url::Url;
use uuid::Uuid;

use crate::{site::Site, support::visitor::Visitor};

/// A change to the file of an object.
type Damage = (&'static str, fn(&PathBuf, Vec<u8>));

fn flip(path: &PathBuf, mut bytes: Vec<u8>, at: usize) {
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

const DAMAGES: [Damage; 8] = [
    ("missing", |path, _| fs::remove_file(path).unwrap()),
    ("empty", |path, _| fs::write(path, "").unwrap()),
    ("as short as an empty file", |path, bytes| {
        fs::write(path, &bytes[..16]).unwrap()
    }),
    ("one byte short", |path, bytes| {
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap()
    }),
    ("cut after a chunk", |path, bytes| {
        fs::write(path, &bytes[..65_552]).unwrap()
    }),
    ("another first bit", |path, bytes| flip(path, bytes, 0)),
    ("another last bit", |path, bytes| {
        let last = bytes.len() - 1;
        flip(path, bytes, last);
    }),
    ("zeros", |path, bytes| {
        fs::write(path, vec![0; bytes.len()]).unwrap()
    }),
];

async fn original(site: &Site, event: &Event) -> (String, PathBuf) {
    let (id, key): (Uuid, String) = sqlx::query_as(
        "select a.id, a.original_key from attachment a join message m on m.id = a.message_id where m.message_id = $1",
    )
    .bind(event.message_id())
    .fetch_one(&mut site.db().await)
    .await
    .unwrap();
    (
        format!("/attachments/{id}"),
        Url::parse(&site.bucket.words())
            .unwrap()
            .to_file_path()
            .unwrap()
            .join(key),
    )
}

/// A message with this file, which was fetched.
async fn kept(site: &Site, bytes: Vec<u8>) -> Event {
    let sent = site.shop.user("Aoi").sends_file("a.bin", bytes).await;
    site.run_jobs().await;
    Event::clone(&sent.unwrap())
}

async fn answer(visitor: &Visitor, path: &str) -> (u16, Vec<u8>) {
    let answer = visitor.get(path).await;
    let status = answer.status().as_u16();
    (
        status,
        answer.bytes().await.map(Vec::from).unwrap_or_default(),
    )
}

#[tokio::test]
async fn a_damaged_file_is_called_so_and_fetched_again_from_line() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let sent = vec![7; 200_000];
    let event = kept(&site, sent.clone()).await;
    for (what, damage) in DAMAGES {
        let (path, file) = original(&site, &event).await;
        assert_eq!(
            answer(&admin, &path).await,
            (200, sent.clone()),
            "before: {what}"
        );
        damage(&file, fs::read(&file).unwrap());
        let (status, body) = answer(&admin, &path).await;
        let words = String::from_utf8_lossy(&body);
        assert_eq!(status, 503, "{what}");
        assert!(words.contains("This file is damaged"), "{what}");
        site.service.worker.scrub().await.unwrap();
        site.run_jobs().await;
    }
    let (path, _) = original(&site, &event).await;
    assert_eq!(answer(&admin, &path).await, (200, sent));
    assert_eq!(
        site.one::<i64>(
            "select count(*) from object where damaged_at is not null and state = 'kept'"
        )
        .await,
        0
    );
}

/// The address of the conversation, and of its gallery's files.
async fn pages(site: &Site) -> [String; 2] {
    let id: Uuid = site.one("select id from conversation").await;
    [
        format!("/conversations/{id}"),
        format!("/conversations/{id}/media?of=files"),
    ]
}

#[tokio::test]
async fn the_message_of_a_damaged_file_says_so_and_whether_line_still_has_it() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let event = kept(&site, vec![7; 1000]).await;
    let pages = pages(&site).await;
    let (path, file) = original(&site, &event).await;
    flip(&file, fs::read(&file).unwrap(), 500);
    let (_, body) = answer(&admin, &path).await;
    let words = String::from_utf8_lossy(&body);
    assert!(words.contains("fetches it from LINE again"), "{words}");
    site.service.worker.scrub().await.unwrap();
    for page in &pages {
        let page = admin.page(page).await;
        let words = "Damaged here. It is being fetched from LINE again.";
        assert!(page.contains(words) && !page.contains("Waiting for LINE"));
    }
    let (status, body) = answer(&admin, &path).await;
    let words = String::from_utf8_lossy(&body);
    assert!(
        status == 503 && words.contains("is being fetched from LINE again"),
        "{words}"
    );

    site.line.trouble(Call::Content).always().answers(404);
    for _ in 0..40 {
        site.clock.advance(Duration::from_secs(7200));
        site.run_jobs().await;
    }
    let later = site.visitor("admin").await;
    for page in &pages {
        let page = later.page(page).await;
        let words = "Damaged here, and LINE no longer has it.";
        assert!(page.contains(words) && page.contains("Ask LINE again"));
    }
    let (status, body) = answer(&later, &path).await;
    let words = String::from_utf8_lossy(&body);
    assert!(
        status == 503 && words.contains("LINE no longer has it") && !words.contains("from LINE"),
        "{words}"
    );
}

/// Damages the file of a key, or removes it.
type KeyDamage = (&'static str, fn(&PathBuf, &[u8]));

const KEY_DAMAGES: [KeyDamage; 3] = [
    ("missing", |path, _| fs::remove_file(path).unwrap()),
    ("cut", |path, bytes| fs::write(path, &bytes[..10]).unwrap()),
    ("altered", |path, bytes| {
        fs::write(path, bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).unwrap()
    }),
];

#[tokio::test]
async fn a_damaged_key_is_not_called_a_damaged_file_and_a_key_put_back_opens_it() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let sent = vec![7; 1000];
    for (what, damage) in KEY_DAMAGES {
        // Each conversation has a key of its own, which the service has not read before.
        let one = site.shop.user(what);
        let event = one.sends_file("a.bin", sent.clone()).await.unwrap();
        site.run_jobs().await;
        let (path, _) = original(&site, &event).await;
        let (conversation, key): (Uuid, Uuid) = sqlx::query_as(
            "select m.conversation_id, k.id from message m join keyring_key k on k.subject = m.conversation_id
             where m.message_id = $1",
        )
        .bind(event.message_id())
        .fetch_one(&mut site.db().await)
        .await
        .unwrap();
        let keyring = site.home.path().join("keyring");
        let file = keyring.join(site.keyring.file_of(key));
        let whole = fs::read(&file).unwrap();
        damage(&file, &whole);
        let (status, body) = answer(&admin, &path).await;
        let words = String::from_utf8_lossy(&body);
        assert_eq!(status, 503, "{what}: {words}");
        assert!(!words.contains("file is damaged"), "{what}: {words}");
        for expected in ["key is missing or damaged", "doctor", "Erasures"] {
            assert!(words.contains(expected), "{what}: {expected}: {words}");
        }
        for page in ["", "/media?of=files"] {
            let page = admin
                .page(&format!("/conversations/{conversation}{page}"))
                .await;
            assert!(page.contains("Its key is missing or damaged"), "{what}");
            assert!(page.contains("can be read again"), "{what}");
        }
        fs::write(&file, &whole).unwrap();
        assert_eq!(answer(&admin, &path).await, (200, sent.clone()), "{what}");
    }
    let suspects = "select count(*) from object where suspected_at is not null";
    assert_eq!(site.one::<i64>(suspects).await, 0, "the files are whole");
}

/// A bit in the middle is found once bytes have been sent: the response ends early, and never has other bytes.
#[tokio::test]
async fn a_response_that_finds_damage_midway_is_cut_off() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let sent = vec![7; 400_000];
    let event = kept(&site, sent.clone()).await;
    let (path, file) = original(&site, &event).await;
    flip(&file, fs::read(&file).unwrap(), 150_000);
    let answer = admin.get(&path).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err(), "it is cut off");
    site.service.worker.scrub().await.unwrap();
    site.run_jobs().await;
    let (path, _) = original(&site, &event).await;
    assert_eq!(admin.get(&path).await.bytes().await.unwrap(), sent);
}

#[tokio::test]
async fn a_damaged_file_that_line_has_deleted_waits_for_a_copy() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let sent = vec![7; 1000];
    let event = kept(&site, sent.clone()).await;
    let (path, file) = original(&site, &event).await;
    let copy = fs::read(&file).unwrap();
    flip(&file, copy.clone(), 500);
    assert_eq!(answer(&admin, &path).await.0, 503);
    site.line.trouble(Call::Content).always().answers(404);
    site.service.worker.scrub().await.unwrap();
    for _ in 0..40 {
        site.clock.advance(Duration::from_secs(7200));
        site.run_jobs().await;
    }
    assert_eq!(
        site.one::<String>("select original_state from attachment")
            .await,
        "gone"
    );
    site.service.worker.compare().await.unwrap();
    assert_eq!(
        site.one::<String>("select original_state from attachment")
            .await,
        "gone",
        "the damaged one is not taken"
    );
    let later = site.visitor("admin").await;
    assert!(later.page("/erasures").await.contains("missing or damaged"));
    fs::write(&file, copy).unwrap();
    site.service.worker.compare().await.unwrap();
    assert_eq!(answer(&later, &path).await, (200, sent));
    assert!(!later.page("/erasures").await.contains("missing or damaged"));
}

/// Nobody has opened the page: the scrub finds it, and a week later the next one.
#[tokio::test]
async fn the_scrub_reads_all_keys_and_objects_each_week() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let aoi = site.shop.user("Aoi");
    let mut events = vec![];
    for n in 0..3 {
        let photo = pictures::photo(n, 64, 64);
        events.push(aoi.sends_image(photo).await.unwrap());
    }
    site.run_jobs().await;
    let scrub = async || {
        for _ in 0..10 {
            site.service.worker.scrub().await.unwrap();
        }
        site.run_jobs().await;
    };
    site.clock.advance(TimeDelta::minutes(11).to_std().unwrap());
    scrub().await;
    let finished = "select count(*) from scrub where finished_at is not null and kind = 'objects'";
    assert_eq!(site.one::<i64>(finished).await, 1);
    let objects = "select count(*) from object where state = 'kept'";
    let objects = site.one::<i64>(objects).await;
    assert_eq!(
        site.one::<i64>("select count from scrub where kind = 'objects'")
            .await,
        objects
    );
    assert!(
        site.one::<i64>("select count from scrub where kind = 'keys'")
            .await
            > 1000
    );
    assert!(admin.page("/erasures").await.contains("were last read"));
    let (_, file) = original(&site, &events[1]).await;
    flip(&file, fs::read(&file).unwrap(), 20);
    scrub().await;
    assert_eq!(site.one::<i64>(finished).await, 1, "none is due");
    site.clock.advance(TimeDelta::days(7).to_std().unwrap());
    scrub().await;
    assert_eq!(site.one::<i64>(finished).await, 2);
    let (path, again) = original(&site, &events[1]).await;
    assert_ne!(again, file, "it was fetched again");
    assert_eq!(site.visitor("admin").await.get(&path).await.status(), 200);
}

/// In the place of a file, a disk that hangs: an open of the file does not return until this is dropped.
struct Hung(PathBuf);

impl Hung {
    fn instead_of(file: PathBuf) -> Self {
        fs::remove_file(&file).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&file).status();
        assert!(made.unwrap().success());
        Self(file)
    }

    /// Lets every open return that waits, so that the test can end.
    async fn heals(self) {
        let writer = OpenOptions::new().read(true).write(true).open(&self.0);
        fs::remove_file(&self.0).unwrap();
        drop(writer.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_does_not_wait_for_a_disk_that_hangs() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let event = kept(&site, vec![7; 1000]).await;
    let other = kept(&site, vec![8; 1000]).await;
    let (path, file) = original(&site, &event).await;
    let answers_in_time = async |path: &str| {
        let begun = Instant::now();
        let (status, body) = answer(&admin, path).await;
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{:?}",
            begun.elapsed()
        );
        (status, String::from_utf8_lossy(&body).into_owned())
    };

    let objects = Hung::instead_of(file);
    let (status, words) = answers_in_time(&path).await;
    assert!(
        status == 503 && words.contains("Files do not answer"),
        "{words}"
    );
    assert_eq!(answers_in_time("/conversations").await.0, 200);
    assert_eq!(admin.status("/readyz").await, 200);
    // More often than there are threads for files.
    futures_util::future::join_all((0..130).map(|_| admin.get(&path))).await;
    let (path, _) = original(&site, &other).await;
    assert_eq!(answers_in_time(&path).await.0, 200, "another file");
    objects.heals().await;

    let ben = site.shop.user("Ben");
    ben.sends_text("hello").await.unwrap();
    let (conversation, key): (Uuid, Uuid) = sqlx::query_as(
        "select c.id, k.id from conversation c join keyring_key k on k.subject = c.id order by c.id desc limit 1",
    )
    .fetch_one(&mut site.db().await)
    .await
    .unwrap();
    let keys = Hung::instead_of(
        site.home
            .path()
            .join("keyring")
            .join(site.keyring.file_of(key)),
    );
    let (status, words) = answers_in_time(&format!("/conversations/{conversation}")).await;
    assert!(
        status == 503 && words.contains("Keys do not answer"),
        "{words}"
    );
    assert_eq!(admin.status("/readyz").await, 200);
    assert!(ben.sends_text("is stored").await.is_ok());
    keys.heals().await;
}

/// A file that is missing when its message is unsent may be somewhere else: the page of erasures says that it is waited for.
#[tokio::test]
async fn a_file_that_is_missing_at_an_unsend_keeps_the_erasure_open_on_the_page() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let event = kept(&site, vec![7; 1000]).await;
    let (_, file) = original(&site, &event).await;
    let aside = file.with_extension("aside");
    fs::rename(&file, &aside).unwrap();
    site.shop.user("Aoi").unsends(&event).await.unwrap();
    site.run_jobs().await;
    let page = admin.page("/erasures").await;
    assert!(page.contains("1 file to be deleted cannot be found"));
    fs::rename(&aside, &file).unwrap();
    site.clock.advance(Duration::from_secs(11 * 60));
    site.run_jobs().await;
    assert!(!file.exists());
    let page = site.visitor("admin").await.page("/erasures").await;
    assert!(!page.contains("cannot be found"));
}
