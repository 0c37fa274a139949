//! The environment of one test: the world with a bucket that can break, and what the pages show.

use std::ops::Deref;

use line_chat_archive::{
    app::service::Parts, fake_line::Channel, records::operators, seal::Cipher, web::password,
};
use reqwest::{Response, header};
use sqlx::PgConnection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    bucket::Bucket,
    support::{
        visitor::Visitor,
        world::{self, World},
    },
};

/// The environment of one test.
pub struct Site {
    world: World,
    pub bucket: Bucket,
}

impl Deref for Site {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Site {
    /// A service with the channel `shop` and without operators.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// The same, with pictures of stickers enabled.
    pub async fn with_stickers() -> Self {
        Self::with(|parts| parts.stickers = true).await
    }

    /// The same, with this `PUBLIC_URL`.
    pub async fn seen_at(public_url: &str) -> Self {
        Self::with(|parts| parts.public_url = Some(public_url.parse().unwrap())).await
    }

    async fn with(edit: impl FnOnce(&mut Parts)) -> Self {
        let (home, database) = (TempDir::new().unwrap(), world::database().await.unwrap());
        let bucket = Bucket::new().await;
        let objects = bucket.objects.clone();
        let world = World::with(home, database, Cipher::Sealed, |parts| {
            parts.objects = objects;
            edit(parts);
        });
        Self {
            world: world.await.unwrap(),
            bucket,
        }
    }

    /// Adds another channel to the archive.
    pub async fn channel(&self, slug: &str) -> Channel {
        self.world.channel(slug).await.unwrap()
    }

    pub async fn db(&self) -> PgConnection {
        self.owner().await.unwrap()
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
        self.world.run_jobs().await.unwrap();
    }

    /// Adds an operator who sees these channels, or all.
    pub async fn operator(&self, login: &str, role: &str, slugs: Option<&[&str]>) {
        self.world.operator(login, role, slugs).await.unwrap();
    }

    /// Resets a password like `operator reset-password`.
    pub async fn reset_password(&self, login: &str, password: &str) {
        let hash = password::hash(password).unwrap();
        let mut db = self.db().await;
        let done = operators::set_password(&mut db, &self.keyring, login, &hash).await;
        done.unwrap().yes().expect("there is such an operator");
    }

    /// Adds an administrator; returns a visitor who is signed in as them.
    pub async fn admin(&self) -> Visitor {
        self.operator("admin", "admin", None).await;
        self.visitor("admin").await
    }
}

impl Visitor {
    /// This page and all that follow, as long as a page has a link with these words.
    pub async fn walk(&self, from: &str, words: &str) -> Vec<String> {
        let mut pages = vec![self.page(from).await];
        while let Some(link) = link(pages.last().unwrap(), words) {
            pages.push(self.page(&link).await);
            assert!(pages.len() < 50, "round in circles");
        }
        pages
    }
}

/// A cookie that an answer sets, as `name=value`.
pub fn set_cookie(answer: &Response, name: &str) -> Option<String> {
    let mut set = answer.headers().get_all(header::SET_COOKIE).iter();
    let prefix = format!("{name}=");
    let cookie = set.find_map(|cookie| cookie.to_str().ok()?.strip_prefix(&prefix))?;
    Some(format!("{prefix}{}", cookie.split(';').next()?))
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
