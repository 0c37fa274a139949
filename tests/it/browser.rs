//! Journeys through the dashboard in a real browser.

mod gallery;
mod hostile;
mod live;
mod sign_in;
mod unsend;
mod walk;

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{harness::T, support::browser::Browser, visitor::PASSWORD};

/// What is promised: an open page shows what happens within two seconds.
const SOON: Duration = Duration::from_secs(2);
/// For what nobody promised a time.
const PATIENCE: Duration = Duration::from_secs(15);

/// A browser at the dashboard.
struct Desk {
    browser: Browser,
    site: String,
}

impl Desk {
    /// A browser that has not been here yet.
    async fn new(t: &T) -> anyhow::Result<Self> {
        let site = t
            .service
            .public_url
            .as_str()
            .trim_end_matches('/')
            .to_owned();
        let browser = Browser::start().await?;
        Ok(Self { browser, site })
    }

    /// A browser in which somebody who sees everything has signed in.
    async fn signed_in(t: &T) -> anyhow::Result<Self> {
        let desk = Self::new(t).await?;
        t.operator("mia").await?;
        desk.goes_to("/login").await?;
        desk.signs_in("mia", PASSWORD).await?;
        desk.browser.wait_for("#list", PATIENCE).await?;
        Ok(desk)
    }

    async fn goes_to(&self, path: &str) -> anyhow::Result<()> {
        self.browser.goto(&format!("{}{path}", self.site)).await
    }

    /// Fills in the form that is shown.
    async fn signs_in(&self, login: &str, password: &str) -> anyhow::Result<()> {
        self.browser.type_in("input[name=login]", login).await?;
        self.browser
            .type_in("input[name=password]", password)
            .await?;
        self.browser.click("button").await
    }

    /// Opens the conversation with this name in the list.
    async fn opens(&self, name: &str) -> anyhow::Result<()> {
        let id = self.conversation(name).await?;
        self.browser.click(&format!("#c-{id} a")).await?;
        let open = format!("document.querySelector('#thread').dataset.key.startsWith('{id}')");
        self.browser.wait_until(&open, PATIENCE).await?;
        Ok(())
    }

    /// The id of the conversation with this name in the list.
    async fn conversation(&self, name: &str) -> anyhow::Result<Uuid> {
        let rows = "[...document.querySelectorAll('.rows > li')]";
        let find = format!(
            "{rows}.find(row => row.querySelector('.name').textContent === {})?.id.slice(2)",
            json!(name)
        );
        let id = self.browser.wait_until(&find, PATIENCE).await?;
        Ok(id.as_str().unwrap_or_default().parse()?)
    }

    /// Waits until an open page has it: never longer than is promised.
    async fn soon(&self, js: &str) -> anyhow::Result<Value> {
        self.browser.wait_until(js, SOON).await
    }

    /// The status of the answer to a request of the page's for `path`.
    async fn status(&self, path: &str) -> anyhow::Result<Value> {
        let fetch = format!("fetch({}).then(answer => answer.status)", json!(path));
        self.browser.eval(&fetch).await
    }
}
