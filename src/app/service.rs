//! The running service: one HTTP server, one committer, one worker, one live listener.

mod listener;
mod parts;
mod resources;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{
    App,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    web as actix,
};
use sqlx::PgPool;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::resources::Resources;
pub use self::{
    listener::bind,
    parts::{Parts, STALL},
};
use crate::{
    app::database_clock,
    clock::Clock,
    erasure::{keys::Keys, ledger_signer::LedgerSigner},
    ingest::Ingest,
    live::Live,
    watchdog::watch,
    web::{
        self, Shared, http,
        webhook::{
            ChannelRegistry, Large, Senders, UnsignedCounter, Webhook, is_of_known_sender, receive,
        },
    },
    worker::Worker,
};

/// How many large webhook bodies may be read at the same time: 64 × 2 MiB.
const LARGE_BODIES: usize = 64;

/// How long the parts of the service may take to end: a database or a disk that hangs must not keep the process.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// Interval at which pending records are sealed and signed. They may wait up to a minute.
const SEAL: Duration = Duration::from_secs(5);

/// Interval at which this process renews its claim on its spare keys.
const HOLD_INTERVAL: Duration = Duration::from_secs(600);

/// Interval at which files of the keyring are read.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Pause before keys are made again after a failure.
const SUPPLY_AGAIN: Duration = Duration::from_secs(1);

/// A service that accepts connections.
pub struct Service {
    /// Address that it listens on.
    pub address: SocketAddr,
    /// Address under which people reach it, to be printed.
    pub public_url: Url,
    /// Database connections of the dashboard and the worker.
    pub pool: PgPool,
    /// The channels that it accepts webhooks for.
    pub channels: ChannelRegistry,
    /// The worker; started by [`Service::work`].
    pub worker: Worker,
    /// Seals and signs the ledger; started by [`Service::work`].
    pub ledger_signer: LedgerSigner,
    /// Number of erasures that were repeated at the start, because the database was restored from a backup and lacked
    /// them.
    pub replayed: usize,
    /// State that its pages share.
    pub shared: actix::Data<Shared>,
    live: Live,
    server: ServerHandle,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    committer: JoinHandle<()>,
    cancel: CancellationToken,
}

impl Service {
    /// Starts the HTTP server. From now on webhooks are stored and pages are shown; media are not fetched before
    /// [`Service::work`].
    ///
    /// # Errors
    /// The database, the object store or the keyring cannot be used.
    pub async fn start(parts: Parts) -> anyhow::Result<Self> {
        let resources =
            Resources::open(parts.database, parts.objects, parts.keyring, parts.clock).await?;
        let ledger = resources.open_ledger(parts.signer, parts.copies).await?;
        let keys = resources.supply_keys().await?;
        let channels = resources.load_channels().await?;
        let worker = resources.make_worker(parts.line, parts.reach, parts.stall)?;
        let (ingest, committer) = resources.start_committer(&worker);
        let live = Live::start(&resources.pool);

        let address = parts.listener.local_addr()?;
        let url_of = |address: SocketAddr| Url::parse(&format!("http://{address}"));
        let (public_url, printed_url) = match parts.public_url {
            Some(url) => (url.clone(), url),
            None => (url_of(address)?, url_of(openable(address))?),
        };
        let proxies = parts.proxies;
        let shared = page_state(
            &resources,
            live.clone(),
            public_url.clone(),
            proxies.clone(),
            ledger.key,
            parts.stickers,
        );
        let clock = resources.clock.clone();
        let webhook = webhook_state(channels.clone(), ingest, proxies.clone(), clock);
        let server = run_server(parts.listener, proxies, &public_url, &shared, webhook)?;
        let (pool, clock) = (resources.pool, resources.clock);
        let cancel = CancellationToken::new();
        let handle = server.handle();
        let tasks = start_tasks(server, &channels, keys, (&pool, clock), &cancel);
        Ok(Self {
            address,
            public_url: printed_url,
            pool,
            channels,
            worker,
            ledger_signer: ledger.signer,
            replayed: ledger.replayed,
            shared,
            live,
            server: handle,
            tasks,
            committer,
            cancel,
        })
    }

    /// Waits until a part of the service ends that must not, and returns its name. Without that part the rest would go
    /// on and answer 503 for ever, or fetch nothing.
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

    /// Starts the worker (media, profiles, sweep) and the sealing of the ledger.
    pub fn work(&mut self) {
        let (worker, cancel) = (self.worker.clone(), self.cancel.clone());
        let work = tokio::spawn(async move { worker.run(cancel).await });
        self.tasks.push(("the worker", work));
        let sealed = tokio::spawn(keep_signing(
            self.ledger_signer.clone(),
            self.cancel.clone(),
        ));
        self.tasks.push(("the ledger signer", sealed));
    }

    /// Adds a part that runs until the service stops. If it ends earlier, the service is broken.
    pub fn add_part<F>(&mut self, name: &'static str, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = tokio::spawn(part(self.cancel.clone()));
        self.tasks.push((name, task));
    }

    /// Webhook URL of a channel, for LINE's console.
    pub fn webhook_url(&self, slug: &str) -> String {
        format!(
            "{}/webhook/{slug}",
            self.public_url.as_str().trim_end_matches('/')
        )
    }

    /// Answers the open requests, writes the deliveries that wait, and ends all parts. After [`STOP_TIMEOUT`] it cuts off parts
    /// that have not ended. Returns whether all have.
    pub async fn stop(self) -> bool {
        let in_time = timeout(STOP_TIMEOUT, self.end()).await.is_ok();
        if !in_time {
            // All that was acknowledged is committed; the rest waits for something outside.
            tracing::warn!("a part did not end in time, and is cut off");
        }
        in_time
    }

    async fn end(self) {
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
        // The server's end has dropped the last handle of the committer, so the committer ends too.
        if !self.committer.is_finished() {
            let _ = self.committer.await;
        }
        drop(self.shared);
        self.worker.close().await;
        self.pool.close().await;
    }
}

/// The address that a person on this machine can open: `0.0.0.0` and `[::]` stand for every address of the machine, and
/// not every browser opens them.
fn openable(address: SocketAddr) -> SocketAddr {
    let loopback: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => return address,
    };
    SocketAddr::new(loopback, address.port())
}

fn page_state(
    resources: &Resources,
    live: Live,
    public_url: Url,
    proxies: web::Proxies,
    ledger_key: String,
    stickers: bool,
) -> actix::Data<Shared> {
    actix::Data::new(Shared::new(
        resources.pool.clone(),
        resources.clock.clone(),
        resources.keyring.clone(),
        resources.objects.clone(),
        live,
        public_url,
        proxies,
        ledger_key,
        stickers,
    ))
}

fn webhook_state(
    channels: ChannelRegistry,
    ingest: Ingest,
    proxies: web::Proxies,
    clock: Clock,
) -> actix::Data<Webhook> {
    actix::Data::new(Webhook {
        channels,
        ingest,
        large: Large::new(LARGE_BODIES),
        unsigned: UnsignedCounter::default(),
        senders: Senders::default(),
        proxies,
        clock,
    })
}

/// Starts the HTTP server: the pages and the webhook endpoint.
fn run_server(
    listener: TcpListener,
    proxies: web::Proxies,
    public_url: &Url,
    shared: &actix::Data<Shared>,
    webhook: actix::Data<Webhook>,
) -> io::Result<Server> {
    let (pages, seen_as) = (shared.clone(), public_url.clone());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let limits = http::Limits::of_this_process();
    http::run(listener, threads, limits, proxies, move || {
        App::new()
            .wrap(from_fn(http::unguessable))
            .wrap(http::compression())
            .wrap(from_fn(http::uncompressed_for_strangers))
            .wrap(from_fn(web::csrf))
            .wrap(from_fn(http::refuse_encoded))
            .wrap(web::headers(&seen_as))
            .wrap(from_fn(web::security_events))
            .wrap(from_fn(|request, next| {
                http::exchange(request, next, is_of_known_sender)
            }))
            .app_data(pages.clone())
            .app_data(webhook.clone())
            .route("/webhook/{channel}", actix::post().to(receive))
            .configure(web::routes)
    })
}

/// Starts the tasks that run as long as the service, with their names.
fn start_tasks(
    server: Server,
    channels: &ChannelRegistry,
    keys: Keys,
    (pool, clock): (&PgPool, Clock),
    cancel: &CancellationToken,
) -> Vec<(&'static str, JoinHandle<()>)> {
    let served = tokio::spawn(async move {
        if server.await.is_err() {
            tracing::error!("the HTTP server has failed");
        }
    });
    let known = tokio::spawn(channels.clone().keep_fresh(pool.clone(), cancel.clone()));
    let supplied = tokio::spawn(keep_supplied(keys.clone(), cancel.clone()));
    let held = tokio::spawn(keep_held(keys, cancel.clone()));
    let set = tokio::spawn(database_clock::keep_following(
        pool.clone(),
        clock,
        cancel.clone(),
    ));
    vec![
        ("the HTTP server", served),
        ("the list of channels", known),
        ("the supply of keys", supplied),
        ("the claim on spare keys", held),
        ("the clock", set),
    ]
}

/// Seals pending records every few seconds, and once more at the end. Ends, and with it the service, if the database
/// changes to one that lacks signed records: it may show erased messages, and the next start erases them again. If it was
/// so from the start, a restart would not help, and webhooks are stored all the same.
async fn keep_signing(ledger_signer: LedgerSigner, cancel: CancellationToken) {
    let (mut last, mut was_sound) = (false, false);
    loop {
        match watch(STALL, ledger_signer.append_and_sign()).await {
            Ok(Ok(_)) => was_sound = true,
            Ok(Err(error)) if was_sound && error.is_contradiction() => {
                tracing::error!(
                    reason = %error,
                    "the database lacks signed records: it was restored from a backup while the service ran, or altered. The service \
                     ends. The next start compares the database with the copies of the ledger, and repeats missing erasures"
                );
                return;
            }
            Ok(Err(error)) => {
                tracing::error!(reason = %error, "the ledger could not be sealed, or copied, yet");
            }
            Err(stalled) => {
                tracing::error!(reason = %stalled, "the ledger could not be sealed, or copied, yet");
            }
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

/// Makes spare keys whenever there are few.
async fn keep_supplied(keys: Keys, cancel: CancellationToken) {
    while cancel.run_until_cancelled(keys.wanted()).await.is_some() {
        if !matches!(watch(STALL, keys.supply()).await, Ok(Ok(()))) {
            tracing::error!("spare keys cannot be made: new conversations will be refused");
            cancel
                .run_until_cancelled(tokio::time::sleep(SUPPLY_AGAIN))
                .await;
        }
    }
}

/// Renews this process's claim on its spare keys, and looks each minute whether the keys that it hands out are in the keyring.
async fn keep_held(keys: Keys, cancel: CancellationToken) {
    let mut held = tokio::time::Instant::now();
    while cancel
        .run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL))
        .await
        .is_some()
    {
        let checked = cancel
            .run_until_cancelled(watch(STALL, keys.check_files()))
            .await;
        if !matches!(checked, None | Some(Ok(Ok(())))) {
            tracing::warn!("the keyring could not be checked");
        }
        if held.elapsed() < HOLD_INTERVAL {
            continue;
        }
        held = tokio::time::Instant::now();
        if !matches!(watch(STALL, keys.hold()).await, Ok(Ok(()))) {
            tracing::warn!("spare keys could not be held");
        }
    }
    let _ = keys.release_spare_keys().await;
}
