//! The archive in its own process, with one channel for texts and one for files.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result};
use line_chat_archive::{
    MIGRATOR,
    app::{
        keys,
        service::{Parts, Service, bind},
    },
    clock::Clock,
    line::client::LineApi,
    media::Reach,
    objects::Objects,
    records::channels,
    seal::{Cipher, DirectoryKeyStore, Keyring, SecretKey},
};
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use url::Url;

use crate::bodies::SECRET;

/// Serves until it is killed. All settings come from the environment.
pub fn serve() -> Result<()> {
    // As in `serve`, a runtime with its own threads for everything other than HTTP requests.
    tokio::runtime::Runtime::new()?.block_on(async move {
        let listen: SocketAddr = std::env::var("LISTEN")?.parse()?;
        let home = std::env::var("DATA_DIR")?;
        let home = Path::new(&home);
        let database = PgConnectOptions::new().disable_statement_logging();
        let mut db = database.connect().await?;
        MIGRATOR.run(&mut db).await?;
        let key_store = DirectoryKeyStore::open(&home.join("keyring"))?;
        let secret = SecretKey::random();
        let keyring = Keyring::new(&secret, Arc::new(key_store), Cipher::Sealed);
        let clock = Clock::system();
        let (shop, token) = (std::env::var("SHOP_SECRET")?, std::env::var("SHOP_TOKEN")?);
        for (slug, secret, token) in [
            ("default", SECRET.to_owned(), None),
            ("shop", shop, Some(token.into())),
        ] {
            let now = clock.now();
            channels::add(
                &mut db,
                &keyring,
                slug,
                slug,
                &secret.into(),
                token.as_ref(),
                now,
            )
            .await?;
        }
        drop(db);
        let objects = Url::from_directory_path(home.join("objects"));
        let objects = objects.ok().context("a path that is no URL")?;
        let line = Url::parse(&std::env::var("LINE")?)?;
        let mut service = Service::start(Parts {
            database,
            keyring,
            signer: keys::signer(&secret),
            copies: vec![],
            objects: Objects::open(&objects).await?,
            line: LineApi::new(line.clone(), line)?,
            reach: Reach::Nowhere,
            clock,
            listener: bind(listen)?,
            public_url: None,
            proxies: Default::default(),
            stickers: false,
        })
        .await?;
        service.work();
        std::future::pending::<()>().await;
        Ok(())
    })
}
