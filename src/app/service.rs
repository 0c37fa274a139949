//! The running service: one HTTP server, one committer, one worker, one live listener.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{App, dev::ServerHandle, web as actix};
use anyhow::Context;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::database;
use crate::{
    clock::Clock,
    erasure::{copies::Copies, keys::Keys, restore, sealer::Sealer},
    ingest::Ingest,
    ledger::{Signer, Verifier},
    line::client::LineApi,
    live::Live,
    media::Reach,
    objects::Objects,
    seal::Keyring,
    web::{
        self, Shared, http,
        webhook::{Doors, Large, Senders, Strangers, Webhook, is_of_known_sender, receive},
    },
    worker::Worker,
};

/// Large webhook bodies that may be read at the same time: 64 × 2 MiB.
const LARGE_BODIES: usize = 64;

/// How often the ledger is looked at: news is signed within this time, and the minute it may take.
const SEAL: Duration = Duration::from_secs(5);

/// How often spare keys are said to be this process's own.
const HOLD: Duration = Duration::from_secs(600);

/// When keys are made again after that has failed.
const SUPPLY_AGAIN: Duration = Duration::from_secs(1);

/// Connections that the kernel completes before they are accepted; it may allow fewer (`somaxconn`).
const BACKLOG: i32 = 4096;

/// What a service is made of.
pub struct Parts {
    /// The database, migrated.
    pub database: PgConnectOptions,
    /// Where keys are.
    pub keyring: Keyring,
    /// Where objects are.
    pub objects: Objects,
    /// Who signs the ledger.
    pub signer: Signer,
    /// Where copies of the ledger are put, beside that in `objects`.
    pub copies: Vec<Objects>,
    /// LINE.
    pub line: LineApi,
    /// How far content that is not on LINE's hosts may be fetched from.
    pub reach: Reach,
    /// The time.
    pub clock: Clock,
    /// The bound socket: bound by the caller, who may have to be root for it.
    pub listener: TcpListener,
    /// Address under which people see the service, if it is another.
    pub public_url: Option<Url>,
    /// Who is believed when they say who asks.
    pub proxies: web::Proxies,
    /// Pages show pictures of stickers, which browsers fetch from LINE's host of them.
    pub stickers: bool,
}

/// Binds the one listener. Port 0 finds a free one.
///
/// # Errors
/// The address is taken, or not this machine's, or not allowed.
pub fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    let cannot = || format!("{listen} cannot be listened on");
    let listener = TcpListener::bind(listen).with_context(cannot)?;
    // The standard library asks for a queue of 128, which a flood fills before LINE's connection is accepted.
    rustix::net::listen(&listener, BACKLOG).with_context(cannot)?;
    Ok(listener)
}

/// A service that listens.
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    /// Address under which people see it.
    pub public_url: Url,
    /// Its connections.
    pub pool: PgPool,
    /// Its channels.
    pub doors: Doors,
    /// Its worker; started by [`Service::work`].
    pub worker: Worker,
    /// The ledger's sealer; started by [`Service::work`].
    pub sealer: Sealer,
    /// Erasures that the database lacked, because it was restored from a backup, and that were done again.
    pub replayed: usize,
    /// What its pages share.
    pub shared: actix::Data<Shared>,
    live: Live,
    server: ServerHandle,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    committer: JoinHandle<()>,
    cancel: CancellationToken,
}

impl Service {
    /// Opens the port. From here on webhooks are stored and pages shown; media wait for [`Service::work`].
    ///
    /// # Errors
    /// The database or the bucket cannot be used.
    pub async fn start(parts: Parts) -> anyhow::Result<Self> {
        let Parts {
            database,
            keyring,
            objects,
            signer,
            mut copies,
            line,
            reach,
            clock,
            listener,
            public_url,
            proxies,
            stickers,
        } = parts;
        objects
            .check()
            .await
            .context("objects cannot be written, read and deleted")?;
        let database = database::restricted(database)
            .await
            .context("the database cannot be reached")?;
        let pool = database::pool(database.clone());
        let ledger_key = signer.vkey();
        let verifier = Verifier::from_vkey(&ledger_key)?;
        copies.insert(0, objects.clone());
        let copies = Copies::new(copies, verifier);
        let replayed = restore::replay(&pool, &clock, &copies).await?;
        let sealer = Sealer::new(pool.clone(), clock.clone(), Arc::new(signer), copies);
        keyring
            .check()
            .await
            .context("keys cannot be made, read and destroyed")?;
        let keys = Keys::new(pool.clone(), clock.clone(), keyring.clone());
        keys.supply().await.context("no keys can be made ahead")?;
        let doors = Doors::load(&pool, keyring.clone())
            .await
            .context("channels cannot be read")?;
        let worker = Worker::new(
            pool.clone(),
            clock.clone(),
            keyring.clone(),
            objects.clone(),
            line,
            reach,
        )?;
        let (ingest, committer) =
            Ingest::start(database, clock.clone(), keyring.clone(), worker.wake());
        let live = Live::start(&pool);

        let address = listener.local_addr()?;
        let public_url = match public_url {
            Some(url) => url,
            None => Url::parse(&format!("http://{address}"))?,
        };
        let shared = actix::Data::new(Shared::new(
            pool.clone(),
            clock.clone(),
            keyring,
            objects,
            live.clone(),
            public_url.clone(),
            proxies.clone(),
            ledger_key,
            stickers,
        ));
        let webhook = actix::Data::new(Webhook {
            doors: doors.clone(),
            ingest,
            large: Large::new(LARGE_BODIES),
            strangers: Strangers::default(),
            senders: Senders::default(),
            proxies: proxies.clone(),
            clock,
        });
        let (pages, seen_as) = (shared.clone(), public_url.clone());
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let limits = http::Limits::of_this_process();
        let server = http::run(listener, threads, limits, proxies, move || {
            App::new()
                .wrap(http::unguessable())
                .wrap(http::compression())
                .wrap(http::uncompressed_for_strangers())
                .wrap(web::csrf())
                .wrap(http::refuse_encoded())
                .wrap(web::headers(&seen_as))
                .wrap(web::security_events())
                .wrap(http::exchange(is_of_known_sender))
                .app_data(pages.clone())
                .app_data(webhook.clone())
                .route("/webhook/{channel}", actix::post().to(receive))
                .configure(web::routes)
        })?;

        let cancel = CancellationToken::new();
        let handle = server.handle();
        let served = tokio::spawn(async move {
            if server.await.is_err() {
                tracing::error!("the HTTP server has failed");
            }
        });
        let known = tokio::spawn(doors.clone().keep_fresh(pool.clone(), cancel.clone()));
        let supplied = tokio::spawn(keep_supplied(keys, cancel.clone()));
        let tasks = vec![
            ("the HTTP server", served),
            ("the list of channels", known),
            ("the supply of keys", supplied),
        ];
        Ok(Self {
            address,
            public_url,
            pool,
            doors,
            worker,
            sealer,
            replayed,
            shared,
            live,
            server: handle,
            tasks,
            committer,
            cancel,
        })
    }

    /// Returns when a part of the service has ended that must not, with its name: the rest would go on and answer
    /// 503 for ever, or fetch nothing.
    pub async fn broken(&mut self) -> &'static str {
        let tasks = self.tasks.iter_mut().map(|(name, task)| (*name, task));
        let committer = ("the committer", &mut self.committer);
        let ends = tasks.chain([committer]).map(|(name, task)| {
            Box::pin(async move {
                let _ = task.await;
                name
            })
        });
        futures_util::future::select_all(ends).await.0
    }

    /// Starts fetching media and profiles, and sweeping.
    pub fn work(&mut self) {
        let (worker, cancel) = (self.worker.clone(), self.cancel.clone());
        let work = tokio::spawn(async move { worker.run(cancel).await });
        self.tasks.push(("the worker", work));
        let sealed = tokio::spawn(keep_sealing(self.sealer.clone(), self.cancel.clone()));
        self.tasks.push(("the ledger's sealer", sealed));
    }

    /// Address of a channel's webhook.
    pub fn webhook_url(&self, slug: &str) -> String {
        format!(
            "{}/webhook/{slug}",
            self.public_url.as_str().trim_end_matches('/')
        )
    }

    /// Answers what was begun, writes what waits, and ends.
    pub async fn stop(self) {
        self.live.close();
        self.server.stop(true).await;
        self.cancel.cancel();
        for (_, task) in self
            .tasks
            .into_iter()
            .filter(|(_, task)| !task.is_finished())
        {
            let _ = task.await;
        }
        // The last handle of the committer went with the server.
        if !self.committer.is_finished() {
            let _ = self.committer.await;
        }
        drop(self.shared);
        self.worker.close().await;
        self.pool.close().await;
    }
}

/// Seals what is pending every few seconds, and once more at the end.
async fn keep_sealing(sealer: Sealer, cancel: CancellationToken) {
    let mut last = false;
    loop {
        if let Err(error) = sealer.seal().await {
            tracing::error!(reason = %error, "the ledger could not be sealed, or copied, yet");
        }
        if last {
            return;
        }
        last = cancel
            .run_until_cancelled(tokio::time::sleep(SEAL))
            .await
            .is_none();
    }
}

/// Makes keys whenever there are few, and keeps those that wait to be used this process's own.
async fn keep_supplied(keys: Keys, cancel: CancellationToken) {
    while !cancel.is_cancelled() {
        tokio::select! {
            () = cancel.cancelled() => break,
            () = keys.wanted() => {
                if keys.supply().await.is_err() {
                    tracing::error!("no keys can be made ahead: new conversations will be refused");
                    cancel.run_until_cancelled(tokio::time::sleep(SUPPLY_AGAIN)).await;
                }
            }
            () = tokio::time::sleep(HOLD) => {
                if keys.hold().await.is_err() {
                    tracing::warn!("spare keys could not be held");
                }
            }
        }
    }
    let _ = keys.let_go().await;
}
