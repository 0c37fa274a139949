//! The session of a request, looked up once, before the handler begins.

use std::{net::IpAddr, sync::Arc};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, http::Method, web::Data};
use futures_util::future::LocalBoxFuture;
use sqlx::{Postgres, Transaction};

use super::{
    ends::SessionEnd,
    login,
    security_log::{Event, SignedInAs},
};
use crate::records::{
    attested::Found,
    sessions::{self, Session},
};
use crate::web::{Error, Shared, detached, http::cookies};

/// A signed-in operator. A handler that takes one answers 401, or redirects to sign-in, if the request has no session.
#[derive(Clone)]
pub(in crate::web) struct Viewer {
    pub(in crate::web) session: Session,
    pub(in crate::web) token_hash: [u8; 32],
    /// Resolves when the session ends while the request is being answered.
    pub(in crate::web) end: Arc<SessionEnd>,
}

impl Viewer {
    /// True for compliance staff and administrators, who may see the erasures.
    pub(in crate::web) fn sees_erasures(&self) -> bool {
        matches!(self.session.role.as_str(), "compliance" | "admin")
    }

    /// Fails with [`Error::Forbidden`] unless the operator is compliance staff or an administrator: only they decide
    /// what is erased and what is held.
    pub(in crate::web) fn governs(&self) -> Result<(), Error> {
        match self.sees_erasures() {
            true => Ok(()),
            false => Err(Error::Forbidden),
        }
    }

    /// Begins a transaction in which the operator acts. A form may arrive seconds after its head, and the session may
    /// have ended meanwhile: then this fails with [`Error::SignedOut`]. Until the transaction ends, so does no session
    /// of the operator.
    pub(in crate::web) async fn begin(
        &self,
        shared: &Shared,
    ) -> Result<Transaction<'static, Postgres>, Error> {
        let now = shared.clock.now();
        let mut tx = shared.pool.begin().await?;
        let operator = self.session.operator_id;
        let found =
            sessions::lock(&mut tx, &shared.keyring, &self.token_hash, operator, now).await?;
        found.map(|_| tx).ok_or(Error::SignedOut)
    }
}

impl FromRequest for Viewer {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let Some(shared) = request.app_data::<Data<Shared>>().cloned() else {
                return Err(Error::Internal("no state"));
            };
            let Some(token) = cookies::token(&request, &shared) else {
                return Err(nobody(&request, &shared));
            };
            let token_hash = token.hash();
            if shared.ended.contains(&token_hash) {
                return Err(nobody(&request, &shared));
            }
            // Registered before the session is looked up, because the session may end right after.
            let end = Arc::new(shared.ends.register(token_hash));
            let by_hand = is_by_hand(&request);
            let from = shared.proxies.client_of(&request);
            let found = detached(find(shared.clone(), token_hash, by_hand, from)).await?;
            let session = found.ok_or_else(|| nobody(&request, &shared))?;
            request
                .extensions_mut()
                .insert(SignedInAs(session.operator_id));
            Ok(Self {
                session,
                token_hash,
                end,
            })
        })
    }
}

async fn find(
    shared: Data<Shared>,
    token_hash: [u8; 32],
    by_hand: bool,
    from: Option<IpAddr>,
) -> Result<Option<Session>, Error> {
    let now = shared.clock.now();
    let mut conn = shared.pool.acquire().await?;
    match sessions::find(&mut conn, &shared.keyring, &token_hash, now).await? {
        Found::Yes(session) => {
            if by_hand {
                sessions::touch(&mut conn, &token_hash, session.last_seen_at, now).await?;
            }
            Ok(Some(session))
        }
        Found::No => {
            if sessions::is_gone(&mut conn, &token_hash).await? {
                shared.ended.add(token_hash);
            }
            Ok(None)
        }
        Found::Forged => {
            shared.note(Event::ForgedRow, None, from);
            Ok(None)
        }
    }
}

/// A request for a page is redirected to sign-in and back; any other is answered that the session has ended, or, without
/// a session's cookie, that nobody is signed in.
fn nobody(request: &HttpRequest, shared: &Shared) -> Error {
    let asks_for_page = match header(request, "sec-fetch-dest") {
        Some(destination) => destination == "document",
        None => header(request, "accept").is_some_and(|accept| accept.contains("text/html")),
    };
    if asks_for_page {
        // A redirect back cannot repeat a POST, and its address is not a page: after sign-in such a request leads to
        // `/`.
        let is_page = matches!(*request.method(), Method::GET | Method::HEAD);
        Error::SignIn(if is_page {
            login::kept(request.uri().to_string())
        } else {
            "/".to_owned()
        })
    } else if cookies::has_session(request, shared) {
        Error::SignedOut
    } else {
        Error::NotSignedIn
    }
}

/// True if a person caused the request. Requests that a page makes by itself do not keep its session alive.
fn is_by_hand(request: &HttpRequest) -> bool {
    header(request, "x-refresh").is_none()
        && matches!(
            header(request, "sec-fetch-dest"),
            None | Some("document" | "empty")
        )
        && request.path() != "/live"
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}
