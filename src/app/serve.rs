//! `serve`: the service against real channels.

use std::{net::TcpListener, pin::pin};

use anyhow::{Context, anyhow};
use sqlx::{Connection, PgConnection};
use url::Url;

use super::{
    channels::{Given, who_has},
    database::{Database, Purpose},
    keys,
    service::{Parts, Service, bind},
    signals::until_told_to_end,
};
use crate::{
    clock::Clock,
    config::{Credentials, Places, Serve, Switch},
    embedded::DataDirLock,
    line::client::LineApi,
    objects::Objects,
    records::{attest, channels, operators},
    seal::Keyring,
    web,
};

/// The channel that is made of `LINE_CHANNEL_SECRET` where there is none yet.
const FIRST_CHANNEL: &str = "default";

/// Runs the service until it is told to end (SIGINT, SIGTERM or SIGHUP). `say` gets what a person has to read.
///
/// # Errors
/// What keeps it from starting.
pub async fn serve(places: &Places, serve: &Serve, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let mut told = pin!(until_told_to_end()?);
    // A port below 1024 takes root, which is given up with the database. Bound before anything is made.
    let listener = bind(serve.listen)?;
    let _lock = DataDirLock::take(&places.data_dir)?;
    let database = Database::find(places, Purpose::Make).await?;
    let begun = tokio::select! {
        begun = begin(places, serve, &database, listener, say) => begun.map(Some),
        () = &mut told => Ok(None),
    };
    let ended = match begun {
        Ok(Some(mut service)) => {
            let ended = tokio::select! {
                () = told => Ok(()),
                part = service.broken() => Err(anyhow!("{part} stopped unexpectedly; the service ends too, to be started again")),
            };
            tracing::info!("ending");
            service.stop().await;
            ended
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    let closed = database.close().await;
    ended?;
    closed
}

/// Starts the service and says what there is to know about it.
async fn begin(
    places: &Places,
    serve: &Serve,
    database: &Database,
    listener: TcpListener,
    say: &dyn Fn(&str),
) -> anyhow::Result<Service> {
    database.prepare(Purpose::Make).await?;
    let clock = Clock::system();
    let mut db = database.connect().await?;
    keys::make_for_new(places, &mut db).await?;
    let keyring = keys::open_attested(places, &mut db).await?;
    let signer = keys::signer(&keys::secret(places)?);
    let mut missing = vec![];
    missing.extend(first_channel(&mut db, &keyring, &serve.channel, say).await?);
    let channels = channels::list(&mut db).await?;
    let any_admin = operators::any_admin(&mut db).await?;
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
    service.work();
    missing.extend(unreachable_for_line(serve));
    missing.extend(channels.iter().filter(|channel| !channel.has_token).map(|channel| {
        format!("{0} has no access token, so media and profiles wait: `channel rotate-secret {0}` takes one.", channel.slug)
    }));
    if channels.is_empty() {
        missing.push("There is no channel: `channel add <slug>` adds one.".to_owned());
    }
    if !unattested.is_empty() {
        missing.push(format!(
            "The database has {} operators and {} channels that this program did not write: see `attest`.",
            unattested.operators.len(),
            unattested.channels.len()
        ));
    }
    if has_shared_account(places) {
        missing.push(format!("The service runs as nobody: {SHARED_ACCOUNT}."));
    }
    if !any_admin {
        let link = web::setup_link(&service.shared)
            .await
            .ok()
            .context("no link could be made")?;
        missing.push(format!(
            "There is no administrator. Make one here, once, within a day: {link}"
        ));
    }
    say(&format!("Dashboard: {}", service.public_url));
    if let Some(account) = &places.service
        && !has_shared_account(places)
    {
        say(&format!("The service runs as {}.", account.name()));
    }
    for channel in &channels {
        let url = service.webhook_url(&channel.slug);
        say(&format!(
            "Webhook URL of {}, for LINE's console: {url}",
            channel.slug
        ));
    }
    if !missing.is_empty() {
        say("Still to be done:");
    }
    for line in &missing {
        say(&format!("  - {line}"));
    }
    Ok(service)
}

/// Makes the first channel of `LINE_CHANNEL_SECRET` where there is none. Returns the words for what is given and not used.
async fn first_channel(
    db: &mut PgConnection,
    keyring: &Keyring,
    given: &Credentials,
    say: &dyn Fn(&str),
) -> anyhow::Result<Vec<String>> {
    let (secret, token) = (given.secret()?, given.token()?);
    let mut tx = db.begin().await?;
    // Another replica may start at the same moment, or a channel be added.
    channels::lock_secrets(&mut tx).await?;
    let is_first = channels::list(&mut tx).await?.is_empty();
    if let Some(secret) = secret.as_ref().filter(|_| is_first) {
        let (slug, now) = (FIRST_CHANNEL, Clock::system().now());
        let made = channels::add(&mut tx, keyring, slug, slug, secret, token.as_ref(), now).await?;
        tx.commit().await?;
        if made.is_some() {
            say("Made the channel `default` from LINE_CHANNEL_SECRET.");
            return Ok(vec![]);
        }
        let words = "LINE_CHANNEL_SECRET is not used: a channel `default` was removed, and its name is not given again. \
                     `channel add` makes one of another name.";
        return Ok(vec![words.to_owned()]);
    }
    let mut unused = vec![];
    if let Some(secret) = &secret
        && who_has(&mut tx, keyring, Given::Secret(secret))
            .await?
            .is_none()
    {
        unused.push(
            "LINE_CHANNEL_SECRET is not used: no channel has this secret. `channel rotate-secret` adds it to one, `channel \
             add` makes another channel."
                .to_owned(),
        );
    }
    if let Some(token) = &token
        && who_has(&mut tx, keyring, Given::Token(token))
            .await?
            .is_none()
    {
        unused.push(
            "LINE_CHANNEL_ACCESS_TOKEN is not used: no channel has this token. `channel rotate-secret` gives it to one."
                .to_owned(),
        );
    }
    Ok(unused)
}

/// Why LINE cannot reach the service under the address that it has, if so.
fn unreachable_for_line(serve: &Serve) -> Option<String> {
    let words = match &serve.public_url {
        None => {
            "PUBLIC_URL is not set. LINE sends webhooks to https addresses alone: put a TLS proxy in front of LISTEN, and \
                 set PUBLIC_URL to its address."
        }
        Some(url) if url.scheme() != "https" => {
            "PUBLIC_URL is not https. LINE sends webhooks to https addresses alone."
        }
        Some(_) => return None,
    };
    Some(words.to_owned())
}

/// The warning about the account `nobody`.
pub(super) const SHARED_ACCOUNT: &str = "other programs share this account and could read the keys. docs/setup.md says how to \
                                         give the service one of its own";

/// Whether the service works as an account that is not its own.
pub(super) fn has_shared_account(places: &Places) -> bool {
    let account = places.service.as_ref();
    account.is_some_and(|account| account.name() == "nobody")
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
        copies.push(place.with_context(|| format!("a copy of the ledger at {}", shown(url)))?);
    }
    Ok(copies)
}

/// A place's URL without the secrets that somebody may have written into it.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that have no such part.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
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
