//! The environment of one test: a service with one channel, and visitors with a cookie each.

use std::{net::SocketAddr, time::Duration};

use chrono::{DateTime, TimeZone, Utc};
use line_chat_archive::{
    MIGRATOR,
    app::{
        self,
        service::{Parts, Service, bind},
    },
    clock::Clock,
    embedded::Scratch,
    fake_line::{Channel, FakeLine},
    line::client::LineApi,
    media::Reach,
    records::{
        channels,
        operators::{self, NewOperator},
    },
    seal::Keyring,
    web::password,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header, redirect};
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

use crate::{
    bucket::Bucket,
    keys::{keyring, secret},
};

/// The password of every operator.
pub const PASSWORD: &str = "correct horse battery";

/// The environment of one test.
pub struct Site {
    pub service: Service,
    pub line: FakeLine,
    pub shop: Channel,
    pub clock: Clock,
    database: PgConnectOptions,
    pub keyring: Keyring,
    pub bucket: Bucket,
    _keys: TempDir,
}

/// The time at which every test begins.
pub fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 20, 9, 0, 0).unwrap()
}

async fn template() -> &'static str {
    static TEMPLATE: OnceCell<()> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(async || {
            let scratch = Scratch::shared().await.unwrap();
            let options = scratch.create_database("template").await.unwrap();
            let mut db = options.connect().await.unwrap();
            MIGRATOR.run(&mut db).await.unwrap();
            sqlx::Connection::close(db).await.unwrap();
        })
        .await;
    "template"
}

/// The hash of [`PASSWORD`], computed once.
async fn phc() -> &'static str {
    static PHC: OnceCell<String> = OnceCell::const_new();
    PHC.get_or_init(async || password::hash(PASSWORD).unwrap())
        .await
}

impl Site {
    /// A service with the channel `shop` and without operators.
    pub async fn new() -> Self {
        Self::seen_at(None).await
    }

    /// The same, with pictures of stickers enabled.
    pub async fn with_stickers() -> Self {
        Self::made(None, true).await
    }

    /// The same, with this `PUBLIC_URL`.
    pub async fn seen_at(public_url: Option<&str>) -> Self {
        Self::made(public_url, false).await
    }

    async fn made(public_url: Option<&str>, stickers: bool) -> Self {
        let template = template().await;
        let scratch = Scratch::shared().await.unwrap();
        let database = scratch.create_database_from(template).await.unwrap();
        let clock = Clock::manual(start());
        let line = FakeLine::start().unwrap();
        line.at(start());
        let (bucket, keys) = (Bucket::new().await, TempDir::new().unwrap());
        let address = Url::parse(line.url()).unwrap();
        let service = Service::start(Parts {
            database: database.clone(),
            keyring: keyring(keys.path()),
            signer: app::keys::signer(&secret(keys.path())),
            copies: vec![],
            objects: bucket.objects.clone(),
            line: LineApi::new(address.clone(), address).unwrap(),
            reach: Reach::Anywhere,
            clock: clock.clone(),
            listener: bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap(),
            public_url: public_url.map(|url| url.parse().unwrap()),
            proxies: Default::default(),
            stickers,
        })
        .await
        .unwrap();
        let shop = line.channel("Shop");
        let site = Self {
            service,
            line,
            shop,
            clock,
            database,
            keyring: keyring(keys.path()),
            bucket,
            _keys: keys,
        };
        site.add("shop", &site.shop).await;
        site
    }

    /// Adds another channel to the archive.
    pub async fn channel(&self, slug: &str) -> Channel {
        let channel = self.line.channel(slug);
        self.add(slug, &channel).await;
        channel
    }

    async fn add(&self, slug: &str, channel: &Channel) {
        let (secret, token) = (channel.secret().into(), channel.access_token().into());
        let now = self.clock.now();
        let (mut db, keyring) = (self.db().await, &self.keyring);
        let added = channels::add(&mut db, keyring, slug, slug, &secret, Some(&token), now).await;
        added.unwrap().unwrap();
        self.service
            .channels
            .refresh(&self.service.pool)
            .await
            .unwrap();
        channel.webhook_to(&format!("http://{}/webhook/{slug}", self.service.address));
    }

    pub async fn db(&self) -> PgConnection {
        self.database.connect().await.unwrap()
    }

    /// The single value that a query returns.
    pub async fn one<T>(&self, query: &'static str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        sqlx::query_scalar(query)
            .fetch_one(&mut self.db().await)
            .await
            .unwrap()
    }

    /// Runs all jobs that are due.
    pub async fn run_jobs(&self) {
        self.service.worker.run_until_idle().await.unwrap();
    }

    /// Adds an operator who sees these channels, or all.
    pub async fn operator(&self, login: &str, role: &str, slugs: Option<&[&str]>) {
        let mut db = self.db().await;
        let mut ids = vec![];
        for slug in slugs.unwrap_or_default() {
            let found = channels::find(&mut db, &self.keyring, slug).await;
            ids.push(found.unwrap().yes().unwrap());
        }
        let new = NewOperator {
            login,
            password_hash: phc().await,
            role,
            channels: slugs.map(|_| &ids[..]),
        };
        operators::add(&mut db, &self.keyring, &new, self.clock.now())
            .await
            .unwrap()
            .unwrap();
    }

    /// Resets a password like `operator reset-password`.
    pub async fn reset_password(&self, login: &str, password: &str) {
        let hash = password::hash(password).unwrap();
        let mut db = self.db().await;
        let done = operators::set_password(&mut db, &self.keyring, login, &hash).await;
        done.unwrap().yes().expect("there is such an operator");
    }

    /// A visitor without a session.
    pub fn stranger(&self) -> Visitor {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Visitor {
            client,
            address: self.service.address,
            cookie: None,
        }
    }

    /// A visitor who is signed in.
    pub async fn visitor(&self, login: &str) -> Visitor {
        let mut visitor = self.stranger();
        let answer = visitor.sign_in(login, PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        visitor.cookie = Some(cookie_of(&answer));
        visitor
    }

    /// Adds an administrator; returns a visitor who is signed in as them.
    pub async fn admin(&self) -> Visitor {
        self.operator("admin", "admin", None).await;
        self.visitor("admin").await
    }
}

/// The session cookie that an answer sets, as `name=value`.
pub fn cookie_of(answer: &Response) -> String {
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// A cookie that an answer sets, as `name=value`.
pub fn set_cookie(answer: &Response, name: &str) -> Option<String> {
    let mut set = answer.headers().get_all(header::SET_COOKIE).iter();
    let prefix = format!("{name}=");
    let cookie = set.find_map(|cookie| cookie.to_str().ok()?.strip_prefix(&prefix))?;
    Some(format!("{prefix}{}", cookie.split(';').next()?))
}

/// A client with a cookie, like a browser.
#[derive(Clone)]
pub struct Visitor {
    client: Client,
    address: SocketAddr,
    pub cookie: Option<String>,
}

impl Visitor {
    /// A request for a path, with the cookie, and with the `Accept` header of a browser that opens a page.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self
            .client
            .request(method, format!("http://{}{path}", self.address))
            .header(header::ACCEPT, "text/html");
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        request
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// The page at a path; the status has to be 200.
    pub async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    /// This page and all that follow, as long as a page has a link with these words.
    pub async fn walk(&self, from: &str, words: &str) -> Vec<String> {
        let mut pages = vec![self.page(from).await];
        while let Some(link) = link(pages.last().unwrap(), words) {
            pages.push(self.page(&link).await);
            assert!(pages.len() < 50, "round in circles");
        }
        pages
    }

    pub async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status().as_u16()
    }

    /// Posts a form as if from a page of this site.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        self.request(Method::POST, path)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .unwrap()
    }

    pub async fn sign_in(&self, login: &str, password: &str) -> Response {
        self.post("/login", &[("login", login), ("password", password)])
            .await
    }
}

/// All texts between `from` and `to` in a page.
pub fn between<'a>(page: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let parts = page.split(from).skip(1);
    parts
        .filter_map(|rest| Some(rest.split_once(to)?.0))
        .collect()
}

/// The address of a link to another page, found by its words.
pub fn link(page: &str, words: &str) -> Option<String> {
    let links = between(page, "<a class=\"more\" href=\"", "</a>");
    let link = links.into_iter().find(|link| link.ends_with(words))?;
    Some(link.split('"').next()?.replace("&#38;", "&"))
}

/// The ids of the conversations that a page of the list shows.
pub fn listed(page: &str) -> Vec<Uuid> {
    let ids = between(page, r#"<li id="c-"#, "\"");
    ids.into_iter().map(|id| id.parse().unwrap()).collect()
}
