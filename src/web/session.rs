//! Who is looking: the session behind a request, found once, before a handler begins.

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::Method, web::Data};
use futures_util::future::LocalBoxFuture;

use super::{Error, Shared, cookies, detached};
use crate::records::sessions::{self, Session};

/// A signed-in operator. A handler that asks for one answers 401, or leads to sign-in, when there is none.
#[derive(Clone)]
pub(super) struct Viewer {
    pub(super) session: Session,
    pub(super) token_hash: [u8; 32],
}

impl Viewer {
    /// Compliance staff and administrators see the erasures.
    pub(super) fn sees_erasures(&self) -> bool {
        matches!(self.session.role.as_str(), "compliance" | "admin")
    }

    /// Compliance staff and administrators say what is erased, and what is held.
    pub(super) fn governs(&self) -> Result<(), Error> {
        match self.sees_erasures() {
            true => Ok(()),
            false => Err(Error::Forbidden),
        }
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
                return Err(nobody(&request));
            };
            let token_hash = token.hash();
            let by_hand = is_by_hand(&request);
            let session = detached(async move {
                let now = shared.clock.now();
                let mut conn = shared.pool.acquire().await?;
                let session = sessions::find(&mut conn, &token_hash, now).await?;
                if let Some(session) = session.as_ref().filter(|_| by_hand) {
                    sessions::touch(&mut conn, &token_hash, session.last_seen_at, now).await?;
                }
                Ok(session)
            })
            .await?;
            session
                .map(|session| Self {
                    session,
                    token_hash,
                })
                .ok_or_else(|| nobody(&request))
        })
    }
}

/// A page leads to sign-in and back; anything else is told that the session has ended.
fn nobody(request: &HttpRequest) -> Error {
    let asks_for_page = match header(request, "sec-fetch-dest") {
        Some(destination) => destination == "document",
        None => header(request, "accept").is_some_and(|accept| accept.contains("text/html")),
    };
    if asks_for_page {
        // An order is not given again by coming back to its address, which is no page.
        let is_page = matches!(*request.method(), Method::GET | Method::HEAD);
        Error::SignIn(if is_page {
            request.uri().to_string()
        } else {
            "/".to_owned()
        })
    } else {
        Error::SignedOut
    }
}

/// True for what a person asked for. What a page fetches by itself does not keep its session alive.
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
