//! `serve`: runs the service for real channels.

use std::{net::TcpListener, pin::pin, time::Duration};

use anyhow::{Context, anyhow};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use super::{
    channels::{Given, who_has},
    counted::counted,
    database::{Database, Purpose},
    keys,
    secret_watch::SecretWatch,
    service::{Parts, STALL, Service, bind},
    signals::shutdown_signal,
    starting::{step, watched},
    stores::Stores,
};
use crate::{
    clock::Clock,
    config::{Credentials, Serve, StorageConfig, Switch},
    embedded::DataDirLock,
    ledger::Signer,
    line::client::LineApi,
    records::{attest, channels, operators},
    seal::Keyring,
    web,
};

/// Slug of the channel that is made from `LINE_CHANNEL_SECRET` if there is no channel yet.
const FIRST_CHANNEL: &str = "default";

/// How long the embedded PostgreSQL may take to end: to write what it has in memory to a slow disk takes a while. If it did not
/// answer before, it gets less time. Then the process ends without it.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(30);
const HUNG_STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// Runs the service until SIGINT, SIGTERM or SIGHUP. `say` gets the lines that a person has to read.
///
/// # Errors
/// The service cannot start, one of its parts stops unexpectedly, or PostgreSQL cannot be stopped.
pub async fn serve(
    storage: &StorageConfig,
    serve: &Serve,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let mut told = pin!(shutdown_signal()?);
    // A port below 1024 needs root, which `Database::find` gives up. Bind before anything is made.
    let listener = match bind(serve.listen) {
        Ok(listener) => listener,
        Err(error) => {
            // The port may be taken by a `serve` on the same directory: then another port would not help.
            DataDirLock::check_free(&storage.data_dir)?;
            return Err(error);
        }
    };
    let _lock = DataDirLock::take(&storage.data_dir)?;
    let mut database = Database::find(storage, Purpose::Make).await?;
    let begun = tokio::select! {
        begun = watched(begin(storage, serve, &database, listener, say)) => begun.map(Some),
        () = &mut told => Ok(None),
    };
    let mut in_time = true;
    let ended = match begun {
        Ok(Some(mut service)) => {
            let ended = tokio::select! {
                () = told => Ok(()),
                () = database.keep_running() => Ok(()),
                part = service.broken() => Err(anyhow!("{part} stopped unexpectedly; the service ends too, so that a supervisor can start it again")),
            };
            tracing::info!("ending");
            in_time = service.stop().await;
            ended
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    let patience = match in_time {
        true => CHECKPOINT_TIMEOUT,
        false => HUNG_STOP_TIMEOUT,
    };
    let closed = timeout(patience, database.close()).await;
    ended?;
    closed.unwrap_or_else(|_| {
        Err(anyhow!("PostgreSQL has been told to stop and does not answer. It stops when its shutdown completes; everything acknowledged is on disk"))
    })
}

/// Starts the service, and prints its addresses and what is still to be done.
async fn begin(
    storage: &StorageConfig,
    serve: &Serve,
    database: &Database,
    listener: TcpListener,
    say: &dyn Fn(&str),
) -> anyhow::Result<Service> {
    database.prepare(Purpose::Make).await?;
    let mut db = database.connect().await?;
    keys::make_for_new(storage, &mut db).await?;
    let keyring = keys::open_attested(storage, &mut db, Purpose::Make).await?;
    let secret = keys::secret(storage)?;
    let (signer, secret_watch) = (keys::signer(&secret), SecretWatch::new(storage, &secret));
    drop(secret);
    step("the database");
    let mut missing = first_channel(&mut db, &keyring, &serve.channel, say).await?;
    let known = Known::read(&mut db, &keyring).await?;
    let stores = Stores::open(storage, &mut db, Purpose::Make).await?;
    drop(db);

    let parts = parts(serve, database, listener, keyring, signer, stores)?;
    let mut service = Service::start(parts).await?;
    if service.replayed > 0 {
        say(&restored_message(service.replayed));
    }
    service.work();
    service.add_part("the watch on the secret key", |stop| secret_watch.run(stop));
    missing.extend(still_to_do(storage, serve, &known));
    if !known.any_admin {
        missing.push(setup_link_message(&service).await?);
    }
    say_addresses(storage, &service, &known.channels, say);
    say_missing(&missing, say);
    Ok(service)
}

/// Says how many messages were erased again because the database, restored from a backup, still had them.
fn restored_message(erased: usize) -> String {
    let verb = if erased == 1 { "was" } else { "were" };
    format!(
        "This database was restored from a backup. {} had been erased since the backup, and {verb} erased again.",
        counted(erased, "message")
    )
}

/// Values that the start reads from the database for the lines that it prints.
struct Known {
    channels: Vec<channels::Channel>,
    any_admin: bool,
    unattested: attest::Unattested,
}

impl Known {
    async fn read(db: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<Self> {
        Ok(Self {
            channels: channels::list(db).await?,
            any_admin: operators::any_admin(db).await?,
            unattested: attest::unattested(db, keyring).await?,
        })
    }
}

fn parts(
    serve: &Serve,
    database: &Database,
    listener: TcpListener,
    keyring: Keyring,
    signer: Signer,
    stores: Stores,
) -> anyhow::Result<Parts> {
    Ok(Parts {
        signer,
        copies: stores.copies,
        database: database.options.clone(),
        keyring,
        objects: stores.objects,
        line: LineApi::new(serve.line_api_url.clone(), serve.line_data_api_url.clone())?,
        reach: serve.external_content.into(),
        clock: Clock::system().following_database(),
        listener,
        public_url: serve.public_url.clone(),
        proxies: serve.trusted_proxies.clone().into(),
        stickers: serve.sticker_cdn == Switch::On,
        stall: STALL,
    })
}

/// A message for each thing that the settings and the database still lack.
fn still_to_do(storage: &StorageConfig, serve: &Serve, known: &Known) -> Vec<String> {
    let mut missing = Vec::from_iter(unreachable_for_line(serve));
    let channels = known.channels.iter();
    missing.extend(channels.filter(|channel| !channel.has_token).map(|channel| {
        format!("{0} has no access token, so media and profiles wait: `channel rotate-secret {0}` takes one.", channel.slug)
    }));
    if known.channels.is_empty() {
        missing.push("There is no channel: `channel add <slug>` adds one.".to_owned());
    }
    if !known.unattested.is_empty() {
        missing.push(format!(
            "The database has {} and {} that this program did not write: see `attest`.",
            counted(known.unattested.operators.len(), "operator"),
            counted(known.unattested.channels.len(), "channel")
        ));
    }
    if has_shared_account(storage) {
        missing.push(format!("The service runs as nobody: {SHARED_ACCOUNT}."));
    }
    missing
}

/// A message with the link that makes the first administrator.
async fn setup_link_message(service: &Service) -> anyhow::Result<String> {
    let mut link = web::setup_link(&service.shared)
        .await
        .ok()
        .context("no link could be made")?;
    // The same host as in the other lines, one that a browser can open.
    link.set_host(service.public_url.host_str())?;
    Ok(format!(
        "There is no administrator. Make one here, once, within a day: {link}"
    ))
}

fn say_addresses(
    storage: &StorageConfig,
    service: &Service,
    channels: &[channels::Channel],
    say: &dyn Fn(&str),
) {
    say(&format!("Dashboard: {}", service.public_url));
    if let Some(account) = &storage.service
        && !has_shared_account(storage)
    {
        say(&format!("The service runs as {}.", account.name()));
    }
    for channel in channels {
        let url = service.webhook_url(&channel.slug);
        say(&format!(
            "Webhook URL of {}, for LINE's console: {url}",
            channel.slug
        ));
    }
}

fn say_missing(missing: &[String], say: &dyn Fn(&str)) {
    if !missing.is_empty() {
        say("Still to be done:");
    }
    for line in missing {
        say(&format!("  - {line}"));
    }
}

/// Makes the first channel from `LINE_CHANNEL_SECRET` in an archive without channels. Returns a message for each given
/// secret or token that is not used.
async fn first_channel(
    db: &mut PgConnection,
    keyring: &Keyring,
    given: &Credentials,
    say: &dyn Fn(&str),
) -> anyhow::Result<Vec<String>> {
    let (secret, token) = (given.secret()?, given.token()?);
    let mut tx = db.begin().await?;
    // At the same moment another replica may start, or a command may add a channel.
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
    let mut owner = None;
    if let Some(secret) = &secret {
        owner = who_has(&mut tx, keyring, Given::Secret(secret)).await?;
        if owner.is_none() {
            unused.push(
                "LINE_CHANNEL_SECRET is not used: no channel has this secret. `channel rotate-secret <slug>` adds it to one, \
                 `channel add <slug>` makes another channel."
                    .to_owned(),
            );
        }
    }
    if let Some(token) = &token
        && who_has(&mut tx, keyring, Given::Token(token))
            .await?
            .is_none()
    {
        let slug = owner.as_deref().unwrap_or("<slug>");
        unused.push(format!(
            "LINE_CHANNEL_ACCESS_TOKEN is not used: no channel has this token, and `serve` takes one only for the channel that \
             it makes. `channel rotate-secret {slug}` gives it to a channel."
        ));
    }
    Ok(unused)
}

/// Why LINE cannot reach the service under its address; `None` if the address is https.
fn unreachable_for_line(serve: &Serve) -> Option<String> {
    let words = match &serve.public_url {
        None => {
            "PUBLIC_URL is not set. LINE sends webhooks only to https URLs: put a TLS proxy in front of LISTEN, and \
                 set PUBLIC_URL to its address."
        }
        Some(url) if url.scheme() != "https" => {
            "PUBLIC_URL is not https. LINE sends webhooks only to https URLs."
        }
        Some(_) => return None,
    };
    Some(words.to_owned())
}

/// The warning about the account `nobody`.
pub(super) const SHARED_ACCOUNT: &str = "other programs share this account and could read the keys. docs/setup.md says how to \
                                         give the service one of its own";

/// Whether the service works as `nobody`, an account that other programs share.
pub(super) fn has_shared_account(storage: &StorageConfig) -> bool {
    let account = storage.service.as_ref();
    account.is_some_and(|account| account.name() == "nobody")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_that_is_erased_again_is_singular() {
        let words = "1 message had been erased since the backup, and was erased again.";
        assert!(restored_message(1).ends_with(words));
        let words = "2 messages had been erased since the backup, and were erased again.";
        assert!(restored_message(2).ends_with(words));
    }
}
