//! The parts of a service: all that its surroundings decide.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use anyhow::anyhow;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::listener::bind;
use crate::{
    app::keys,
    clock::Clock,
    ledger::Signer,
    line::client::LineApi,
    media::Reach,
    objects::Objects,
    records,
    seal::{Keyring, SecretKey},
    web,
};

/// How long the worker's work may show no progress. By then its lease has ended, and another worker has its job.
pub const STALL: Duration = records::objects::LEASE;

/// The parts that a service is made of.
pub struct Parts {
    /// Options for the database, which has to be migrated.
    pub database: PgConnectOptions,
    /// The keyring.
    pub keyring: Keyring,
    /// The object store.
    pub objects: Objects,
    /// Signs the ledger.
    pub signer: Signer,
    /// Places for copies of the ledger, in addition to the copy in `objects`.
    pub copies: Vec<Objects>,
    /// Client of LINE's API.
    pub line: LineApi,
    /// Which addresses outside of LINE's API content may be fetched from.
    pub reach: Reach,
    /// Source of the time.
    pub clock: Clock,
    /// The bound socket. The caller binds it, because a port below 1024 needs root.
    pub listener: TcpListener,
    /// Address under which people reach the service; `None`: the address of `listener`.
    pub public_url: Option<Url>,
    /// Proxies whose `X-Forwarded-For` header is trusted.
    pub proxies: web::Proxies,
    /// True if pages show pictures of stickers, which browsers fetch from LINE's host for stickers.
    pub stickers: bool,
    /// The worker's work is dropped, and tried again, if it shows no progress for this long.
    pub stall: Duration,
}

impl Parts {
    /// The parts of a service that has all its files in one directory, for the demo, tests and benchmarks. It listens
    /// on a free port of this machine and talks to the LINE at `line`. It has no proxy, no public URL and no further
    /// copy of the ledger, shows no pictures of stickers, and fetches content from any address.
    ///
    /// # Errors
    /// The directory cannot be used, or there is no free port.
    pub async fn in_directory(
        directory: &Path,
        secret: &SecretKey,
        keyring: Keyring,
        database: PgConnectOptions,
        line: Url,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let objects = Url::from_directory_path(directory.join("objects"))
            .map_err(|()| anyhow!("{} is not an absolute path", directory.display()))?;
        Ok(Self {
            database,
            keyring,
            objects: Objects::open(&objects).await?,
            signer: keys::signer(secret),
            copies: vec![],
            line: LineApi::new(line.clone(), line)?,
            reach: Reach::Anywhere,
            clock,
            listener: bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?,
            public_url: None,
            proxies: web::Proxies::default(),
            stickers: false,
            stall: STALL,
        })
    }
}
