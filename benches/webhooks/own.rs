//! The archive in the benchmark's own program, with or without encryption: both of the same build, so that their ratio
//! is the cost of the encryption and nothing else.

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

const SLUG: &str = "default";

/// Serves until it is killed. The address, the directory and the database come from the environment.
pub fn serve(cipher: Cipher) -> Result<()> {
    actix_web::rt::System::new().block_on(async move {
        let listen: SocketAddr = std::env::var("LISTEN")?.parse()?;
        let directory = std::env::var("DATA_DIR")?;
        let directory = Path::new(&directory);
        let database = PgConnectOptions::new().disable_statement_logging();
        let mut db = database.connect().await?;
        MIGRATOR.run(&mut db).await?;
        let key_store = DirectoryKeyStore::open(&directory.join("keyring"))?;
        let secret = SecretKey::random();
        let keyring = Keyring::new(&secret, Arc::new(key_store), cipher);
        let clock = Clock::system();
        channels::add(
            &mut db,
            &keyring,
            SLUG,
            SLUG,
            &SECRET.to_owned().into(),
            None,
            clock.now(),
        )
        .await?;
        drop(db);
        let nowhere = Url::parse("http://127.0.0.1:9")?;
        let parts =
            Parts::in_directory(directory, &secret, keyring, database, nowhere, clock).await?;
        let mut service = Service::start(Parts {
            reach: Reach::Guarded,
            listener: bind(listen)?,
            ..parts
        })
        .await?;
        service.work();
        std::future::pending::<()>().await;
        Ok(())
    })
}
