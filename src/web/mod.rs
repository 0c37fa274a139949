//! The doors. HTTP and HTML live here and nowhere else.
//!
//! A page is one file: what it shows, its template, its handler. Everything that touches the database runs
//! [`detached`]. What people wrote is escaped by the templates, never here.

mod assets;
mod attachments;
#[cfg(test)]
pub(crate) mod captured;
mod client;
mod conversations;
mod cookies;
mod csrf;
mod cursor;
mod device;
mod ends;
mod erasure;
mod erasures;
mod erasures_csv;
mod error;
mod fetch;
mod file_name;
mod form;
mod gallery;
mod gate;
mod headers;
mod health;
mod holds;
pub mod http;
mod lang;
mod list;
mod live;
mod login;
mod look;
mod names;
mod orders;
pub mod password;
mod person;
mod preview;
mod range;
mod requests;
mod retention;
pub mod security_log;
mod session;
mod setup;
mod shell;
mod sniff;
mod stickers;
mod text;
mod thread;
mod throttle;
mod token;
pub mod typed;
pub mod webhook;
mod when;

use std::{net::IpAddr, sync::Arc};

use actix_web::{
    HttpResponse,
    guard::{self, Guard},
    http::header,
    web,
};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

pub use client::Proxies;
pub use csrf::csrf;
pub use error::Error;
pub use headers::headers;
pub use security_log::security_events;
pub use setup::setup_link;
pub use token::Token;

use crate::{clock::Clock, live::Live, objects::Objects, seal::Keyring};

/// What the handlers share; one for the whole server.
pub struct Shared {
    pool: PgPool,
    clock: Clock,
    keyring: Keyring,
    objects: Objects,
    live: Live,
    public_url: Url,
    proxies: Proxies,
    ledger_key: String,
    /// Pages show the pictures of stickers, from LINE's host.
    stickers: bool,
    gate: gate::Gate,
    /// Sign-ins of strangers whose login is being looked up.
    lookups: Semaphore,
    throttle: throttle::Throttle,
    ends: ends::Ends,
    security: Arc<security_log::SecurityLog>,
    streams: live::Streams,
    ready: health::Last,
}

impl Shared {
    /// `public_url` is what people and LINE see: it decides whether cookies are `Secure`. `proxies` are believed when
    /// they say who asks. Spawns tasks that end with `live`, so there has to be a runtime. `ledger_key` is the public key that the ledger is signed with. `stickers`: pages show pictures of
    /// stickers, from LINE's host.
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
        let ends = ends::Ends::default();
        let security = Arc::new(security_log::SecurityLog::default());
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
            gate: gate::Gate::default(),
            lookups: Semaphore::new(login::LOOKUPS),
            throttle: throttle::Throttle::default(),
            ends,
            security,
            streams: live::Streams::default(),
            ready: health::Last::default(),
        }
    }

    /// Notes a security event in the log.
    fn note(&self, event: security_log::Event, operator: Option<Uuid>, from: Option<IpAddr>) {
        self.security.note(event, operator, from, self.clock.now());
    }

    /// A transaction that reads one moment: a message unsent between two queries is wholly there or wholly gone.
    async fn snapshot(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        let begin = "begin isolation level repeatable read read only";
        self.pool.begin_with(begin).await
    }

    /// Do people come by https?
    fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }
}

/// Every route but the webhook's.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PathConfig::default().error_handler(|_, _| Error::NotFound.into()))
        .app_data(web::QueryConfig::default().error_handler(|_, _| Error::Unreadable.into()))
        .app_data(
            web::FormConfig::default()
                .limit(16 * 1024)
                .error_handler(|_, _| Error::Unreadable.into()),
        )
        .route("/", read().to(async || see_other("/conversations")))
        .service(
            web::resource("/login")
                .route(read().to(login::page))
                .route(web::post().to(login::sign_in)),
        )
        .route("/logout", web::post().to(login::sign_out))
        .service(
            web::resource("/setup")
                .route(read().to(setup::page))
                .route(web::post().to(setup::make)),
        )
        .route("/conversations", read().to(conversations::list))
        .route(
            "/conversations/{id}",
            read().to(conversations::conversation),
        )
        .route("/conversations/{id}/media", read().to(gallery::page))
        .route(
            "/conversations/{id}/picture",
            read().to(attachments::conversation_picture),
        )
        .route(
            "/contacts/{id}/picture",
            read().to(attachments::contact_picture),
        )
        .route("/attachments/{id}", read().to(attachments::original))
        .route("/attachments/{id}/preview", read().to(attachments::preview))
        .route("/attachments/{id}/fetch", web::post().to(fetch::again))
        .route("/live", web::get().to(live::stream))
        .route("/erasures", read().to(erasures::page))
        .route("/erasures.csv", read().to(erasures_csv::file))
        .route("/erasures/{id}", read().to(erasure::page))
        .route("/erasures/{id}/receipt", read().to(erasure::hand_out))
        .service(
            web::resource("/retention")
                .route(read().to(retention::page))
                .route(web::post().to(retention::add)),
        )
        .route("/retention/{id}", read().to(retention::preview))
        .route("/retention/{id}/on", web::post().to(retention::on))
        .route("/retention/{id}/off", web::post().to(retention::off))
        .service(
            web::resource("/holds")
                .route(read().to(holds::page))
                .route(web::post().to(holds::set)),
        )
        .route("/holds/{id}", read().to(holds::withheld))
        .route("/holds/{id}/lift", web::post().to(holds::lift))
        .service(
            web::resource("/messages/{id}/erase")
                .route(read().to(orders::page))
                .route(web::post().to(orders::erase)),
        )
        .service(
            web::resource("/conversations/{id}/erase")
                .route(read().to(orders::whole_page))
                .route(web::post().to(orders::erase_whole)),
        )
        .route("/contacts/{id}/requests", read().to(requests::page))
        .route("/contacts/{id}/erase", web::post().to(requests::erase))
        .route("/contacts/{id}/export", web::post().to(requests::export))
        .route("/exports/{id}", read().to(attachments::export))
        .route("/static/{file}", read().to(assets::file))
        .route("/healthz", read().to(health::alive))
        .route("/readyz", read().to(health::ready))
        .default_service(web::route().to(async || Err::<HttpResponse, _>(Error::NotFound)));
}

/// A route for GET and HEAD.
fn read() -> actix_web::Route {
    web::route().guard(guard::fn_guard(|context| {
        guard::Get().check(context) || guard::Head().check(context)
    }))
}

fn see_other(to: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, to))
        .finish()
}

/// Runs to its end whatever becomes of the connection.
///
/// actix-web drops a handler with its connection: when that is cut, or the server stops. A dropped sqlx future can hand a connection back
/// to the pool inside an open transaction, and what is acknowledged on it afterwards is lost.
pub async fn detached<T: 'static>(
    work: impl Future<Output = Result<T, Error>> + 'static,
) -> Result<T, Error> {
    actix_web::rt::spawn(work)
        .await
        .unwrap_or(Err(Error::Internal("panic")))
}
