//! Two replicas on one database, one keyring and one bucket.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use line_chat_archive::{
    app::{database_clock, service::Service},
    clock::Clock,
    erasure::keys::Keys,
    fake_line::Call,
    records,
    seal::{Cipher, DirectoryKeyStore, Error, KeyStore, Keyring},
};
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::{
    archive::Archive,
    healed::Log,
    support::{
        keys::{keyring, secret},
        world::{self, World},
    },
};

const MINUTE: Duration = Duration::from_secs(61);
const ALARM: &str = "a key is not in the keyring";

/// A step of a replica.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    BeforeItLooks,
    AfterItDestroyed,
}

/// The keyring's storage, as seen by a replica that waits at one step until the test has met it there twice.
#[derive(Debug)]
struct Held {
    storage: DirectoryKeyStore,
    step: Step,
    meeting: Arc<Barrier>,
}

impl Held {
    async fn at(&self, step: Step) {
        if step == self.step {
            self.meeting.wait().await;
            self.meeting.wait().await;
        }
    }
}

impl KeyStore for Held {
    fn put<'a>(&'a self, keys: &'a [(Uuid, Vec<u8>)]) -> BoxFuture<'a, Result<(), Error>> {
        self.storage.put(keys)
    }

    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<u8>, Error>> {
        Box::pin(async move {
            self.at(Step::BeforeItLooks).await;
            self.storage.get(id).await
        })
    }

    fn name(&self, id: Uuid) -> String {
        self.storage.name(id)
    }

    fn destroy<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.storage.destroy(ids).await?;
            self.at(Step::AfterItDestroyed).await;
            Ok(())
        })
    }
}

/// The part of a replica that destroys keys.
fn shredder(t: &Archive, keyring: Keyring) -> Keys {
    Keys::new(t.service.pool.clone(), t.clock.clone(), keyring)
}

/// A replica that waits at `step`, and the barrier to meet it at.
fn held(t: &Archive, step: Step) -> (Keys, Arc<Barrier>) {
    let (home, meeting) = (t.home.path(), Arc::new(Barrier::new(2)));
    let held = Held {
        storage: DirectoryKeyStore::open(&home.join("keyring")).unwrap(),
        step,
        meeting: meeting.clone(),
    };
    let keyring = Keyring::new(&secret(home), Arc::new(held), Cipher::Sealed);
    (shredder(t, keyring), meeting)
}

/// An archive in which one of two messages was unsent, and the id of the key that has to be destroyed for it.
async fn unsent() -> (Archive, Uuid) {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let unsent = t.receives(&aoi.sends_file("a", &b"a"[..]).make()).await;
    t.receives(&aoi.sends_file("b", &b"b"[..]).make()).await;
    t.unsends(unsent).await;
    t.clock.advance(MINUTE);
    let key = sqlx::query_scalar("select id from keyring_key where dirty_at is not null")
        .fetch_one(&t.pool)
        .await
        .unwrap();
    (t, key)
}

fn alarms(log: &Log, key: Uuid) -> usize {
    let (text, key) = (log.text(), key.to_string());
    let lines = text.lines();
    lines
        .filter(|line| line.contains(ALARM) && line.contains(&key))
        .count()
}

async fn is_destroyed(t: &Archive, key: Uuid) -> bool {
    let rows =
        "select count(*) from keyring_key where closed_at is not null or dirty_at is not null";
    let found = keyring(t.home.path()).find(key).await;
    t.count(rows).await == 0 && matches!(found, Err(Error::NoKey))
}

#[tokio::test]
async fn a_key_that_another_replica_destroys_meanwhile_is_no_alarm() {
    let log = Log::kept();
    for step in [Step::BeforeItLooks, Step::AfterItDestroyed] {
        let (t, key) = unsent().await;
        let (slow, meeting) = held(&t, step);
        let quick = shredder(&t, keyring(t.home.path()));
        // Spare keys for what survives.
        quick.supply().await.unwrap();
        slow.supply().await.unwrap();
        let (slow_done, ()) = tokio::join!(slow.shred(), async {
            meeting.wait().await;
            assert_eq!(quick.shred().await.unwrap(), 1, "{step:?}");
            meeting.wait().await;
        });
        assert_eq!(slow_done.unwrap(), 1, "{step:?}");
        assert!(is_destroyed(&t, key).await, "{step:?}");
        assert_eq!(alarms(log, key), 0, "{step:?}");
    }
}

/// A file of the keyring was lost. Nobody has destroyed its keys, and it may come back: no erasure is complete by that.
#[tokio::test]
async fn a_key_that_was_lost_is_not_said_to_be_destroyed() {
    let log = Log::kept();
    let (t, key) = unsent().await;
    let keyring = keyring(t.home.path());
    let file = t.home.path().join("keyring").join(keyring.file_of(key));
    let aside = t.home.path().join("aside");
    let shredder = shredder(&t, keyring);
    shredder.supply().await.unwrap();
    std::fs::rename(&file, &aside).unwrap();
    assert!(shredder.shred().await.is_err());
    assert!(!is_destroyed(&t, key).await);
    let name = file.file_name().unwrap().to_str().unwrap();
    let is_told = |line: &str| line.contains("their files were lost") && line.contains(name);
    assert!(log.text().lines().any(is_told));
    std::fs::rename(&aside, &file).unwrap();
    assert_eq!(shredder.shred().await.unwrap(), 1);
    assert!(is_destroyed(&t, key).await);
}

/// A storage that can be read, and from which nothing can be deleted.
#[derive(Debug)]
struct ReadOnly(DirectoryKeyStore);

impl KeyStore for ReadOnly {
    fn put<'a>(&'a self, keys: &'a [(Uuid, Vec<u8>)]) -> BoxFuture<'a, Result<(), Error>> {
        self.0.put(keys)
    }

    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<u8>, Error>> {
        self.0.get(id)
    }

    fn name(&self, id: Uuid) -> String {
        self.0.name(id)
    }

    fn destroy<'a>(&'a self, _: &'a [Uuid]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Err(std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem).into()) })
    }
}

/// The disk was read-only when the key was to be destroyed, and then its file was lost.
#[tokio::test]
async fn a_key_that_could_not_be_destroyed_and_was_lost_later_is_not_said_to_be_destroyed() {
    let (t, key) = unsent().await;
    let home = t.home.path();
    let storage = DirectoryKeyStore::open(&home.join("keyring")).unwrap();
    let read_only = Keyring::new(&secret(home), Arc::new(ReadOnly(storage)), Cipher::Sealed);
    let before = shredder(&t, read_only);
    before.supply().await.unwrap();
    assert!(before.shred().await.is_err());
    let keyring = keyring(home);
    std::fs::rename(
        home.join("keyring").join(keyring.file_of(key)),
        home.join("aside"),
    )
    .unwrap();
    let later = shredder(&t, keyring);
    later.supply().await.unwrap();
    assert!(later.shred().await.is_err());
    assert_eq!(
        t.count("select count(*) from erasure where keys_gone_at is not null")
            .await,
        0
    );
}

/// Somebody says that a file of the keyring is lost for good, so that the erasure does not wait for ever.
#[tokio::test]
async fn an_erasure_does_not_wait_for_a_key_that_was_given_up() {
    type Damage = fn(&std::path::Path);
    let damages: [Damage; 3] = [
        |file| std::fs::remove_file(file).unwrap(),
        |file| std::fs::write(file, "cut").unwrap(),
        |file| {
            let flipped = std::fs::read(file)
                .unwrap()
                .iter()
                .map(|byte| byte ^ 1)
                .collect::<Vec<_>>();
            std::fs::write(file, flipped).unwrap();
        },
    ];
    for damage in damages {
        let (t, key) = unsent().await;
        let keyring = keyring(t.home.path());
        let shredder = shredder(&t, keyring.clone());
        shredder.supply().await.unwrap();
        damage(&t.home.path().join("keyring").join(keyring.file_of(key)));
        assert!(shredder.shred().await.is_err());
        let mut db = t.owner().await.unwrap();
        assert_eq!(records::keys::doubtful(&mut db).await.unwrap(), [key]);
        records::keys::give_up(&mut db, &[key]).await.unwrap();
        assert_eq!(shredder.shred().await.unwrap(), 1);
        let waiting = "select count(*) from keyring_key where closed_at is not null";
        assert_eq!(t.count(waiting).await, 0);
        let complete = "select count(*) from erasure where keys_gone_at is not null";
        assert_eq!(t.count(complete).await, 1);
        drop(db);
        t.stop().await;
    }
}

/// After a restore from a backup keys may be missing because they were destroyed since.
#[tokio::test]
async fn a_key_that_is_missing_after_a_restore_is_destroyed_and_its_documents_are_an_alarm() {
    let log = Log::kept();
    let (t, key) = unsent().await;
    let storage = DirectoryKeyStore::open(&t.home.path().join("keyring")).unwrap();
    storage.destroy(&[key]).await.unwrap();
    let mut db = t.owner().await.unwrap();
    records::keys::may_be_gone(&mut db, "").await.unwrap();
    let shredder = shredder(&t, keyring(t.home.path()));
    assert_eq!(shredder.shred().await.unwrap(), 1);
    assert_eq!(alarms(log, key), 1);
    assert!(is_destroyed(&t, key).await);
}

/// A clock of a machine that is `wrong` by so much.
fn clock(wrong: TimeDelta) -> Clock {
    Clock::manual(world::start() + wrong).following_database()
}

#[tokio::test]
async fn two_replicas_whose_clocks_are_ten_minutes_apart_fetch_no_file_twice() {
    for clocks in [[0, 10], [10, 0]].map(|pair| pair.map(|wrong| clock(TimeDelta::minutes(wrong))))
    {
        let (home, database) = (TempDir::new().unwrap(), world::database().await.unwrap());
        let t = World::with(home, database.clone(), Cipher::Sealed, |parts| {
            parts.clock = clocks[0].clone();
        });
        let t = t.await.unwrap();
        let home = t.home.path();
        let parts = world::parts(home, database, Cipher::Sealed, &t.line, &clocks[1]).await;
        let replica = Service::start(parts.unwrap()).await.unwrap();
        let aoi = t.shop.user("Aoi");
        let sent = [1, 2, 3].map(|n| aoi.sends_file(&format!("{n}"), vec![n; 100_000]).make());
        t.deliver(&sent).await.unwrap();
        let gates = sent.each_ref().map(|event| {
            let trouble = t.line.trouble(Call::Content);
            trouble.of(event.message_id()).held_after(70_000)
        });
        let working = tokio::spawn({
            let worker = t.service.worker.clone();
            async move { worker.run_until_idle().await }
        });
        for gate in &gates {
            gate.reached().await;
        }
        replica.worker.run_until_idle().await.unwrap();
        for gate in &gates {
            gate.open();
        }
        working.await.unwrap().unwrap();
        // A file that the other replica took for given up would be fetched again now.
        clocks.iter().for_each(|clock| clock.advance(60 * MINUTE));
        replica.worker.run_until_idle().await.unwrap();
        for event in &sent {
            assert_eq!(t.line.calls(Call::Content, event.message_id()), 1);
        }
        let kept = "select count(*) from attachment where original_state = 'kept'";
        assert_eq!(t.count(kept).await.unwrap(), 3);
        replica.stop().await;
        t.stop().await;
    }
}

#[tokio::test]
async fn a_clock_that_is_set_while_the_service_runs_is_corrected_by_the_next_measurement() {
    let options = world::database().await.unwrap();
    let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
    let (mine, other) = (clock(TimeDelta::zero()), clock(TimeDelta::minutes(10)));
    let near = |one: &Clock, other: &Clock| (one.now() - other.now()).abs() < TimeDelta::minutes(1);
    for _ in 0..2 {
        assert!(!near(&mine, &other));
        database_clock::follow(&pool, &mine).await.unwrap();
        database_clock::follow(&pool, &other).await.unwrap();
        assert!(near(&mine, &other));
        mine.advance(Duration::from_secs(600));
    }
    let alone = Clock::manual(world::start());
    database_clock::follow(&pool, &alone).await.unwrap();
    assert_eq!(alone.now(), world::start());
}
