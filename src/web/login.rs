//! Signing in and out.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Error, Shared, Token, cookies, detached, device::Device, form::Form as Fields, gate::Queue,
    look::Look, password::Verdict, security_log::Event, see_other, throttle::Asker,
};
use crate::records::{
    attested::Found,
    login::Login,
    operators::{self, Credentials},
    sessions,
};

#[derive(Template)]
#[template(path = "login.html")]
struct Page {
    theme: &'static str,
    next: String,
    login: String,
    failed: bool,
}

#[derive(Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    next: String,
}

// No Debug: it holds a password.
#[derive(Deserialize)]
pub(super) struct Form {
    login: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// Bytes of what is typed as a login; what is longer was not typed by a person.
const MAX_TYPED: usize = 1000;

/// Bytes of an address to come back to. The page repeats it, escaped: 30 kB of quotes made a page of 150 kB.
const MAX_NEXT: usize = 2048;

/// Strangers whose logins are looked up at once. More of them would keep the database's connections from everybody else.
pub(super) const LOOKUPS: usize = 64;

/// An address to come back to, unless it is too long.
pub(super) fn kept(next: String) -> String {
    match next.len() <= MAX_NEXT {
        true => next,
        false => String::new(),
    }
}

/// `GET /login`
pub(super) async fn page(look: Look, query: web::Query<Query>) -> Result<HttpResponse, Error> {
    let page = Page {
        theme: look.theme,
        next: kept(query.into_inner().next),
        login: String::new(),
        failed: false,
    };
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .body(page.render()?))
}

/// `POST /login`: a new session, never one the browser brought. An unknown login is answered as a wrong password is,
/// after as much work.
pub(super) async fn sign_in(
    request: HttpRequest,
    shared: web::Data<Shared>,
    look: Look,
    Fields(form): Fields<Form>,
) -> Result<HttpResponse, Error> {
    if form.login.len() > MAX_TYPED || form.password.len() > super::password::MAX_BYTES {
        return Err(Error::Unreadable);
    }
    let from = Browser {
        address: shared.proxies.client_of(&request),
        device: cookies::known_device(&request, &shared),
    };
    detached(async move {
        let Form {
            login,
            password,
            next,
        } = form;
        if let Some(operator) = verify(&shared, &login, password, &from).await?
            && let Some(response) = begin(&shared, &operator, &from, &next).await?
        {
            return Ok(response);
        }
        failed(look, login, next)
    })
    .await
}

/// Where a sign-in comes from.
struct Browser {
    address: Option<IpAddr>,
    device: Option<Device>,
}

impl Browser {
    /// The asker, for a login of this operator: another's device is nobody's.
    fn asker(&self, operator: Option<&Credentials>) -> Asker {
        let is_of = |device: &Device| {
            operator.is_some_and(|operator| {
                (device.operator_id, device.version) == (operator.id, operator.version)
            })
        };
        Asker {
            address: self.address,
            device: self.device.filter(is_of).map(|device| device.id),
            version: operator.map(|operator| operator.version),
        }
    }
}

/// The operator of this login and password. Refused before anything is hashed if there were too many tries.
async fn verify(
    shared: &Shared,
    typed: &str,
    password: String,
    from: &Browser,
) -> Result<Option<Credentials>, Error> {
    let now = shared.clock.now();
    // All spellings of a login are counted as one.
    let name = Login::new(typed).map_or_else(|_| typed.trim().to_lowercase(), Login::into_text);
    let mut lookup = None;
    if from.device.is_none() {
        let asker = from.asker(None);
        let early = shared.throttle.check(&name, asker, now);
        if let Queue::Strangers(_) = early.map_err(Error::TooMany)? {
            let permit = shared.lookups.try_acquire();
            lookup = Some(permit.map_err(|_| Error::TooMany(1))?);
        }
    }
    let mut conn = shared.pool.acquire().await?;
    let found = operators::credentials(&mut conn, &shared.keyring, typed).await?;
    drop((conn, lookup));
    if found == Found::Forged {
        shared.note(Event::ForgedRow, None, from.address);
    }
    let operator = found.yes();
    let name = operator.as_ref().map_or(name, |known| known.login.clone());
    let asker = from.asker(operator.as_ref());
    let queue = shared.throttle.admit(&name, asker, now);
    let queue = queue.map_err(Error::TooMany)?;
    let phc = operator.as_ref().map(|known| known.password_hash.clone());
    let id = operator.as_ref().map(|known| known.id);
    let Some(verdict) = shared.gate.verify(queue, id, password, phc).await else {
        shared.throttle.give_back(&name, asker, queue);
        return Err(Error::TooMany(1));
    };
    match (verdict, operator) {
        (Verdict::Right(anew), Some(operator)) => {
            shared.throttle.succeeded(&name, asker, queue, now);
            if let Some(phc) = anew {
                let mut conn = shared.pool.acquire().await?;
                operators::rehash(&mut conn, &shared.keyring, &operator, &phc).await?;
            }
            Ok(Some(operator))
        }
        (_, operator) => {
            let id = operator.map(|known| known.id);
            shared.note(Event::SignInFailed, id, from.address);
            Ok(None)
        }
    }
}

/// Begins a session and leads to `next`. `None` if the operator was disabled, or has another password, since it was
/// verified.
async fn begin(
    shared: &Shared,
    operator: &Credentials,
    from: &Browser,
    next: &str,
) -> Result<Option<HttpResponse>, Error> {
    let now = shared.clock.now();
    let token = Token::random(shared.keyring.attestation());
    let who = (operator.id, operator.version);
    let mut conn = shared.pool.acquire().await?;
    if !sessions::begin(&mut conn, &shared.keyring, &token.hash(), who, now).await? {
        shared.note(Event::SignInFailed, Some(operator.id), from.address);
        return Ok(None);
    }
    shared.note(Event::SignedIn, Some(operator.id), from.address);
    let known = from.asker(Some(operator)).device;
    signed_in(shared, inside(next), &token, who, known).map(Some)
}

/// The answer to a new session: leads to a place, with the session's cookie, then that of the device, which is `known`
/// or gets an id.
pub(super) fn signed_in(
    shared: &Shared,
    to: &str,
    token: &Token,
    (operator_id, version): (Uuid, i32),
    known: Option<Uuid>,
) -> Result<HttpResponse, Error> {
    let device = Device {
        id: known.unwrap_or_else(Uuid::new_v4),
        operator_id,
        version,
        issued_at: shared.clock.now(),
    };
    let mut response = see_other(to);
    for cookie in [
        cookies::session(shared, token),
        cookies::device(shared, &device),
    ] {
        response
            .add_cookie(&cookie)
            .map_err(|_| Error::Internal("cookie"))?;
    }
    Ok(response)
}

fn failed(look: Look, login: String, next: String) -> Result<HttpResponse, Error> {
    let page = Page {
        theme: look.theme,
        next: kept(next),
        login: login.trim().replace(char::is_control, "\u{fffd}"),
        failed: true,
    };
    Ok(HttpResponse::Unauthorized()
        .content_type("text/html; charset=utf-8")
        .body(page.render()?))
}

/// `POST /logout`: the session ends here, and in every copy of its cookie.
pub(super) async fn sign_out(
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Error> {
    let token = cookies::token(&request, &shared);
    let from = shared.proxies.client_of(&request);
    detached(async move {
        if let Some(token) = token {
            let mut conn = shared.pool.acquire().await?;
            if let Some(operator) = sessions::end(&mut conn, &token.hash()).await? {
                shared.note(Event::SignedOut, Some(operator), from);
            }
        }
        let mut response = see_other("/login");
        response.headers_mut().insert(
            header::HeaderName::from_static("clear-site-data"),
            header::HeaderValue::from_static("\"cache\", \"storage\""),
        );
        response
            .add_cookie(&cookies::removal(&shared))
            .map_err(|_| Error::Internal("cookie"))?;
        Ok(response)
    })
    .await
}

/// Where to go after sign-in: a place of ours, or the conversations.
fn inside(next: &str) -> &str {
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if ours { next } else { "/conversations" }
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn sign_in_leads_nowhere_else() {
        assert_eq!(inside("/erasures?before=1"), "/erasures?before=1");
        for outside in [
            "",
            "//evil.test",
            "/\\evil.test",
            "https://evil.test",
            "/x\r\nset-cookie: a=b",
            "/\t/evil.test",
        ] {
            assert_eq!(inside(outside), "/conversations", "{outside:?}");
        }
    }
}
