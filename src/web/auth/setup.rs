//! The one-time link that makes the first administrator.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{gate::Queue, login::signed_in, password, security_log::Event};
use crate::records::{
    attested::Found,
    login::Login,
    operators::{self, NewOperator},
    sessions,
};
use crate::web::{
    Error, Shared, Token, detached, http::form::FormBody, page, preferences::Preferences,
};

/// How long the link is valid.
const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Makes a setup link, which replaces an earlier one, and returns its URL. A person who opens it can make themselves an
/// administrator.
///
/// # Errors
/// [`Error`] if the database does not answer or refuses.
pub async fn setup_link(shared: &Shared) -> Result<url::Url, Error> {
    let token = Token::random(shared.keyring.attestation());
    let mut conn = shared.pool.acquire().await?;
    let expires_at = shared.clock.now() + LIFETIME;
    sessions::make_setup_link(&mut conn, &shared.keyring, &token.hash(), expires_at).await?;
    let mut link = shared.public_url.clone();
    link.set_path("/setup");
    link.query_pairs_mut().append_pair("token", token.text());
    Ok(link)
}

#[derive(Template)]
#[template(path = "setup.html")]
struct Page {
    theme: &'static str,
    token: String,
    login: String,
    fault: Option<String>,
    min_chars: usize,
}

impl Page {
    fn response(&self, builder: actix_web::HttpResponseBuilder) -> Result<HttpResponse, Error> {
        page::html_in(builder, self)
    }
}

// No Debug in this file: tokens and passwords.
#[derive(Deserialize)]
pub(in crate::web) struct Query {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
pub(in crate::web) struct Form {
    token: String,
    login: String,
    password: String,
    again: String,
}

/// `GET /setup?token=…`: shows the form, and does not use the link up.
pub(in crate::web) async fn page(
    shared: web::Data<Shared>,
    preferences: Preferences,
    query: web::Query<Query>,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    let from = shared.proxies.client_of(&request);
    detached(async move {
        let token = query.into_inner().token;
        let hash = hash(&shared, &token)?;
        let mut conn = shared.pool.acquire().await?;
        let now = shared.clock.now();
        let found = sessions::setup_link_lives(&mut conn, &shared.keyring, &hash, now).await?;
        require_genuine_link(&shared, found, from)?;
        let page = Page {
            theme: preferences.theme,
            token,
            login: String::new(),
            fault: None,
            min_chars: password::MIN_CHARS,
        };
        page.response(HttpResponse::Ok())
    })
    .await
}

/// The SHA-256 of a link's token, as the database stores it. Fails, before any query, if this service did not make the
/// token.
fn hash(shared: &Shared, token: &str) -> Result<[u8; 32], Error> {
    let token = Token::read(token, shared.keyring.attestation());
    Ok(token.ok_or(Error::SetupLink)?.hash())
}

/// Fails unless there is such a link and this program wrote its row; logs a forged row.
fn require_genuine_link(
    shared: &Shared,
    found: Found<()>,
    from: Option<IpAddr>,
) -> Result<(), Error> {
    if found == Found::Forged {
        shared.note(Event::ForgedRow, None, from);
    }
    found.yes().ok_or(Error::SetupLink)
}

/// The form again, with the reason why it was refused.
fn refused(
    preferences: Preferences,
    token: String,
    login: &str,
    fault: String,
) -> Result<HttpResponse, Error> {
    let page = Page {
        theme: preferences.theme,
        token,
        login: login.replace(char::is_control, "\u{fffd}"),
        fault: Some(fault),
        min_chars: password::MIN_CHARS,
    };
    page.response(HttpResponse::UnprocessableEntity())
}

/// `POST /setup`: adds the operator, uses the link up, and signs the operator in.
pub(in crate::web) async fn make(
    request: HttpRequest,
    shared: web::Data<Shared>,
    preferences: Preferences,
    FormBody(form): FormBody<Form>,
) -> Result<HttpResponse, Error> {
    let Form {
        token,
        login,
        password,
        again,
    } = form;
    let from = shared.proxies.client_of(&request);
    detached(async move {
        let now = shared.clock.now();
        let hash = hash(&shared, &token)?;
        let mut conn = shared.pool.acquire().await?;
        // The link is checked before the password is hashed, so that a stranger cannot cause that work.
        let found = sessions::setup_link_lives(&mut conn, &shared.keyring, &hash, now).await?;
        require_genuine_link(&shared, found, from)?;
        let account = match Account::check(&shared, &login, password, &again).await? {
            Ok(account) => account,
            Err(fault) => return refused(preferences, token, &login, fault),
        };
        let link = Link { hash, from, now };
        let Some((id, session)) = add_admin(&mut conn, &shared, &link, &account).await? else {
            let fault = format!("the login {} is taken", account.login.as_str());
            return refused(preferences, token, &login, fault);
        };
        shared.note(Event::SetupUsed, Some(id), from);
        let who = (id, operators::FIRST_VERSION);
        signed_in(&shared, "/conversations", &session, who, None)
    })
    .await
}

/// A login and a password that may be used.
struct Account {
    login: Login,
    password_hash: String,
}

impl Account {
    /// Checks what was typed, and hashes the password. The inner error is the reason for the form.
    async fn check(
        shared: &Shared,
        login: &str,
        password: String,
        again: &str,
    ) -> Result<Result<Self, String>, Error> {
        if password != again {
            return Ok(Err("the two passwords differ".to_owned()));
        }
        let phc = shared.gate.hash(Queue::Known, password).await;
        let phc = phc
            .ok_or(Error::TooMany(1))?
            .map_err(|fault| fault.to_string());
        let login = Login::new(login).map_err(|fault| fault.to_string());
        Ok(phc.and_then(|password_hash| {
            Ok(Self {
                login: login?,
                password_hash,
            })
        }))
    }
}

/// A setup link that is being used: its hash, the client's address, the time of the request.
struct Link {
    hash: [u8; 32],
    from: Option<IpAddr>,
    now: DateTime<Utc>,
}

/// Uses the link up, adds the administrator and begins their session. `None`: the login is taken.
async fn add_admin(
    conn: &mut PgConnection,
    shared: &Shared,
    link: &Link,
    account: &Account,
) -> Result<Option<(Uuid, Token)>, Error> {
    let (keyring, now) = (&shared.keyring, link.now);
    let mut tx = conn.begin().await?;
    let found = sessions::use_setup_link(&mut tx, keyring, &link.hash, now).await?;
    require_genuine_link(shared, found, link.from)?;
    let new = NewOperator {
        login: account.login.as_str(),
        password_hash: &account.password_hash,
        role: "admin",
        channels: None,
    };
    let Some(id) = operators::add(&mut tx, keyring, &new, now).await? else {
        // The transaction is not committed, so the link stays valid.
        return Ok(None);
    };
    let token = Token::random(keyring.attestation());
    let who = (id, operators::FIRST_VERSION);
    if !sessions::begin(&mut tx, keyring, &token.hash(), who, now).await? {
        return Err(Error::Internal("a new operator"));
    }
    tx.commit().await?;
    Ok(Some((id, token)))
}
