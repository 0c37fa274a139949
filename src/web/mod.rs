//! The doors. HTTP and HTML live here and nowhere else.
//!
//! A page is one file: what it shows, its template, its handler. Everything that touches the database runs
//! [`detached`]. What people wrote is escaped by the templates, never here.

mod assets;
mod cookies;
mod csrf;
mod error;
mod headers;
mod health;
mod login;
mod look;
pub mod password;
mod session;
mod setup;
mod shell;
mod throttle;
mod token;

use actix_web::{
    HttpResponse,
    guard::{self, Guard},
    http::header,
    web,
};
use sqlx::PgPool;
use url::Url;

pub use csrf::csrf;
pub use error::Error;
pub use headers::headers;
pub use setup::setup_link;
pub use token::Token;

use crate::clock::Clock;

/// What the handlers share; one for the whole server.
pub struct Shared {
    pool: PgPool,
    clock: Clock,
    public_url: Url,
    gate: password::Gate,
    throttle: throttle::Throttle,
}

impl Shared {
    /// `public_url` is what people and LINE see: it decides whether cookies are `Secure`.
    pub fn new(pool: PgPool, clock: Clock, public_url: Url) -> Self {
        Self {
            pool,
            clock,
            public_url,
            gate: password::Gate::default(),
            throttle: throttle::Throttle::default(),
        }
    }
}

/// Every route but the webhook's.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PathConfig::default().error_handler(|_, _| Error::NotFound.into()))
        .app_data(web::QueryConfig::default().error_handler(|_, _| Error::Unreadable.into()))
        .app_data(
            web::FormConfig::default()
                .limit(64 * 1024)
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
/// actix-web drops a handler when its client resets the connection; a dropped sqlx future can hand a connection back
/// to the pool inside an open transaction, and what is acknowledged on it afterwards is lost.
pub async fn detached<T: 'static>(
    work: impl Future<Output = Result<T, Error>> + 'static,
) -> Result<T, Error> {
    actix_web::rt::spawn(work)
        .await
        .unwrap_or(Err(Error::Internal("panic")))
}
