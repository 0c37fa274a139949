//! A service in its own data directory, which contains every file that the service writes anywhere.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
};

use anyhow::{Context, ensure};
use chrono::{TimeZone, Utc};
use line_chat_archive::{
    MIGRATOR,
    app::{
        keys,
        service::{Parts, Service, bind},
    },
    clock::Clock,
    embedded::Embedded,
    fake_line::{Channel, Event, FakeLine},
    line::client::LineApi,
    media::Reach,
    objects::Objects,
    records::channels,
    seal::{Cipher, DirectoryKeyStore, Keyring, SecretKey},
};
use sqlx::ConnectOptions;
use tempfile::TempDir;
use url::Url;

/// The log of this process, at a far more detailed level than a service uses. It is in the build's directory, where the
/// next run overwrites it: a temporary directory in a static is never removed.
static LOG: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("residue");
    fs::create_dir_all(&directory).expect("a directory");
    let log = File::create(directory.join("service.log")).expect("a log");
    tracing_subscriber::fmt()
        .with_env_filter("debug,line_chat_archive=trace,sqlx=trace")
        .with_writer(Mutex::new(log))
        .with_ansi(false)
        .init();
    directory
});

pub struct World {
    pub service: Service,
    /// Keeps the fake platform running.
    _line: FakeLine,
    pub shop: Channel,
    pub clock: Clock,
    embedded: Embedded,
    home: TempDir,
}

impl World {
    pub async fn new(cipher: Cipher) -> anyhow::Result<Self> {
        LazyLock::force(&LOG);
        let home = TempDir::new()?;
        // PostgreSQL doesn't run as root, and has to enter this directory.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711))?;
        let data_dir = home.path().join("data");
        let embedded = Embedded::start(&data_dir, &|line| eprintln!("{line}")).await?;
        ensure!(
            !data_dir.join("postgres").is_symlink(),
            "its files are below the directory"
        );
        let database = embedded.connect_options("archive");
        let start = Utc.with_ymd_and_hms(2026, 11, 20, 9, 0, 0).unwrap();
        let clock = Clock::manual(start);
        let line = FakeLine::start()?;
        line.at(start);
        let shop = line.channel("Shop");
        let mut db = database.connect().await?;
        MIGRATOR.run(&mut db).await?;
        let secret = SecretKey::load_or_make(&data_dir.join("secret.key"))?;
        let key_store = DirectoryKeyStore::open(&data_dir.join("keyring"))?;
        let keyring = Keyring::new(&secret, Arc::new(key_store), cipher);
        let signer = keys::signer(&secret);
        let (secret, token) = (shop.secret().into(), shop.access_token().into());
        channels::add(
            &mut db,
            &keyring,
            "shop",
            "shop",
            &secret,
            Some(&token),
            start,
        )
        .await?
        .context("a free slug")?;
        sqlx::Connection::close(db).await?;
        let bucket = Url::from_directory_path(data_dir.join("objects"))
            .ok()
            .context("a path")?;
        let api = Url::parse(line.url())?;
        let service = Service::start(Parts {
            database,
            keyring,
            signer,
            copies: vec![],
            objects: Objects::open(&bucket).await?,
            line: LineApi::new(api.clone(), api)?,
            reach: Reach::Anywhere,
            clock: clock.clone(),
            listener: bind(SocketAddr::from(([127, 0, 0, 1], 0)))?,
            public_url: None,
            proxies: Default::default(),
            stickers: false,
        })
        .await?;
        shop.webhook_to(&service.webhook_url("shop"));
        Ok(Self {
            service,
            _line: line,
            shop,
            clock,
            embedded,
            home,
        })
    }

    /// Delivers events in webhooks of twenty.
    pub async fn deliver(&self, events: &[Event]) -> anyhow::Result<()> {
        for some in events.chunks(20) {
            let delivery = self.shop.deliver(some).await;
            ensure!(delivery.acknowledged(), "answered {}", delivery.status);
        }
        Ok(())
    }

    pub async fn run_jobs(&self) -> anyhow::Result<()> {
        self.service.worker.run_until_idle().await?;
        Ok(())
    }

    /// The data directory: the database with its write-ahead log and server log, the objects, and everything else.
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Everything except PostgreSQL's data files: its server log, the objects, and the log of this process.
    pub fn outside_the_database(&self) -> Vec<PathBuf> {
        let data_dir = self.data_dir();
        let mut places = vec![data_dir.join("postgres/log"), log()];
        for entry in fs::read_dir(&data_dir).unwrap() {
            let path = entry.unwrap().path();
            if path != data_dir.join("postgres") {
                places.push(path);
            }
        }
        places
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        self.service.stop().await;
        self.embedded.stop().await?;
        Ok(())
    }
}

/// The directory of this process's log.
pub fn log() -> PathBuf {
    LOG.clone()
}
