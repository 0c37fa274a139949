//! The world with an operator `mia`, and a browser in which she is signed in.

use std::{ops::Deref, time::Duration};

use uuid::Uuid;

use crate::support::{
    browser::Browser,
    world::{self, PASSWORD},
};

/// The timeout where no limit is promised.
pub const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

pub struct World(world::World);

impl Deref for World {
    type Target = world::World;

    fn deref(&self) -> &world::World {
        &self.0
    }
}

impl World {
    pub async fn new() -> anyhow::Result<Self> {
        let world = world::World::new().await?;
        world.operator("mia", "compliance", None).await?;
        Ok(Self(world))
    }

    pub async fn stop(self) {
        self.0.stop().await;
    }

    pub fn site(&self) -> String {
        let url = self.service.public_url.as_str();
        url.trim_end_matches('/').to_owned()
    }

    /// Every attachment's id, with the message id of its message.
    pub async fn attachments(&self) -> anyhow::Result<Vec<(Uuid, String)>> {
        let query = "select a.id, m.message_id from attachment a join message m on m.id = a.message_id order by 2";
        Ok(sqlx::query_as(query).fetch_all(self.pool()).await?)
    }

    pub async fn conversations(&self) -> anyhow::Result<Vec<Uuid>> {
        let query = "select id from conversation order by id";
        Ok(sqlx::query_scalar(query).fetch_all(self.pool()).await?)
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
}
