//! The environment of one test: its own database, a directory, a fake LINE platform with one channel, and the service.
//! Each test binary adds what only its own tests need.

use std::path::Path;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeZone, Utc};
use line_chat_archive::{
    MIGRATOR,
    app::service::{Parts, Service},
    clock::Clock,
    embedded::Scratch,
    fake_line::{Channel, Event, FakeLine},
    records::{
        channels,
        operators::{self, NewOperator},
    },
    seal::{Cipher, Keyring},
    web::password,
};
use sqlx::{ConnectOptions, PgConnection, PgPool, postgres::PgConnectOptions};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;

use super::{keys, visitor::Visitor};

/// The password of every operator.
pub const PASSWORD: &str = "correct horse battery";

/// A service with the channel `shop`, whose parts are all in this process.
pub struct World {
    /// The service, without a running worker: [`World::run_jobs`] does the worker's jobs.
    pub service: Service,
    pub line: FakeLine,
    /// The channel `shop`, whose webhooks go to the service.
    pub shop: Channel,
    /// Stands still until the test moves it.
    pub clock: Clock,
    pub database: PgConnectOptions,
    /// Decrypts data that the service has encrypted.
    pub keyring: Keyring,
    /// The directory with `objects`, `keyring` and the secret key.
    pub home: TempDir,
}

/// The time at which every test begins.
pub fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 20, 9, 0, 0).unwrap()
}

/// A migrated database of its own, a copy of one that is migrated once for each process.
pub async fn database() -> anyhow::Result<PgConnectOptions> {
    static TEMPLATE: OnceCell<()> = OnceCell::const_new();
    let scratch = Scratch::shared().await?;
    let template = async || {
        let options = scratch.create_database("template").await?;
        migrate(&options).await
    };
    TEMPLATE.get_or_try_init(template).await?;
    Ok(scratch.create_database_from("template").await?)
}

/// Creates the archive's tables in an empty database.
pub async fn migrate(database: &PgConnectOptions) -> anyhow::Result<()> {
    let mut db = database.connect().await?;
    MIGRATOR.run(&mut db).await?;
    sqlx::Connection::close(db).await?;
    Ok(())
}

/// The hash of [`PASSWORD`], computed once, because one takes a tenth of a second.
async fn password_hash() -> anyhow::Result<&'static str> {
    static HASH: OnceCell<String> = OnceCell::const_new();
    let hash = HASH
        .get_or_try_init(async || password::hash(PASSWORD))
        .await?;
    Ok(hash)
}

/// The parts of a service in this directory.
pub async fn parts(
    home: &Path,
    database: PgConnectOptions,
    cipher: Cipher,
    line: &FakeLine,
    clock: &Clock,
) -> anyhow::Result<Parts> {
    let (secret, keyring) = (keys::secret(home), keys::keyring_of(home, cipher));
    let line = Url::parse(line.url())?;
    Parts::in_directory(home, &secret, keyring, database, line, clock.clone()).await
}

impl World {
    pub async fn new() -> anyhow::Result<Self> {
        Self::with(TempDir::new()?, database().await?, Cipher::Sealed, |_| ()).await
    }

    /// A world in this directory, on this migrated database, whose service starts after `edit` has changed its parts.
    pub async fn with(
        home: TempDir,
        database: PgConnectOptions,
        cipher: Cipher,
        edit: impl FnOnce(&mut Parts),
    ) -> anyhow::Result<Self> {
        let clock = Clock::manual(start());
        let line = FakeLine::start()?;
        line.at(start());
        let mut parts = parts(home.path(), database.clone(), cipher, &line, &clock).await?;
        edit(&mut parts);
        let world = Self {
            service: Service::start(parts).await?,
            shop: line.channel("Shop"),
            line,
            clock,
            database,
            keyring: keys::keyring_of(home.path(), cipher),
            home,
        };
        world.add("shop", &world.shop).await?;
        Ok(world)
    }

    pub async fn stop(self) {
        self.service.stop().await;
    }

    /// Adds another channel to the archive.
    pub async fn channel(&self, slug: &str) -> anyhow::Result<Channel> {
        let channel = self.line.channel(slug);
        self.add(slug, &channel).await?;
        Ok(channel)
    }

    async fn add(&self, slug: &str, channel: &Channel) -> anyhow::Result<()> {
        let (secret, token) = (channel.secret().into(), channel.access_token().into());
        let (mut db, now) = (self.owner().await?, self.clock.now());
        channels::add(
            &mut db,
            &self.keyring,
            slug,
            slug,
            &secret,
            Some(&token),
            now,
        )
        .await?
        .context("a free slug")?;
        self.service.channels.refresh(self.pool()).await?;
        channel.webhook_to(&format!("http://{}/webhook/{slug}", self.service.address));
        Ok(())
    }

    pub fn pool(&self) -> &PgPool {
        &self.service.pool
    }

    /// A connection as the owner of the database; the service has fewer privileges.
    pub async fn owner(&self) -> anyhow::Result<PgConnection> {
        Ok(self.database.connect().await?)
    }

    /// Runs all jobs that are due.
    pub async fn run_jobs(&self) -> anyhow::Result<()> {
        self.service.worker.run_until_idle().await?;
        Ok(())
    }

    /// Delivers events in one webhook; fails unless it is acknowledged.
    pub async fn deliver(&self, events: &[Event]) -> anyhow::Result<()> {
        let delivery = self.shop.deliver(events).await;
        ensure!(delivery.acknowledged(), "answered {}", delivery.status);
        Ok(())
    }

    /// The single number that a query returns.
    pub async fn count(&self, query: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(query).fetch_one(self.pool()).await?)
    }

    /// Adds an operator who sees these channels, or all.
    pub async fn operator(
        &self,
        login: &str,
        role: &str,
        slugs: Option<&[&str]>,
    ) -> anyhow::Result<()> {
        let mut db = self.owner().await?;
        let mut ids = vec![];
        for slug in slugs.unwrap_or_default() {
            let found = channels::find(&mut db, &self.keyring, slug).await?;
            ids.push(found.yes().context("such a channel")?);
        }
        let new = NewOperator {
            login,
            password_hash: password_hash().await?,
            role,
            channels: slugs.map(|_| &ids[..]),
        };
        operators::add(&mut db, &self.keyring, &new, self.clock.now())
            .await?
            .context("a free login")?;
        Ok(())
    }

    /// A visitor without a session.
    pub fn stranger(&self) -> Visitor {
        Visitor::new(self.service.address)
    }

    /// A visitor who is signed in.
    pub async fn visitor(&self, login: &str) -> Visitor {
        let mut visitor = self.stranger();
        visitor.begin_session(login, PASSWORD).await;
        visitor
    }
}
