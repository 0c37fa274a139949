//! Only `serve` and `demo` create an archive.

use std::fs;

use line_chat_archive::embedded::Scratch;
use sqlx::{ConnectOptions, Connection};

use crate::{archive, process::Home};

/// Every command that needs an archive.
const COMMANDS: &[&[&str]] = &[
    &["migrate"],
    &["channel", "add", "shop"],
    &["channel", "list"],
    &["channel", "rotate-secret", "shop"],
    &["channel", "limit", "shop", "200"],
    &["channel", "remove", "shop"],
    &["operator", "add", "mika", "--role", "admin"],
    &["operator", "list"],
    &["operator", "disable", "mika"],
    &["operator", "enable", "mika"],
    &["operator", "reset-password", "mika"],
    &["attest"],
    &["erasures", "verify"],
    &["erasures", "export", "--out", "exported"],
    &["erasures", "trace", "shop", "468789577898262530"],
    &["doctor"],
];

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn run(home: &Home, command: &[&str], url: Option<&str>) -> crate::process::Ended {
    let mut program = home.program();
    program
        .args(command)
        .current_dir(home.dir.path())
        .env("LINE_CHANNEL_SECRET", SECRET)
        .envs(url.map(|url| ("DATABASE_URL", url)));
    // The tests' PostgreSQL accepts only the account that runs them.
    if url.is_some() && rustix::process::geteuid().is_root() {
        program.env("RUN_AS", "root");
    }
    let password = tempfile::NamedTempFile::new_in(home.dir.path()).unwrap();
    fs::write(password.path(), "a long enough password\n").unwrap();
    program.stdin(password.reopen().unwrap());
    crate::process::ended(program)
}

#[test]
fn a_command_in_an_empty_place_says_so_and_makes_nothing() {
    let home = Home::new();
    for command in COMMANDS {
        let ended = run(&home, command, None);
        assert!(!ended.success, "{command:?}");
        for words in [
            "there is no archive in",
            home.data().to_str().unwrap(),
            "DATA_DIR",
            "DATABASE_URL",
        ] {
            assert!(ended.said.contains(words), "{command:?}: {}", ended.said);
        }
        assert!(!home.data().exists(), "{command:?}");
    }
    // An empty directory is not an archive either.
    fs::create_dir(home.data()).unwrap();
    for command in COMMANDS {
        let ended = run(&home, command, None);
        assert!(
            ended.said.contains("there is no archive in"),
            "{command:?}: {}",
            ended.said
        );
        let found = fs::read_dir(home.data()).unwrap().count();
        assert_eq!(found, 0, "{command:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_on_an_empty_database_says_so_and_makes_nothing() {
    let scratch = Scratch::shared().await.unwrap();
    let options = scratch.create_database("nothing").await.unwrap();
    let url = options.to_url_lossy().to_string();
    let home = Home::new();
    for command in COMMANDS {
        let ended = run(&home, command, Some(&url));
        assert!(!ended.success, "{command:?}");
        assert!(
            ended
                .said
                .contains("there is no archive in the database of DATABASE_URL"),
            "{command:?}: {}",
            ended.said
        );
        assert!(!home.data().join("secret.key").exists(), "{command:?}");
        assert!(!home.data().join("keyring").exists(), "{command:?}");
    }
    let mut db = options.connect().await.unwrap();
    let tables: i64 =
        sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
            .fetch_one(&mut db)
            .await
            .unwrap();
    assert_eq!(tables, 0);
    db.close().await.unwrap();
}

#[test]
fn serve_makes_an_archive_that_every_command_finds_and_that_needs_its_key() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    assert!(home.run(&["channel", "list"]).success);
    assert!(home.run(&["migrate"]).success);
    assert!(serve.stop());
    assert_eq!(home.postmaster(), None);

    // A lost key is not replaced, even before the first message: the next start would refuse the new one.
    let key = home.data().join("secret.key");
    let lost = home.dir.path().join("lost.key");
    fs::rename(&key, &lost).unwrap();
    for command in [
        &["operator", "list"][..],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let ended = home.run(command);
        assert!(!ended.success, "{command:?}");
        for words in [key.to_str().unwrap(), "Restore it"] {
            assert!(ended.said.contains(words), "{command:?}: {}", ended.said);
        }
        assert!(!key.exists(), "{command:?}");
        assert_eq!(home.postmaster(), None, "{command:?}");
    }
    fs::rename(lost, key).unwrap();
    assert!(home.run(&["operator", "list"]).success);
}
