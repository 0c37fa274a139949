//! The environment of one test: its own database, a bucket, a fake LINE platform with one channel, and the service.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeZone, Utc};
use line_chat_archive::{
    MIGRATOR,
    app::{
        self,
        service::{Parts, Service, bind},
    },
    clock::Clock,
    embedded::Scratch,
    fake_line::{Channel, Event, FakeLine},
    line::client::LineApi,
    media::Reach,
    objects::Objects,
    records::channels,
    seal::{Keyring, SealContext},
};
use sqlx::{ConnectOptions, PgPool, postgres::PgConnectOptions};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

use crate::keys;

/// The environment of one test.
pub struct T {
    /// The service, without a running worker: [`T::run_jobs`] does the worker's jobs.
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
    pub bucket: TempDir,
}

/// The time at which every test begins.
pub fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 20, 9, 0, 0).unwrap()
}

/// Runs a test in its own environment, and checks that it leaves nothing over.
pub async fn run(test: impl AsyncFnOnce(&mut T) -> anyhow::Result<()>) {
    let mut t = T::new().await.expect("a world");
    test(&mut t).await.expect("the test");
    t.nothing_is_left_over().await.expect("a tidy end");
    t.service.stop().await;
}

async fn template() -> &'static str {
    static TEMPLATE: OnceCell<()> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(async || {
            let scratch = Scratch::shared().await.expect("a cluster");
            let options = scratch
                .create_database("template")
                .await
                .expect("a template");
            let mut db = options.connect().await.expect("a connection");
            MIGRATOR.run(&mut db).await.expect("a schema");
            sqlx::Connection::close(db).await.expect("an end");
        })
        .await;
    "template"
}

impl T {
    async fn new() -> anyhow::Result<Self> {
        let template = template().await;
        let database = Scratch::shared()
            .await?
            .create_database_from(template)
            .await?;
        let clock = Clock::manual(start());
        let line = FakeLine::start()?;
        line.at(start());
        let shop = line.channel("Shop");
        let bucket = TempDir::new()?;
        let keyring = keys::keyring(bucket.path());
        add_channel(&database, &keyring, &clock, "shop", &shop).await?;
        let service = serve(&database, &clock, &line, &bucket).await?;
        shop.webhook_to(&service.webhook_url("shop"));
        Ok(Self {
            service,
            line,
            shop,
            clock,
            database,
            keyring,
            bucket,
        })
    }

    pub fn pool(&self) -> &PgPool {
        &self.service.pool
    }

    /// A connection as the owner of the database; the service has fewer privileges.
    pub async fn owner(&self) -> anyhow::Result<sqlx::PgConnection> {
        Ok(self.database.connect().await?)
    }

    /// Adds another channel to the installation.
    pub async fn channel(&self, slug: &str) -> anyhow::Result<Channel> {
        let channel = self.line.channel(slug);
        add_channel(&self.database, &self.keyring, &self.clock, slug, &channel).await?;
        self.service.channels.refresh(self.pool()).await?;
        channel.webhook_to(&self.service.webhook_url(slug));
        Ok(channel)
    }

    /// Starts a service on another database, with the same bucket and keyring.
    pub async fn serve_on(&self, database: &PgConnectOptions) -> anyhow::Result<Service> {
        serve(database, &self.clock, &self.line, &self.bucket).await
    }

    /// Starts a second service on the same database and bucket.
    pub async fn replica(&self) -> anyhow::Result<Service> {
        serve(&self.database, &self.clock, &self.line, &self.bucket).await
    }

    /// Stops the service and starts it again.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let again = self.replica().await?;
        std::mem::replace(&mut self.service, again).stop().await;
        self.shop.webhook_to(&self.service.webhook_url("shop"));
        Ok(())
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

    /// All encrypted documents of the database, decrypted: column, webhook event id if it is an event, and bytes.
    /// Documents that cannot be decrypted any more are left out.
    pub async fn documents(&self) -> anyhow::Result<Vec<(&'static str, String, Vec<u8>)>> {
        type Sealed = (Uuid, String, Vec<u8>);
        type Table = (&'static str, fn(Uuid) -> SealContext<'static>, &'static str);
        let tables: [Table; 4] = [
            (
                "revision.content",
                SealContext::Message,
                "select message_id, webhook_event_id, content from revision",
            ),
            (
                "event.content",
                SealContext::Event,
                "select id, webhook_event_id, content from event",
            ),
            (
                "contact.profile",
                SealContext::Profile,
                "select id, '', profile from contact where profile is not null",
            ),
            (
                "conversation.summary",
                SealContext::Summary,
                "select id, '', summary from conversation where summary is not null",
            ),
        ];
        let mut found = vec![];
        for (lies, context, query) in tables {
            let rows: Vec<Sealed> = sqlx::query_as(query).fetch_all(self.pool()).await?;
            for (id, event, sealed) in rows {
                if let Some(plain) = keys::opened(&self.keyring, context(id), &sealed).await {
                    found.push((lies, event, plain));
                }
            }
        }
        Ok(found)
    }

    /// Whether these are the bytes of an event that is kept.
    pub async fn keeps(&self, raw: &[u8]) -> anyhow::Result<bool> {
        let kept = self.documents().await?;
        Ok(kept
            .iter()
            .any(|(lies, _, plain)| lies.ends_with("content") && plain == raw))
    }

    /// The objects in use, decrypted.
    pub async fn opened_objects(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let rows: Vec<(String, Vec<u8>)> =
            sqlx::query_as("select key, sealed_key from object where sealed_key is not null")
                .fetch_all(self.pool())
                .await?;
        let mut found = vec![];
        for (key, head) in rows {
            if let Ok(bytes) = std::fs::read(self.bucket.path().join("objects").join(&key)) {
                found.extend(keys::opened_object(&self.keyring, &key, &head, bytes).await);
            }
        }
        Ok(found)
    }

    /// The bytes of every file in the bucket, without the copy of the ledger.
    pub fn objects(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut found = vec![];
        let mut directories = vec![self.bucket.path().join("objects")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory)? {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
                    true if entry.file_name() == "ledger" => {}
                    true => directories.push(entry.path()),
                    false => found.push(std::fs::read(entry.path())?),
                }
            }
        }
        Ok(found)
    }

    async fn nothing_is_left_over(&self) -> anyhow::Result<()> {
        ensure!(
            self.line.unexpected().is_empty(),
            "asked of LINE: {:?}",
            self.line.unexpected()
        );
        let kept = self
            .count("select count(*) from object where state = 'kept'")
            .await?;
        let rows = self.count("select count(*) from object").await?;
        let files = i64::try_from(self.objects()?.len())?;
        ensure!(
            files <= rows && kept <= files,
            "{rows} object rows ({kept} kept), {files} files"
        );
        Ok(())
    }
}

async fn add_channel(
    database: &PgConnectOptions,
    keyring: &Keyring,
    clock: &Clock,
    slug: &str,
    channel: &Channel,
) -> anyhow::Result<()> {
    let mut db = database.connect().await?;
    let (secret, token) = (channel.secret().into(), channel.access_token().into());
    let now = clock.now();
    channels::add(&mut db, keyring, slug, slug, &secret, Some(&token), now)
        .await?
        .context("a free slug")?;
    Ok(())
}

async fn serve(
    database: &PgConnectOptions,
    clock: &Clock,
    line: &FakeLine,
    bucket: &TempDir,
) -> anyhow::Result<Service> {
    let directory = Url::from_directory_path(bucket.path().join("objects"))
        .ok()
        .context("a path")?;
    let with_keys = Url::from_directory_path(bucket.path().join("keyring"))
        .ok()
        .context("a path")?;
    let line = Url::parse(line.url())?;
    Service::start(Parts {
        database: database.clone(),
        keyring: keys::keyring(bucket.path()),
        signer: app::keys::signer(&keys::secret(bucket.path())),
        copies: vec![Objects::open(&with_keys).await?],
        objects: Objects::open(&directory).await?,
        line: LineApi::new(line.clone(), line)?,
        reach: Reach::Anywhere,
        clock: clock.clone(),
        listener: bind(SocketAddr::from(([127, 0, 0, 1], 0)))?,
        public_url: None,
        proxies: Default::default(),
        stickers: false,
    })
    .await
}
