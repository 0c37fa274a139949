//! `demo`: runs the service with an embedded PostgreSQL and a fake LINE Platform, whose users keep writing, sending
//! files and unsending.
//!
//! The database and the files are made in the directory for temporary files and are deleted when the process ends,
//! because the fake users do not outlive it either.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    service::{Parts, Service, bind},
    signals::shutdown_signal,
};
use crate::{
    MIGRATOR,
    clock::Clock,
    config::StorageConfig,
    embedded::Scratch,
    fake_line::{Channel, FakeLine, cast},
    records::{
        channels,
        operators::{self, NewOperator},
    },
    seal::{Cipher, DirectoryKeyStore, Keyring, SecretKey},
    web::password,
};

const LOGIN: &str = "demo";
const PASSWORD: &str = "demo-password";

/// Average time between two actions of the fake users.
const PACE: Duration = Duration::from_secs(3);

/// Runs the demo until a signal ends it.
///
/// # Errors
/// The demo cannot start: for example, there is no PostgreSQL and it cannot be installed, or the files cannot be made.
pub async fn demo(
    storage: &StorageConfig,
    listen: SocketAddr,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<()> {
    let told = shutdown_signal()?;
    say("Starting a private PostgreSQL …");
    let listener = free(listen)?;
    let scratch = Scratch::start_for(storage.service.as_ref(), say).await?;
    let database = scratch
        .service_database("demo")
        .await?
        .disable_statement_logging();
    if let Some(account) = &storage.service {
        account.become_for_good()?;
    }
    let mut db = database.connect().await?;
    MIGRATOR.run(&mut db).await?;

    let clock = Clock::system();
    let line = FakeLine::start()?;
    let tokyo = line.channel("Shop Tokyo");
    let bangkok = line.channel("Bangkok desk");
    let files = Files::make()?;
    add_channel(&mut db, &files.keyring, &clock, "shop-tokyo", &tokyo).await?;
    add_channel(&mut db, &files.keyring, &clock, "bangkok-desk", &bangkok).await?;
    add_operator(&mut db, &files.keyring, &clock).await?;
    drop(db);

    let mut service = start_service(database, &files, &line, clock, listener).await?;
    service.work();
    tokyo.webhook_to(&service.webhook_url("shop-tokyo"));
    bangkok.webhook_to(&service.webhook_url("bangkok-desk"));
    say(&format!(
        "Dashboard: {}  login: {LOGIN}  password: {PASSWORD}",
        service.public_url
    ));
    say("Several people are writing now. Ctrl-C ends it; nothing stays.");

    play_until(told, tokyo, bangkok).await;
    service.stop().await;
    line.stop().await;
    Ok(())
}

/// The keys of a demo, and the directory of its files, which is deleted when this is dropped.
struct Files {
    secret: SecretKey,
    keyring: Keyring,
    directory: TempDir,
}

impl Files {
    fn make() -> anyhow::Result<Self> {
        // The directory for temporary files may be open to root only, and the demo has given up root by now.
        let directory = TempDir::with_prefix("line-chat-archive-")
            .or_else(|_| TempDir::with_prefix_in("line-chat-archive-", "/tmp"))?;
        let key_store = DirectoryKeyStore::open(&directory.path().join("keyring"))?;
        let secret = SecretKey::random();
        let keyring = Keyring::new(&secret, Arc::new(key_store), Cipher::Sealed);
        Ok(Self {
            secret,
            keyring,
            directory,
        })
    }
}

async fn add_channel(
    db: &mut PgConnection,
    keyring: &Keyring,
    clock: &Clock,
    slug: &str,
    channel: &Channel,
) -> anyhow::Result<()> {
    let (secret, token) = (channel.secret().into(), channel.access_token().into());
    channels::add(
        db,
        keyring,
        slug,
        &channel.name(),
        &secret,
        Some(&token),
        clock.now(),
    )
    .await?;
    Ok(())
}

/// Adds the administrator who signs in as [`LOGIN`].
async fn add_operator(
    db: &mut PgConnection,
    keyring: &Keyring,
    clock: &Clock,
) -> anyhow::Result<()> {
    let hash = tokio::task::spawn_blocking(|| password::hash(PASSWORD)).await??;
    let operator = NewOperator {
        login: LOGIN,
        password_hash: &hash,
        role: "admin",
        channels: None,
    };
    operators::add(db, keyring, &operator, clock.now()).await?;
    Ok(())
}

/// Starts the service with the fake LINE Platform in the place of LINE's API.
async fn start_service(
    database: PgConnectOptions,
    files: &Files,
    line: &FakeLine,
    clock: Clock,
    listener: TcpListener,
) -> anyhow::Result<Service> {
    let parts = Parts::in_directory(
        files.directory.path(),
        &files.secret,
        files.keyring.clone(),
        database,
        Url::parse(line.url())?,
        clock,
    )
    .await?;
    Service::start(Parts { listener, ..parts }).await
}

/// Lets the fake users act until a signal comes.
async fn play_until(told: impl Future<Output = ()>, tokyo: Channel, bangkok: Channel) {
    let stop = CancellationToken::new();
    let play = tokio::spawn({
        let stop = stop.clone();
        async move { cast::play(&tokyo, &bangkok, PACE, stop).await }
    });
    told.await;
    stop.cancel();
    let _ = play.await;
}

/// Listens on `listen`, or on a free port of the same host if that fails.
fn free(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    bind(listen).or_else(|_| bind(SocketAddr::new(listen.ip(), 0)))
}
