//! The archive in its own process, with one channel for texts and one for files.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::Result;
use line_chat_archive::{
    MIGRATOR,
    app::service::{Parts, Service, bind},
    clock::Clock,
    media::Reach,
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
        let line = Url::parse(&std::env::var("LINE")?)?;
        let parts = Parts::in_directory(home, &secret, keyring, database, line, clock).await?;
        let mut service = Service::start(Parts {
            reach: Reach::Nowhere,
            listener: bind(listen)?,
            ..parts
        })
        .await?;
        service.work();
        std::future::pending::<()>().await;
        Ok(())
    })
}
