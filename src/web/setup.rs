//! The one-time link that makes the first administrator.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use chrono::TimeDelta;
use serde::Deserialize;
use sqlx::Connection;

use super::{
    Error, Shared, Token, detached, form::Form as Fields, gate::Queue, login::signed_in,
    look::Look, password, security_log::Event,
};
use crate::records::{
    attested::Found,
    login::Login,
    operators::{self, NewOperator},
    sessions,
};

/// How long the link lives.
const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Makes the link, in place of an earlier one, and gives its address. Whoever opens it becomes an administrator.
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
pub(super) struct Query {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
pub(super) struct Form {
    token: String,
    login: String,
    password: String,
    again: String,
}

/// `GET /setup?token=…`; looking does not use the link up.
pub(super) async fn page(
    shared: web::Data<Shared>,
    look: Look,
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
            theme: look.theme,
            token,
            login: String::new(),
            fault: None,
            min_chars: password::MIN_CHARS,
        };
        page.response(HttpResponse::Ok())
    })
    .await
}

/// What the database knows of a link's token. An error, before it is asked, if this service did not make the token.
fn hash(shared: &Shared, token: &str) -> Result<[u8; 32], Error> {
    let token = Token::read(token, shared.keyring.attestation());
    Ok(token.ok_or(Error::SetupLink)?.hash())
}

/// An error unless the link is one that this program made.
fn believed(shared: &Shared, found: Found<()>, from: Option<IpAddr>) -> Result<(), Error> {
    if found == Found::Forged {
        shared.note(Event::ForgedRow, None, from);
    }
    found.yes().ok_or(Error::SetupLink)
}

/// The form once more, with what is wrong.
fn refused(look: Look, token: String, login: &str, fault: String) -> Result<HttpResponse, Error> {
    let page = Page {
        theme: look.theme,
        token,
        login: login.replace(char::is_control, "\u{fffd}"),
        fault: Some(fault),
        min_chars: password::MIN_CHARS,
    };
    page.response(HttpResponse::UnprocessableEntity())
}

/// `POST /setup`: makes the operator, ends the link, signs in.
pub(super) async fn make(
    request: HttpRequest,
    shared: web::Data<Shared>,
    look: Look,
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
        // Before the password is hashed, so that a stranger can't make us do so.
        let found = sessions::setup_link_lives(&mut conn, &shared.keyring, &hash, now).await?;
        believed(&shared, found, from)?;
        if password != again {
            return refused(look, token, &login, "the two passwords differ".to_owned());
        }
        let phc = shared.gate.hash(Queue::Known, password).await;
        let phc = phc
            .ok_or(Error::TooMany(1))?
            .map_err(|fault| fault.to_string());
        let made = Login::new(&login).map_err(|fault| fault.to_string());
        let (phc, made) = match phc.and_then(|phc| Ok((phc, made?))) {
            Ok(right) => right,
            Err(fault) => return refused(look, token, &login, fault),
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
            // Without a commit the link stays.
            let fault = format!("the login {} is taken", made.as_str());
            return refused(look, token, &login, fault);
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
