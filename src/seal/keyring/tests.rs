use super::*;
use crate::seal::{DirectoryKeyStore, SealContext};

fn keyring(dir: &std::path::Path, secret: &SecretKey) -> Keyring {
    let key_store = DirectoryKeyStore::open(dir).unwrap();
    Keyring::new(secret, Arc::new(key_store), Cipher::Sealed)
}

#[tokio::test]
async fn a_key_is_found_by_another_process_until_it_is_destroyed() {
    let dir = tempfile::tempdir().unwrap();
    let secret = SecretKey::random();
    let one = keyring(dir.path(), &secret);
    let other = keyring(dir.path(), &secret);
    one.check().await.unwrap();
    assert!(one.take(Uuid::nil(), 1).is_none());
    one.make(&one.new_ids()).await.unwrap();
    let subject = Uuid::now_v7();
    let key = one.take(subject, 1).unwrap().key;
    let context = SealContext::Event(subject);
    let sealed = key.seal(context, b"said").unwrap();
    let found = other.find(key.id()).await.unwrap();
    assert_eq!(found.open(context, &sealed).unwrap(), b"said");

    one.destroy(&[key.id()]).await.unwrap();
    other.forget_found();
    assert!(matches!(other.find(key.id()).await, Err(Error::NoKey)));
    assert_ne!(one.take(subject, 1).unwrap().key.id(), key.id());
}

#[tokio::test]
async fn a_key_covers_so_many_items_of_one_subject() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = keyring(dir.path(), &SecretKey::random());
    keyring.make(&keyring.new_ids()).await.unwrap();
    let subject = Uuid::now_v7();
    let first = keyring.take(subject, 1).unwrap();
    assert!(!first.claimed);
    keyring.claimed(subject, first.key.id());
    for _ in 1..COVERS {
        let taken = keyring.take(subject, 1).unwrap();
        assert!(taken.claimed && taken.key.id() == first.key.id());
    }
    let next = keyring.take(subject, 1).unwrap();
    assert!(!next.claimed && next.key.id() != first.key.id());
    assert_ne!(
        keyring.take(Uuid::now_v7(), 1).unwrap().key.id(),
        next.key.id()
    );
}

#[tokio::test]
async fn without_the_secret_the_keyring_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mine = keyring(dir.path(), &SecretKey::random());
    mine.make(&mine.new_ids()).await.unwrap();
    let id = mine.spare()[0];
    let stranger = keyring(dir.path(), &SecretKey::random());
    assert!(matches!(stranger.find(id).await, Err(Error::Unreadable)));
    assert!(mine.find(id).await.is_ok());
}

#[tokio::test]
async fn nothing_more_is_sealed_under_a_key_that_a_reader_did_not_find() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = keyring(dir.path(), &SecretKey::random());
    keyring.make(&keyring.new_ids()).await.unwrap();
    let subject = Uuid::now_v7();
    let first = keyring.take(subject, 1).unwrap().key.id();
    std::fs::remove_file(dir.path().join(keyring.file_of(first))).unwrap();
    assert!(keyring.find(first).await.is_err());
    assert_ne!(keyring.take(subject, 1).unwrap().key.id(), first);
}
