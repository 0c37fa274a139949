//! `serve`: the service against real channels.

use anyhow::Context;
use url::Url;

use super::{
    database::Database,
    keys,
    service::{Parts, Service, bind},
};
use crate::{
    clock::Clock,
    config::{Places, Serve, Switch},
    embedded::DataDirLock,
    line::client::LineApi,
    objects::Objects,
    records::{attest, channels, operators},
    web,
};

/// The channel that is made of `LINE_CHANNEL_SECRET` where there is none yet.
const FIRST_CHANNEL: &str = "default";

/// Runs the service until it is told to end (SIGINT or SIGTERM). `say` gets what a person has to read.
///
/// # Errors
/// What keeps it from starting.
pub async fn serve(places: &Places, serve: &Serve, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let _lock = DataDirLock::take(&places.data_dir)?;
    let clock = Clock::system();
    // A port below 1024 takes root, which is given up with the database.
    let listener = bind(serve.listen)?;
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let keyring = keys::open_attested(places, &mut db).await?;
    let signer = keys::signer(&keys::secret(places, &mut db).await?);
    if channels::list(&mut db).await?.is_empty()
        && let Some(secret) = serve.channel.secret()
    {
        let token = serve.channel.token();
        channels::add(
            &mut db,
            &keyring,
            FIRST_CHANNEL,
            FIRST_CHANNEL,
            &secret,
            token.as_ref(),
            clock.now(),
        )
        .await?;
        say("Made the channel `default` from LINE_CHANNEL_SECRET.");
    }
    let channels = channels::list(&mut db).await?;
    let anybody = operators::any(&mut db).await?;
    let unattested = attest::unattested(&mut db, &keyring).await?;
    drop(db);

    let parts = Parts {
        signer,
        copies: copies(places).await?,
        database: database.options.clone(),
        keyring,
        objects: bucket(places).await?,
        line: LineApi::new(serve.line_api_url.clone(), serve.line_data_api_url.clone())?,
        reach: serve.external_content.into(),
        clock,
        listener,
        public_url: serve.public_url.clone(),
        proxies: serve.trusted_proxies.clone().into(),
        stickers: serve.sticker_cdn == Switch::On,
    };
    let mut service = Service::start(parts).await?;
    if service.replayed > 0 {
        say(&format!(
            "This database was restored from a backup: {} messages that were erased after it was made are erased again.",
            service.replayed
        ));
    }
    let told = until_told_to_end()?;
    service.work();
    say(&format!("Dashboard: {}", service.public_url));
    for channel in &channels {
        let url = service.webhook_url(&channel.slug);
        say(&format!(
            "Webhook URL of {}, for LINE's console: {url}",
            channel.slug
        ));
        if !channel.has_token {
            say(&format!(
                "  {} has no access token: media and profiles wait for one.",
                channel.slug
            ));
        }
    }
    if channels.is_empty() {
        say("No channel yet. Add one: line-chat-archive channel add <slug>");
    }
    if !unattested.is_empty() {
        say(&format!(
            "The database has {} operators and {} channels that this program did not write: see `line-chat-archive attest`.",
            unattested.operators.len(),
            unattested.channels.len()
        ));
    }
    if !anybody {
        let link = web::setup_link(&service.shared)
            .await
            .ok()
            .context("no link could be made")?;
        say(&format!(
            "Nobody can sign in yet. Make the first operator here, once, within a day: {link}"
        ));
    }
    let ended = tokio::select! {
        () = told => Ok(()),
        part = service.broken() => Err(anyhow::anyhow!("{part} has ended unasked; the service ends too, to be started again")),
    };
    tracing::info!("ending");
    service.stop().await;
    database.close().await?;
    ended
}

/// The bucket of `OBJECTS_URL`, or of the data directory.
///
/// # Errors
/// The address names no bucket that can be opened.
pub async fn bucket(places: &Places) -> anyhow::Result<Objects> {
    Ok(Objects::open_with(&objects_url(places)?, &places.s3.access()).await?)
}

/// Where copies of the ledger are put beside that in the bucket: with the keyring, which is restored from no backup and so
/// is never older than the database, and in `LEDGER_COPIES`.
///
/// # Errors
/// One of the places cannot be opened.
pub async fn copies(places: &Places) -> anyhow::Result<Vec<Objects>> {
    let keyring = match &places.keyring_url {
        Some(url) => url.clone(),
        None => in_data_dir(places, "keyring")?,
    };
    let mut copies = vec![];
    for url in std::iter::once(&keyring).chain(&places.ledger_copies) {
        let place = Objects::open_with(url, &places.s3.access()).await;
        copies.push(place.with_context(|| format!("a copy of the ledger at {url}"))?);
    }
    Ok(copies)
}

fn in_data_dir(places: &Places, name: &str) -> anyhow::Result<Url> {
    let directory = std::path::absolute(places.data_dir.join(name))?;
    Url::from_directory_path(directory)
        .ok()
        .context("DATA_DIR cannot be written as a URL")
}

/// `OBJECTS_URL`, or the directory `objects` in `DATA_DIR`.
fn objects_url(places: &Places) -> anyhow::Result<Url> {
    if let Some(url) = &places.objects_url {
        return Ok(url.clone());
    }
    in_data_dir(places, "objects")
}

/// Waits for SIGINT or SIGTERM. They are listened for from this call on, before the wait begins: a supervisor that ends the
/// service as soon as it has said its address must not kill it, which would leave PostgreSQL running.
///
/// # Errors
/// Signals cannot be listened for.
pub fn until_told_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
