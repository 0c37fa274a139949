//! One test's world: a database of its own, a bucket, a pretend LINE with one channel, and the service in between.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeZone, Utc};
use line_chat_archive::{
    MIGRATOR,
    app::service::{Parts, Service},
    clock::Clock,
    embedded::Scratch,
    fake_line::{Channel, Event, FakeLine},
    line::client::LineApi,
    media::Reach,
    objects::Objects,
    records::channels,
};
use sqlx::{ConnectOptions, PgPool, postgres::PgConnectOptions};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;

/// A test's world.
pub struct T {
    /// The service, without a running worker: [`T::run_jobs`] is the worker.
    pub service: Service,
    pub line: FakeLine,
    /// The channel `shop`, whose webhooks go to the service.
    pub shop: Channel,
    /// Stands still until moved.
    pub clock: Clock,
    pub database: PgConnectOptions,
    bucket: TempDir,
}

/// When every test begins.
pub fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 20, 9, 0, 0).unwrap()
}

/// Runs a test in a world of its own, and looks for what it has left behind.
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
        add_channel(&database, &clock, "shop", &shop).await?;
        let service = serve(&database, &clock, &line, &bucket).await?;
        shop.webhook_to(&service.webhook_url("shop"));
        Ok(Self {
            service,
            line,
            shop,
            clock,
            database,
            bucket,
        })
    }

    pub fn pool(&self) -> &PgPool {
        &self.service.pool
    }

    /// Adds another channel to the installation.
    pub async fn channel(&self, slug: &str) -> anyhow::Result<Channel> {
        let channel = self.line.channel(slug);
        add_channel(&self.database, &self.clock, slug, &channel).await?;
        self.service.doors.refresh(self.pool()).await?;
        channel.webhook_to(&self.service.webhook_url(slug));
        Ok(channel)
    }

    /// A second service on the same database and bucket.
    pub async fn replica(&self) -> anyhow::Result<Service> {
        serve(&self.database, &self.clock, &self.line, &self.bucket).await
    }

    /// Ends the service and starts it anew.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let again = self.replica().await?;
        std::mem::replace(&mut self.service, again).stop().await;
        self.shop.webhook_to(&self.service.webhook_url("shop"));
        Ok(())
    }

    /// Does what the worker would have done by now.
    pub async fn run_jobs(&self) -> anyhow::Result<()> {
        self.service.worker.run_until_idle().await?;
        Ok(())
    }

    /// Delivers events in one webhook, which must be acknowledged.
    pub async fn deliver(&self, events: &[Event]) -> anyhow::Result<()> {
        let delivery = self.shop.deliver(events).await;
        ensure!(delivery.acknowledged(), "answered {}", delivery.status);
        Ok(())
    }

    /// The count a query gives.
    pub async fn count(&self, query: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(query).fetch_one(self.pool()).await?)
    }

    /// Files in the bucket, each with its bytes.
    pub fn objects(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut found = vec![];
        let mut directories = vec![self.bucket.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory)? {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
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
    clock: &Clock,
    slug: &str,
    channel: &Channel,
) -> anyhow::Result<()> {
    let mut db = database.connect().await?;
    let (secret, token) = (channel.secret().into(), channel.access_token().into());
    channels::add(&mut db, slug, slug, &secret, Some(&token), clock.now())
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
    let directory = Url::from_directory_path(bucket.path())
        .ok()
        .context("a path")?;
    let line = Url::parse(line.url())?;
    Service::start(Parts {
        database: database.clone(),
        objects: Objects::open(&directory).await?,
        line: LineApi::new(line.clone(), line)?,
        reach: Reach::Anywhere,
        clock: clock.clone(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        public_url: None,
        proxies: Default::default(),
    })
    .await
}
