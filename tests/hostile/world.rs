//! A service with one channel, and a browser in which an operator is signed in.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use chrono::{TimeZone, Utc};
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
    records::{
        channels,
        operators::{self, NewOperator},
    },
    web::password,
};
use reqwest::{Client, Response, header, redirect};
use sqlx::ConnectOptions;
use tempfile::TempDir;
use url::{Url, form_urlencoded};
use uuid::Uuid;

use crate::{keys, support::browser::Browser};

/// The password of every operator here.
const PASSWORD: &str = "correct horse battery";
/// The timeout where no limit is promised.
pub const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

pub struct World {
    pub service: Service,
    /// Stands still until the test moves it.
    pub clock: Clock,
    /// Keeps the fake platform running.
    _line: FakeLine,
    pub shop: Channel,
    _bucket: TempDir,
}

impl World {
    pub async fn new() -> anyhow::Result<Self> {
        let database = Scratch::shared()
            .await?
            .create_database(&format!("hostile_{}", Uuid::new_v4().simple()))
            .await?;
        let start = Utc.with_ymd_and_hms(2026, 11, 20, 9, 0, 0).unwrap();
        let clock = Clock::manual(start);
        let line = FakeLine::start()?;
        line.at(start);
        let shop = line.channel("Shop");
        let bucket = TempDir::new()?;
        let keyring = keys::keyring(bucket.path());
        let mut db = database.connect().await?;
        MIGRATOR.run(&mut db).await?;
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
        let new = NewOperator {
            login: "mia",
            password_hash: &password::hash(PASSWORD)?,
            role: "compliance",
            channels: None,
        };
        operators::add(&mut db, &keyring, &new, start)
            .await?
            .context("a free login")?;
        sqlx::Connection::close(db).await?;
        let directory = Url::from_directory_path(bucket.path().join("objects"))
            .ok()
            .context("a path")?;
        let api = Url::parse(line.url())?;
        let service = Service::start(Parts {
            database,
            keyring,
            signer: app::keys::signer(&keys::secret(bucket.path())),
            copies: vec![],
            objects: Objects::open(&directory).await?,
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
            clock,
            _line: line,
            shop,
            _bucket: bucket,
        })
    }

    /// Delivers events in one webhook; fails unless it is acknowledged.
    pub async fn deliver(&self, events: &[Event]) -> anyhow::Result<()> {
        let delivery = self.shop.deliver(events).await;
        ensure!(delivery.acknowledged(), "answered {}", delivery.status);
        Ok(())
    }

    pub async fn run_jobs(&self) -> anyhow::Result<()> {
        self.service.worker.run_until_idle().await?;
        Ok(())
    }

    pub fn site(&self) -> String {
        let url = self.service.public_url.as_str();
        url.trim_end_matches('/').to_owned()
    }

    /// Every attachment's id, with the message id of its message.
    pub async fn attachments(&self) -> anyhow::Result<Vec<(Uuid, String)>> {
        let query = "select a.id, m.message_id from attachment a join message m on m.id = a.message_id order by 2";
        Ok(sqlx::query_as(query).fetch_all(&self.service.pool).await?)
    }

    pub async fn conversations(&self) -> anyhow::Result<Vec<Uuid>> {
        let query = "select id from conversation order by id";
        Ok(sqlx::query_scalar(query)
            .fetch_all(&self.service.pool)
            .await?)
    }

    /// A browser in which `mia` is signed in.
    pub async fn desk(&self) -> anyhow::Result<Browser> {
        let browser = Browser::start().await?;
        browser.goto(&format!("{}/login", self.site())).await?;
        browser.type_in("input[name=login]", "mia").await?;
        browser.type_in("input[name=password]", PASSWORD).await?;
        browser.click("button").await?;
        browser.wait_for("#list", PAGE_TIMEOUT).await?;
        Ok(browser)
    }

    /// A session of `mia` without a browser.
    pub async fn visitor(&self) -> anyhow::Result<Visitor> {
        let http = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .build()?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("login", "mia")
            .append_pair("password", PASSWORD)
            .finish();
        let answer = http
            .post(format!("{}/login", self.site()))
            .header(header::ORIGIN, self.site())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await?;
        let cookie = answer.headers().get(header::SET_COOKIE);
        let cookie = cookie.context("a cookie")?.to_str()?;
        Ok(Visitor {
            http,
            site: self.site(),
            cookie: cookie.split(';').next().unwrap_or_default().to_owned(),
        })
    }
}

/// A signed-in operator's session.
pub struct Visitor {
    http: Client,
    site: String,
    cookie: String,
}

impl Visitor {
    pub async fn gets(&self, path: &str) -> anyhow::Result<Response> {
        let request = self.http.get(format!("{}{path}", self.site));
        Ok(request.header(header::COOKIE, &self.cookie).send().await?)
    }
}
