//! The one-time link that makes the first administrator.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use chrono::TimeDelta;
use serde::Deserialize;
use sqlx::Connection;

use super::{gate::Queue, login::signed_in, password, security_log::Event};
use crate::records::{
    attested::Found,
    login::Login,
    operators::{self, NewOperator},
    sessions,
};
use crate::web::{
    Error, Shared, Token, detached, http::form::Form as Fields, preferences::Preferences,
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
    fn response(&self, mut builder: actix_web::HttpResponseBuilder) -> Result<HttpResponse, Error> {
        Ok(builder
            .content_type("text/html; charset=utf-8")
            .body(self.render()?))
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
        believed(&shared, found, from)?;
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
fn believed(shared: &Shared, found: Found<()>, from: Option<IpAddr>) -> Result<(), Error> {
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
    Fields(form): Fields<Form>,
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
        believed(&shared, found, from)?;
        if password != again {
            return refused(
                preferences,
                token,
                &login,
                "the two passwords differ".to_owned(),
            );
        }
        let phc = shared.gate.hash(Queue::Known, password).await;
        let phc = phc
            .ok_or(Error::TooMany(1))?
            .map_err(|fault| fault.to_string());
        let made = Login::new(&login).map_err(|fault| fault.to_string());
        let (phc, made) = match phc.and_then(|phc| Ok((phc, made?))) {
            Ok(right) => right,
            Err(fault) => return refused(preferences, token, &login, fault),
        };
        let mut tx = conn.begin().await?;
        let found = sessions::use_setup_link(&mut tx, &shared.keyring, &hash, now).await?;
        believed(&shared, found, from)?;
        let new = NewOperator {
            login: made.as_str(),
            password_hash: &phc,
            role: "admin",
            channels: None,
        };
        let added = operators::add(&mut tx, &shared.keyring, &new, now).await?;
        let Some(id) = added else {
            // The transaction is not committed, so the link stays valid.
            let fault = format!("the login {} is taken", made.as_str());
            return refused(preferences, token, &login, fault);
        };
        let (token, who) = (
            Token::random(shared.keyring.attestation()),
            (id, operators::FIRST_VERSION),
        );
        if !sessions::begin(&mut tx, &shared.keyring, &token.hash(), who, now).await? {
            return Err(Error::Internal("a new operator"));
        }
        tx.commit().await?;
        shared.note(Event::SetupUsed, Some(id), from);
        signed_in(&shared, "/conversations", &token, who, None)
    })
    .await
}
