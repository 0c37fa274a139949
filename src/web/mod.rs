//! HTTP and HTML, and nothing else.
//!
//! [`routes()`] is the table of all pages. A page is one file: what it shows, its template, its handler. All code that
//! uses the database runs [`detached`]. The templates escape the texts that people wrote; the handlers never do.

mod auth;
#[cfg(test)]
pub(crate) mod captured;
mod conversation;
mod error;
mod files;
mod governance;
mod health;
pub mod http;
mod layout;
mod log_window;
mod page;
mod preferences;
mod routes;
pub mod webhook;
mod when;

use std::{net::IpAddr, sync::Arc, time::Duration};

use actix_web::{HttpResponse, http::header};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

pub use auth::{
    password,
    security_log::{self, security_events},
    setup::setup_link,
    token::Token,
};
pub use error::Error;
use error::Remedy;
pub use http::{client::Proxies, csrf::csrf, headers::headers, typed};
pub use routes::routes;

use crate::{clock::Clock, live::Live, objects::Objects, seal::Keyring, watchdog::watch};

/// How long the work for a page may go without progress: one query, or one request to a store.
const STALL: Duration = Duration::from_secs(20);

/// The state that all handlers share; one for the whole server.
pub struct Shared {
    pool: PgPool,
    clock: Clock,
    keyring: Keyring,
    objects: Objects,
    live: Live,
    public_url: Url,
    proxies: Proxies,
    ledger_key: String,
    /// True: pages show the pictures of stickers, from LINE's host.
    stickers: bool,
    gate: auth::gate::Gate,
    /// Limits how many logins of strangers are looked up at once.
    lookups: Semaphore,
    throttle: auth::throttle::Throttle,
    ends: auth::ends::Ends,
    security: Arc<auth::security_log::SecurityLog>,
    streams: conversation::live::Streams,
    door: health::Checks<2>,
    checks: health::Checks<3>,
    ended: auth::ended_tokens::EndedTokens,
}

impl Shared {
    /// `public_url` is the address that people and LINE use: it decides whether cookies are `Secure`. `proxies` are
    /// trusted to name their clients. `ledger_key` is the public key for the ledger's signatures. `stickers`: pages
    /// show the pictures of stickers, from LINE's host. Spawns tasks that end with `live`, so there has to be a
    /// runtime.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is another thing, and there is one caller"
    )]
    pub fn new(
        pool: PgPool,
        clock: Clock,
        keyring: Keyring,
        objects: Objects,
        live: Live,
        public_url: Url,
        proxies: Proxies,
        ledger_key: String,
        stickers: bool,
    ) -> Self {
        let ends = auth::ends::Ends::default();
        let security = Arc::new(auth::security_log::SecurityLog::default());
        tokio::spawn(ends.clone().follow(
            (pool.clone(), clock.clone(), keyring.clone()),
            live.clone(),
            Arc::clone(&security),
        ));
        tokio::spawn(Arc::clone(&security).keep_summarizing(clock.clone(), live.clone()));
        Self {
            pool,
            clock,
            keyring,
            objects,
            live,
            public_url,
            proxies,
            ledger_key,
            stickers,
            gate: auth::gate::Gate::default(),
            lookups: Semaphore::new(auth::login::LOOKUPS),
            throttle: auth::throttle::Throttle::default(),
            ends,
            security,
            streams: conversation::live::Streams::default(),
            door: health::Checks::default(),
            checks: health::Checks::default(),
            ended: auth::ended_tokens::EndedTokens::default(),
        }
    }

    /// Notes a security event in the log.
    fn note(&self, event: auth::security_log::Event, operator: Option<Uuid>, from: Option<IpAddr>) {
        self.security.note(event, operator, from, self.clock.now());
    }

    /// Begins a read-only transaction with one snapshot: a message that is unsent between two queries is in both
    /// results or in neither.
    async fn snapshot(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        let begin = "begin isolation level repeatable read read only";
        self.pool.begin_with(begin).await
    }

    /// True if the public address is https.
    fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }
}

fn see_other(to: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, to))
        .finish()
}

/// Runs `work` to its end, even if the HTTP connection ends before.
///
/// actix-web drops a handler with its connection: when that is cut, or the server stops. A dropped sqlx future can
/// return a database connection to the pool inside an open transaction, and writes that are acknowledged on it
/// afterwards are lost.
///
/// Work that stalls is dropped: a person waits, and a connection that is silent does not come back.
///
/// # Errors
/// The error of `work`; [`Error::Unavailable`] if it stalls; [`Error::Internal`] if it panics.
pub async fn detached<T: 'static>(
    work: impl Future<Output = Result<T, Error>> + 'static,
) -> Result<T, Error> {
    let work = async {
        watch(STALL, work)
            .await
            .unwrap_or(Err(Error::Unavailable("stalled")))
    };
    actix_web::rt::spawn(work)
        .await
        .unwrap_or(Err(Error::Internal("panic")))
}
