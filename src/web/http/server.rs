//! The server: actix's own services behind sockets that have limits.
//!
//! `actix_web::HttpServer` takes plain sockets only, so this module does what its `listen` does, with [`Connection`] in
//! their place.

use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    net::TcpListener,
    sync::{Arc, Weak},
    time::Duration,
};

use actix_http::{HttpService, Request, Response, body::MessageBody, error::DispatchError};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::dev::{AppConfig, Server};
use tokio::net::TcpStream;

use super::client::Proxies;
use super::{
    admission::{Admission, Full, MAX_EVICTED_OPEN},
    connection::Connection,
    exchange::Exchange,
    limits::Limits,
    refusal::{self, LOG_INTERVAL, Reason},
};

/// Seconds that a stop waits for responses that have begun.
const STOP_SECONDS: u64 = 2;

/// Serves `app` on `listener`, on `threads` threads. Connections of `proxies` are not counted by address. The app has
/// to be wrapped in [`exchange`](super::exchange()), outermost.
///
/// # Errors
/// The I/O error if the listener cannot be used.
pub fn run<F, I, S, B>(
    listener: TcpListener,
    threads: usize,
    limits: Limits,
    proxies: Proxies,
    app: F,
) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error>,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
{
    listener.set_nonblocking(true)?;
    let admission = Arc::new(Admission::new(limits, proxies));
    tokio::spawn(keep_logging(Arc::downgrade(&admission)));
    let builder = Server::build()
        .workers(threads)
        .max_concurrent_connections(connections_per_thread(&limits, threads))
        .shutdown_timeout(STOP_SECONDS)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let builder = builder.listen("http", listener, move || {
        let (admission, signal) = (admission.clone(), stopping.clone());
        let stopped = move || {
            let signal = signal.clone();
            async move { signal.notified().await }
        };
        let http = http_service(app().into_factory(), limits, stopped.clone());
        fn_service(move |stream: TcpStream| {
            admit_unless_stopped(stream, admission.clone(), stopped())
        })
        .and_then(http)
    })?;
    Ok(builder.run())
}

/// `Admission` limits the connections of all threads together. This limit is for connections that no thread has looked
/// at yet: they wait in the kernel. When the server accepted them while its threads were busy, they took all open files
/// (20,000 within 2 s).
fn connections_per_thread(limits: &Limits, threads: usize) -> usize {
    (limits.connections + MAX_EVICTED_OPEN).div_ceil(threads.max(1))
}

/// actix's service for the requests of admitted connections. The future that `stopped` returns resolves when the server
/// stops.
fn http_service<S, B, F, Stopped>(
    app: S,
    limits: Limits,
    stopped: F,
) -> impl ServiceFactory<
    (Connection, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
>
where
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error>,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
    F: Fn() -> Stopped + 'static,
    Stopped: Future<Output = ()> + 'static,
{
    let app = app.map_err(|error| error.into().error_response());
    HttpService::build()
        .graceful_shutdown_signal(stopped)
        .keep_alive(limits.idle)
        // Connections have deadlines of their own.
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(limits.linger)
        .on_connect_ext(|connection: &Connection, data| {
            data.insert(connection.exchange());
        })
        .h1(map_config(app, |_| AppConfig::default()))
}

/// Like [`admit`], but gives up when the server stops: `stopped` resolves then.
async fn admit_unless_stopped(
    stream: TcpStream,
    admission: Arc<Admission>,
    stopped: impl Future<Output = ()>,
) -> Result<(Connection, Option<SocketAddr>), DispatchError> {
    tokio::select! {
        admitted = admit(stream, &admission) => admitted,
        () = stopped => Err(gone()),
    }
}

/// Admits a connection, and returns it once the head of its first request is complete: until then it costs a few
/// hundred bytes.
async fn admit(
    stream: TcpStream,
    admission: &Arc<Admission>,
) -> Result<(Connection, Option<SocketAddr>), DispatchError> {
    let peer = stream.peer_addr().ok();
    let refuse = |stream: &TcpStream, reason| {
        admission.tally.count(reason);
        refusal::send(stream, "503 Service Unavailable");
        gone()
    };
    let slot = match admission.admit(peer.map(|peer| peer.ip())) {
        Ok(slot) => slot,
        Err(Full::Process) => return Err(refuse(&stream, Reason::Full)),
        Err(Full::Address) => return Err(refuse(&stream, Reason::Address)),
    };
    let mut connection = Connection::new(stream, Exchange::new(slot));
    if !poll_fn(|cx| connection.poll_head(cx)).await? {
        return Err(gone());
    }
    match connection.try_serve() {
        true => Ok((connection, peer)),
        false => Err(refuse(connection.stream(), Reason::Full)),
    }
}

/// Logs the counts regularly: otherwise those at the end of a burst of refusals would not be logged.
async fn keep_logging(admission: Weak<Admission>) {
    loop {
        tokio::time::sleep(LOG_INTERVAL).await;
        match admission.upgrade() {
            Some(admission) => admission.tally.log(),
            None => return,
        }
    }
}

fn gone() -> DispatchError {
    DispatchError::Io(io::ErrorKind::ConnectionAborted.into())
}
