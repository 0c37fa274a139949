//! One archive has one secret key: a process with another one is refused before it writes anything.

use std::fs;

use chrono::{DateTime, Duration, Utc};
use clap::Parser;
use line_chat_archive::{
    MIGRATOR,
    app::{database::Purpose, keys},
    config::StorageConfig,
    embedded::Scratch,
    records::{self, operators},
    seal::Keyring,
};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    storage: StorageConfig,
}

/// A process with its own data directory, and so its own secret key.
struct Process {
    storage: StorageConfig,
    db: PgConnection,
    home: TempDir,
}

impl Process {
    async fn new(database: &sqlx::postgres::PgConnectOptions) -> Self {
        let home = TempDir::new().unwrap();
        let flags = Flags::parse_from(["serve", "--data-dir", home.path().to_str().unwrap()]);
        Self {
            storage: flags.storage,
            db: PgConnection::connect_with(database).await.unwrap(),
            home,
        }
    }

    /// A process that has made an archive in an empty database, and its keyring.
    async fn with_archive(database: &sqlx::postgres::PgConnectOptions) -> (Self, Keyring) {
        let mut process = Self::new(database).await;
        MIGRATOR.run(&mut process.db).await.unwrap();
        keys::make_for_new(&process.storage, &mut process.db)
            .await
            .unwrap();
        let keyring = keys::open(&process.storage, &mut process.db, Purpose::Make).await;
        (process, keyring.unwrap())
    }

    async fn open(&mut self) -> anyhow::Result<()> {
        keys::open(&self.storage, &mut self.db, Purpose::Make)
            .await
            .map(drop)
    }
}

#[tokio::test]
async fn of_two_that_begin_on_a_new_database_with_different_secret_keys_one_is_sent_away() {
    let scratch = Scratch::shared().await.unwrap();
    let database = scratch.create_database("two_secrets").await.unwrap();
    let (mut one, mut other) = (Process::new(&database).await, Process::new(&database).await);
    MIGRATOR.run(&mut one.db).await.unwrap();
    // Both processes find a new archive, and create their own key.
    for process in [&mut one, &mut other] {
        keys::make_for_new(&process.storage, &mut process.db)
            .await
            .unwrap();
    }
    let outcomes = tokio::join!(one.open(), other.open());
    let (first, second) = match outcomes {
        (Ok(()), Err(error)) => {
            assert!(error.to_string().contains("with another secret key"));
            (&mut one, &mut other)
        }
        (Err(error), Ok(())) => {
            assert!(error.to_string().contains("with another secret key"));
            (&mut other, &mut one)
        }
        outcomes => panic!("{outcomes:?}"),
    };
    first.open().await.unwrap();
    assert!(second.open().await.is_err(), "again");
    let key = |process: &Process| process.home.path().join("secret.key");
    fs::copy(key(first), key(second)).unwrap();
    assert!(second.open().await.is_err(), "its keyring is another one");
    let keyring = first.home.path().join("keyring");
    second.storage.keyring_url = Url::from_directory_path(keyring).ok();
    second.open().await.unwrap();
}

/// Creates keys, and assigns one of them to a conversation.
async fn use_a_new_key(keyring: &Keyring, db: &mut PgConnection, now: DateTime<Utc>) -> Uuid {
    let ids = keyring.new_ids();
    records::keys::announce(db, &ids, now, now + Duration::minutes(1))
        .await
        .unwrap();
    keyring.make(&ids).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let taken = records::wrapping::key_for(&mut tx, keyring, Uuid::now_v7(), 1, now).await;
    tx.commit().await.unwrap();
    taken.unwrap().key.id()
}

/// The documented restore: yesterday's database, and the keyring as it is now.
#[tokio::test]
async fn a_restored_database_is_opened_though_its_newest_key_was_destroyed_since() {
    let scratch = Scratch::shared().await.unwrap();
    let database = scratch.create_database("restored").await.unwrap();
    let (mut process, keyring) = Process::with_archive(&database).await;
    let [path, aside] = ["keyring", "aside"].map(|name| process.home.path().join(name));
    let now = "2026-11-20T09:00:00Z".parse().unwrap();
    let key = use_a_new_key(&keyring, &mut process.db, now).await;
    keyring.destroy(&[key]).await.unwrap();
    process.open().await.unwrap();

    // An old copy of the keyring is refused, because it would bring destroyed keys back; so is a missing keyring.
    crate::ledger::copy(&path, &aside).unwrap();
    let later = keys::open(&process.storage, &mut process.db, Purpose::Make)
        .await
        .unwrap();
    use_a_new_key(&later, &mut process.db, now + Duration::hours(1)).await;
    process.open().await.unwrap();
    for replaced in [true, false] {
        fs::remove_dir_all(&path).unwrap();
        if replaced {
            fs::rename(&aside, &path).unwrap();
        }
        let refused = format!("{:#}", process.open().await.unwrap_err());
        let words = match replaced {
            true => "the keyring is missing, is an old copy, or belongs to another database",
            false => "keyring is missing: its disk is not mounted",
        };
        assert!(refused.contains(words), "{refused}");
    }
}

#[tokio::test]
async fn rows_of_before_there_were_codes_are_believed_once_and_none_that_is_added_later() {
    let scratch = Scratch::shared().await.unwrap();
    let database = scratch.create_database("codes").await.unwrap();
    let mut process = Process::new(&database).await;
    MIGRATOR.run(&mut process.db).await.unwrap();
    keys::make_for_new(&process.storage, &mut process.db)
        .await
        .unwrap();
    let add = async |db: &mut PgConnection, login: &str| {
        let add = "insert into operator (id, login, password_hash, role, all_channels)
             values (gen_random_uuid(), $1, 'x', 'admin', true)";
        sqlx::query(add).bind(login).execute(db).await.unwrap();
    };
    let genuine = async |process: &mut Process| -> Vec<String> {
        let keyring = keys::open_attested(&process.storage, &mut process.db, Purpose::Make)
            .await
            .unwrap();
        let listed = operators::list(&mut process.db, &keyring).await.unwrap();
        let genuine = listed.into_iter().filter(|operator| operator.is_genuine);
        genuine.map(|operator| operator.login).collect()
    };
    add(&mut process.db, "keiko").await;
    assert_eq!(genuine(&mut process).await, ["keiko"]);
    add(&mut process.db, "eve").await;
    assert_eq!(genuine(&mut process).await, ["keiko"]);
    // Everything in the database that records that the MACs were added once.
    let undone = "update operator set mac = null; delete from installation";
    sqlx::raw_sql(undone)
        .execute(&mut process.db)
        .await
        .unwrap();
    assert_eq!(genuine(&mut process).await, [""; 0]);
}

/// An archive of a version without marks gets them from the next `serve`, if its keyring is there.
#[tokio::test]
async fn an_earlier_versions_keyring_is_marked_if_it_is_the_right_one() {
    let scratch = Scratch::shared().await.unwrap();
    let database = scratch.create_database("unmarked").await.unwrap();
    let (mut process, keyring) = Process::with_archive(&database).await;
    let now = "2026-11-20T09:00:00Z".parse().unwrap();
    use_a_new_key(&keyring, &mut process.db, now).await;
    let [path, aside] = ["keyring", "aside"].map(|name| process.home.path().join(name));
    let mark = path.join("mark");
    fs::remove_file(&mark).unwrap();
    sqlx::query("delete from marked_place")
        .execute(&mut process.db)
        .await
        .unwrap();

    keys::open(&process.storage, &mut process.db, Purpose::Change)
        .await
        .unwrap();
    assert!(!mark.exists(), "no command marks");
    fs::rename(&path, &aside).unwrap();
    for made in [false, true] {
        if made {
            fs::create_dir(&path).unwrap();
        }
        assert!(process.open().await.is_err());
        assert_eq!(path.exists(), made);
        assert!(!mark.exists());
    }
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    process.open().await.unwrap();
    assert!(mark.exists());
}
