//! `doctor`: it finds no fault in a healthy archive, and finds every fault that is made.

use std::{fs, os::unix::fs::PermissionsExt, process::ExitCode, sync::Mutex};

use clap::Parser;
use line_chat_archive::{
    app::{
        database::{Database, Purpose},
        doctor::{Level, check, doctor},
        keys,
        stores::Stores,
    },
    clock::Clock,
    config::{Serve, StorageConfig},
    fake_line::{Channel, FakeLine},
    records::channels,
};
use sqlx::{ConnectOptions, Executor};
use tempfile::TempDir;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    storage: StorageConfig,
    #[command(flatten)]
    serve: Serve,
}

/// An archive with a channel on the fake LINE platform; its service is not running.
struct Archive {
    flags: Flags,
    line: FakeLine,
    shop: Channel,
    database: Database,
    _home: TempDir,
}

impl Archive {
    async fn new() -> Self {
        let home = TempDir::new().unwrap();
        // PostgreSQL doesn't run as root, and has to enter this directory.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let line = FakeLine::start().unwrap();
        let data_dir = home.path().join("data");
        let flags = Flags::parse_from([
            "doctor",
            "--data-dir",
            data_dir.to_str().unwrap(),
            "--public-url",
            "https://archive.example.com",
            "--line-api-url",
            line.url(),
            "--line-data-api-url",
            line.url(),
        ]);
        let shop = line.channel("Shop");
        shop.webhook_to("https://archive.example.com/webhook/shop");
        let database = Database::find(&flags.storage, Purpose::Make).await.unwrap();
        database.prepare(Purpose::Make).await.unwrap();
        let mut db = database.connect().await.unwrap();
        keys::make_for_new(&flags.storage, &mut db).await.unwrap();
        let keyring = keys::open(&flags.storage, &mut db, Purpose::Make)
            .await
            .unwrap();
        let (secret, token) = (shop.secret().into(), shop.access_token().into());
        let now = Clock::system().now();
        channels::add(
            &mut db,
            &keyring,
            "shop",
            "Shop",
            &secret,
            Some(&token),
            now,
        )
        .await
        .unwrap();
        Stores::open(&flags.storage, &mut db, Purpose::Make)
            .await
            .unwrap();
        Self {
            flags,
            line,
            shop,
            database,
            _home: home,
        }
    }

    /// The findings of this level.
    async fn found(&self, level: Level) -> Vec<String> {
        let Flags { storage, serve } = &self.flags;
        let findings = check(storage, serve, &self.database).await.unwrap();
        let found = findings
            .into_iter()
            .filter(|finding| finding.level == level);
        found.map(|finding| finding.what).collect()
    }

    /// Runs SQL as the superuser: nobody else can change these settings.
    async fn sql(&self, sql: &'static str) {
        let superuser = self.database.options.clone().username("archive");
        let mut db = superuser.connect().await.unwrap();
        db.execute(sqlx::raw_sql(sql)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_archive_is_well_and_what_goes_wrong_with_it_is_found() {
    let archive = Archive::new().await;
    let said = Mutex::new(String::new());
    let say = |line: &str| *said.lock().unwrap() += &format!("{line}\n");
    let Flags { storage, serve } = &archive.flags;
    let code = doctor(storage, serve, false, &say).await.unwrap();
    let said = said.into_inner().unwrap();
    assert_eq!(
        format!("{code:?}"),
        format!("{:?}", ExitCode::SUCCESS),
        "{said}"
    );
    assert!(!said.contains("bad   "), "{said}");
    for line in [
        "ok       fsync = on",
        "ok       this machine's clock is 0.",
        "ok       shop: LINE takes the access token",
        "ok       shop: LINE sends webhooks here",
        "ok       PUBLIC_URL is https://archive.example.com/",
        "ok       no file was given up",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    for secret in [archive.shop.secret(), archive.shop.access_token()] {
        assert!(!said.contains(&secret));
    }

    // Database settings apply to new connections, so to the next run of `doctor`.
    archive
        .sql(
            "alter database archive set log_statement = 'all';
              alter database archive set log_min_duration_statement = 0;
              alter database archive set log_parameter_max_length = -1;
              alter database archive set log_error_verbosity = 'default';
              alter database archive set wal_recycle = on",
        )
        .await;
    assert_eq!(
        archive.found(Level::Bad).await,
        [
            "log_error_verbosity = default",
            "log_statement = all",
            "log_min_duration_statement = 0",
            "log_parameter_max_length = -1"
        ]
    );
    assert!(
        archive
            .found(Level::Warning)
            .await
            .contains(&"wal_recycle = on".to_owned())
    );
    archive.sql("alter database archive reset all").await;
    assert_eq!(archive.found(Level::Bad).await, [""; 0]);

    archive
        .sql(
            "alter table revision alter column content set statistics -1;
              create table note (words text[]);
              create index note_words on note using gin (words);
              create index note_numbers on note using gin ((array[1, 2]));
              select pg_create_physical_replication_slot('forgotten')",
        )
        .await;
    assert_eq!(
        archive.found(Level::Bad).await,
        [
            "1 replication slot is idle",
            "statistics are taken of content: revision.content",
            "GIN indexes hold words: note_words"
        ]
    );
    archive
        .sql(
            "alter table revision alter column content set statistics 0; drop table note;
              select pg_drop_replication_slot('forgotten')",
        )
        .await;

    archive
        .sql(
            "insert into message (id, channel_id, message_id, conversation_id, kind, occurred_at)
             select gen_random_uuid(), (select id from channel), n, gen_random_uuid(), 'file', now() from generate_series(1, 7) n;
             insert into attachment (id, message_id, channel_id, kind, provider, preview_state, original_state, original_reason)
             select gen_random_uuid(), id, channel_id, kind, 'line', 'none',
                 (array['gone', 'gone', 'failed', 'failed', 'failed', 'waiting', 'kept'])[message_id::int],
                 (array['gone', 'not_found', 'rejected', 'too_large', 'off', 'trouble', null])[message_id::int]
             from message",
        )
        .await;
    let given_up = "3 files were given up: 2 no longer at LINE, 1 could not be fetched";
    assert!(
        archive
            .found(Level::Ok)
            .await
            .contains(&given_up.to_owned())
    );
    archive.sql("delete from message").await;

    let secret = storage.data_dir.join("secret.key");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        archive.found(Level::Bad).await,
        [
            "others than its owner may open the secret key (mode 644)",
            "the keyring cannot be opened"
        ]
    );
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();

    archive
        .shop
        .webhook_to("https://elsewhere.example.com/webhook/shop");
    assert_eq!(
        archive.found(Level::Bad).await,
        ["shop: LINE sends webhooks elsewhere"]
    );
    archive.shop.reissue_token();
    assert_eq!(
        archive.found(Level::Bad).await,
        ["shop: LINE refuses the access token (401)"]
    );
    archive.line.stop().await;
    assert_eq!(archive.found(Level::Bad).await, [""; 0], "LINE may be away");
    let unasked = "shop: LINE could not be asked whether the access token is valid";
    assert!(
        archive
            .found(Level::Warning)
            .await
            .contains(&unasked.to_owned())
    );
    let mut unset = serve.clone();
    unset.public_url = None;
    let findings = check(storage, &unset, &archive.database).await.unwrap();
    let advice = |what: &str| {
        let finding = findings.iter().find(|finding| finding.what == what);
        finding.unwrap().advice.clone()
    };
    assert!(advice(unasked).contains("connection is refused"));
    assert!(advice("PUBLIC_URL is not set").contains("the same PUBLIC_URL as `serve`"));
    unset.public_url = Some("http://archive.example.com".parse().unwrap());
    let findings = check(storage, &unset, &archive.database).await.unwrap();
    let bad = findings.iter().find(|finding| finding.level == Level::Bad);
    assert_eq!(
        bad.unwrap().what,
        "PUBLIC_URL is http://archive.example.com/"
    );

    fs::write(&secret, [7; 32]).unwrap();
    assert_eq!(
        archive.found(Level::Bad).await,
        ["the keyring cannot be opened"]
    );
    archive.database.close().await.unwrap();
}
