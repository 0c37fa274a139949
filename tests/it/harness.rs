//! The environment of one test: the world, with a copy of the ledger beside the keyring.

use std::{
    net::{SocketAddr, TcpListener},
    ops::{Deref, DerefMut},
};

use anyhow::{Context, ensure};
use line_chat_archive::{
    app::service::{Parts, Service},
    objects::Objects,
    seal::{Cipher, SealContext},
};
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

pub use crate::support::world::start;
use crate::support::{
    keys,
    world::{self, World},
};

/// The environment of one test.
pub struct T(World);

impl Deref for T {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl DerefMut for T {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.0
    }
}

/// Runs a test in its own environment, and checks that it leaves nothing over.
pub async fn run(test: impl AsyncFnOnce(&mut T) -> anyhow::Result<()>) {
    let mut t = T::new().await.expect("a world");
    test(&mut t).await.expect("the test");
    t.nothing_is_left_over().await.expect("a tidy end");
    t.0.stop().await;
}

/// The place of a further copy of the ledger.
async fn copy(home: &TempDir) -> anyhow::Result<Vec<Objects>> {
    let place = Url::from_directory_path(home.path().join("copies"))
        .ok()
        .context("a path")?;
    Ok(vec![Objects::open(&place).await?])
}

impl T {
    async fn new() -> anyhow::Result<Self> {
        let home = TempDir::new()?;
        let copies = copy(&home).await?;
        let database = world::database().await?;
        let world = World::with(home, database, Cipher::Sealed, |parts| {
            parts.copies = copies
        });
        Ok(Self(world.await?))
    }

    /// Starts a service on another database, with the same bucket and keyring.
    pub async fn serve_on(&self, database: &PgConnectOptions) -> anyhow::Result<Service> {
        Service::start(self.parts(database).await?).await
    }

    async fn parts(&self, database: &PgConnectOptions) -> anyhow::Result<Parts> {
        let (home, database) = (self.home.path(), database.clone());
        let parts = world::parts(home, database, Cipher::Sealed, &self.line, &self.clock).await?;
        Ok(Parts {
            copies: copy(&self.home).await?,
            ..parts
        })
    }

    /// Starts a second service on the same database and bucket.
    pub async fn replica(&self) -> anyhow::Result<Service> {
        self.serve_on(&self.database).await
    }

    /// Stops the service and starts it again, at another address.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let again = self.replica().await?;
        self.replace_by(again).await;
        Ok(())
    }

    /// The same, at this address, at which nobody listens.
    pub async fn restart_at(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let mut parts = self.parts(&self.database).await?;
        parts.listener = TcpListener::bind(address)?;
        let again = Service::start(parts).await?;
        self.replace_by(again).await;
        Ok(())
    }

    async fn replace_by(&mut self, again: Service) {
        std::mem::replace(&mut self.service, again).stop().await;
        self.shop.webhook_to(&self.service.webhook_url("shop"));
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
            if let Ok(bytes) = std::fs::read(self.home.path().join("objects").join(&key)) {
                found.extend(keys::opened_object(&self.keyring, &key, &head, bytes).await);
            }
        }
        Ok(found)
    }

    /// The bytes of every file in the bucket, without the copy of the ledger.
    pub fn objects(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut found = vec![];
        let mut directories = vec![self.home.path().join("objects")];
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
