//! One archive, one secret key: whoever comes with another is sent away before it has written anything.

use std::fs;

use clap::Parser;
use line_chat_archive::{MIGRATOR, app::keys, config::Places, embedded::Scratch};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    places: Places,
}

/// A process with a data directory, and so a secret key, of its own.
struct Process {
    places: Places,
    db: PgConnection,
    home: TempDir,
}

impl Process {
    async fn new(database: &sqlx::postgres::PgConnectOptions) -> Self {
        let home = TempDir::new().unwrap();
        let flags = Flags::parse_from(["serve", "--data-dir", home.path().to_str().unwrap()]);
        Self {
            places: flags.places,
            db: PgConnection::connect_with(database).await.unwrap(),
            home,
        }
    }

    async fn open(&mut self) -> anyhow::Result<()> {
        keys::open(&self.places, &mut self.db).await.map(drop)
    }
}

#[tokio::test]
async fn of_two_that_begin_on_a_new_database_with_different_secret_keys_one_is_sent_away() {
    let scratch = Scratch::shared().await.unwrap();
    let database = scratch.create_database("two_secrets").await.unwrap();
    let (mut one, mut other) = (Process::new(&database).await, Process::new(&database).await);
    MIGRATOR.run(&mut one.db).await.unwrap();
    let outcomes = tokio::join!(one.open(), other.open());
    let (first, second) = match outcomes {
        (Ok(()), Err(error)) => {
            assert!(error.to_string().contains("belongs to another secret key"));
            (&mut one, &mut other)
        }
        (Err(error), Ok(())) => {
            assert!(error.to_string().contains("belongs to another secret key"));
            (&mut other, &mut one)
        }
        outcomes => panic!("{outcomes:?}"),
    };
    first.open().await.unwrap();
    assert!(second.open().await.is_err(), "again");
    let key = |process: &Process| process.home.path().join("secret.key");
    fs::copy(key(first), key(second)).unwrap();
    second.open().await.unwrap();
}
