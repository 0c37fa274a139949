//! End-to-end tests of the dashboard in a real browser.

mod gallery;
mod hostile;
mod live;
mod sign_in;
mod unsend;
mod walk;

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    harness::T,
    support::{browser::Browser, world::PASSWORD},
};

/// The promised limit: an open page shows new events within two seconds.
const SOON: Duration = Duration::from_secs(2);
/// The timeout where no limit is promised.
const PAGE_TIMEOUT: Duration = Duration::from_secs(15);

/// A browser at the dashboard's address.
struct Desk {
    browser: Browser,
    site: String,
}

impl Desk {
    /// A browser without cookies.
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

    /// A browser in which an operator who sees all channels is signed in.
    async fn signed_in(t: &T) -> anyhow::Result<Self> {
        let desk = Self::new(t).await?;
        t.operator("mia", "compliance", None).await?;
        desk.goes_to("/login").await?;
        desk.signs_in("mia", PASSWORD).await?;
        desk.browser.wait_for("#list", PAGE_TIMEOUT).await?;
        Ok(desk)
    }

    async fn goes_to(&self, path: &str) -> anyhow::Result<()> {
        self.browser.goto(&format!("{}{path}", self.site)).await
    }

    /// Fills in and submits the form that is shown.
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
        self.browser.wait_until(&open, PAGE_TIMEOUT).await?;
        Ok(())
    }

    /// The id of the conversation with this name in the list.
    async fn conversation(&self, name: &str) -> anyhow::Result<Uuid> {
        let rows = "[...document.querySelectorAll('.rows > li')]";
        let find = format!(
            "{rows}.find(row => row.querySelector('.name').textContent === {})?.id.slice(2)",
            json!(name)
        );
        let id = self.browser.wait_until(&find, PAGE_TIMEOUT).await?;
        Ok(id.as_str().unwrap_or_default().parse()?)
    }

    /// Waits until an open page fulfils the condition, at most for the promised limit.
    async fn soon(&self, js: &str) -> anyhow::Result<Value> {
        self.browser.wait_until(js, SOON).await
    }

    /// The status of a request that the page makes for `path`.
    async fn status(&self, path: &str) -> anyhow::Result<Value> {
        let fetch = format!("fetch({}).then(answer => answer.status)", json!(path));
        self.browser.eval(&fetch).await
    }
}
