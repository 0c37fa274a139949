//! Two commands at the same time.

use std::time::{Duration, Instant};

use line_chat_archive::embedded::Scratch;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};

use crate::{
    channels::{ONE, TWO},
    process::{Home, LONGEST, ended},
};

/// Waits until two other connections wait for a lock in this database.
async fn two_wait(db: &mut PgConnection) {
    let waiting =
        "select count(distinct pid) from pg_locks l join pg_database d on d.oid = l.database
                   where not granted and datname = current_database()";
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < LONGEST, "they do not wait");
        let waiting: i64 = sqlx::query_scalar(waiting)
            .fetch_one(&mut *db)
            .await
            .unwrap();
        if waiting >= 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_channels_that_are_given_one_secret_at_once_one_gets_it() {
    let scratch = Scratch::shared().await.unwrap();
    let options = scratch.create_database("at_once").await.unwrap();
    let url = options.to_url_lossy().to_string();
    let home = Home::new();
    let key = home.dir.path().join("key");
    let program = |args: &[&str], secret: &str| {
        let mut program = home.program();
        program.args(args).env("LINE_CHANNEL_SECRET", secret);
        program
            .env("DATABASE_URL", &url)
            .env("SECRET_KEY_FILE", &key);
        // The tests' PostgreSQL accepts only the account that runs them.
        if rustix::process::geteuid().is_root() {
            program.env("RUN_AS", "root");
        }
        program
    };
    assert!(ended(program(&["keys", "new", key.to_str().unwrap()], ONE)).success);
    let made = crate::process::served(program(&["serve", "--listen", "127.0.0.1:0"], ONE));
    assert!(made.success, "{}", made.said);

    let mut db = options.connect().await.unwrap();
    for (verb, secret) in [
        ("add", TWO),
        ("rotate-secret", "3333333333333333333333333333333a"),
    ] {
        let mut tx = db.begin().await.unwrap();
        tx.execute("lock table channel_secret in access exclusive mode")
            .await
            .unwrap();
        let both = ["shop-a", "shop-b"].map(|slug| {
            let program = program(&["channel", verb, slug], secret);
            std::thread::spawn(move || ended(program))
        });
        two_wait(&mut tx).await;
        tx.commit().await.unwrap();
        let ends = both.map(|one| one.join().unwrap());
        let refused: Vec<_> = ends.iter().filter(|end| !end.success).collect();
        assert_eq!(refused.len(), 1, "{verb}: {ends:?}");
        assert!(refused[0].said.contains("secret"), "{verb}: {ends:?}");
        // The refused channel gets its own secret for the next round.
        for slug in ["shop-a", "shop-b"] {
            let _ = ended(program(
                &["channel", "add", slug],
                "4444444444444444444444444444444b",
            ));
        }
    }
}
