//! Signing in and out.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{device::Device, gate::Queue, password::Verdict, security_log::Event, throttle::Asker};
use crate::records::{
    attested::Found,
    login::Login,
    operators::{self, Credentials},
    sessions,
};
use crate::web::{
    Error, Shared, Token, detached,
    http::{cookies, form::FormBody},
    page,
    preferences::Preferences,
    see_other,
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
pub(in crate::web) struct Query {
    #[serde(default)]
    next: String,
}

// No Debug: it holds a password.
#[derive(Deserialize)]
pub(in crate::web) struct Form {
    login: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// Maximum length of a typed login, in bytes; no person types a longer one.
const MAX_TYPED: usize = 1000;

/// Maximum length of the address to come back to, in bytes. The page repeats it, escaped: 30 kB of quotes made a page
/// of 150 kB.
const MAX_NEXT: usize = 2048;

/// Logins of strangers that are looked up at once. More look-ups would keep the database's connections from all others.
pub(in crate::web) const LOOKUPS: usize = 64;

/// The address to come back to; empty if it is longer than [`MAX_NEXT`].
pub(in crate::web) fn kept(next: String) -> String {
    match next.len() <= MAX_NEXT {
        true => next,
        false => String::new(),
    }
}

/// `GET /login`
pub(in crate::web) async fn page(
    preferences: Preferences,
    query: web::Query<Query>,
) -> Result<HttpResponse, Error> {
    let page = Page {
        theme: preferences.theme,
        next: kept(query.into_inner().next),
        login: String::new(),
        failed: false,
    };
    page::html(&page)
}

/// `POST /login`: begins a new session, and never reuses one that the browser sent. An unknown login gets the same
/// response as a wrong password, after as much work.
pub(in crate::web) async fn sign_in(
    request: HttpRequest,
    shared: web::Data<Shared>,
    preferences: Preferences,
    FormBody(form): FormBody<Form>,
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
        failed(preferences, login, next)
    })
    .await
}

/// The client of a sign-in.
struct Browser {
    address: Option<IpAddr>,
    device: Option<Device>,
}

impl Browser {
    /// The asker for a login of `operator`. A device of another operator, or of earlier credentials, is ignored.
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

/// The operator of this login and password; `None` if they do not match. Fails before anything is hashed if there were
/// too many tries.
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
        (Verdict::Right(new_hash), Some(operator)) => {
            shared.throttle.succeeded(&name, asker, queue, now);
            if let Some(phc) = new_hash {
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

/// Begins a session and redirects to `next`. `None` if the operator was disabled, or got another password, role or
/// scope, since the password was verified.
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
    signed_in(shared, local_path_or_default(next), &token, who, known).map(Some)
}

/// The response to a new session: a redirect to `to`, with the session's cookie, then the device's. `known` is the id
/// of a known device; `None`: the device gets a new id.
pub(in crate::web) fn signed_in(
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

fn failed(preferences: Preferences, login: String, next: String) -> Result<HttpResponse, Error> {
    let page = Page {
        theme: preferences.theme,
        next: kept(next),
        login: login.trim().replace(char::is_control, "\u{fffd}"),
        failed: true,
    };
    page::html_in(HttpResponse::Unauthorized(), &page)
}

/// `POST /logout`: ends the session, so that no copy of its cookie is valid.
pub(in crate::web) async fn sign_out(
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

/// The address to go to after sign-in: `next` if it is a path of this service, else the list of conversations.
fn local_path_or_default(next: &str) -> &str {
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if ours { next } else { "/conversations" }
}

#[cfg(test)]
mod tests {
    use super::local_path_or_default;

    #[test]
    fn sign_in_leads_nowhere_else() {
        assert_eq!(
            local_path_or_default("/erasures?before=1"),
            "/erasures?before=1"
        );
        for outside in [
            "",
            "//evil.test",
            "/\\evil.test",
            "https://evil.test",
            "/x\r\nset-cookie: a=b",
            "/\t/evil.test",
        ] {
            assert_eq!(
                local_path_or_default(outside),
                "/conversations",
                "{outside:?}"
            );
        }
    }
}
