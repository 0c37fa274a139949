//! Two replicas on one database and one keyring.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use line_chat_archive::{
    erasure::keys::Keys,
    seal::{Cipher, DirectoryKeyStore, Error, KeyStore, Keyring},
};
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::{
    archive::Archive,
    healed::Log,
    support::keys::{keyring, secret},
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

#[tokio::test]
async fn a_key_that_is_missing_while_documents_need_it_is_an_alarm() {
    let log = Log::kept();
    let (t, key) = unsent().await;
    let storage = DirectoryKeyStore::open(&t.home.path().join("keyring")).unwrap();
    storage.destroy(&[key]).await.unwrap();
    let shredder = shredder(&t, keyring(t.home.path()));
    assert_eq!(shredder.shred().await.unwrap(), 1);
    assert_eq!(alarms(log, key), 1);
    assert!(is_destroyed(&t, key).await);
}
