//! The one-time link that makes the first operator.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::TimeDelta;
use serde::Deserialize;
use sqlx::Connection;

use super::{
    Error, Shared, Token, cookies, detached, form::Form as Fields, look::Look, password, see_other,
};
use crate::records::{
    operators::{self, NewOperator},
    sessions,
};

/// How long the link lives.
const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Makes the link, in place of an earlier one, and gives its address. Whoever opens it becomes an administrator.
pub async fn setup_link(shared: &Shared) -> Result<url::Url, Error> {
    let token = Token::random();
    let mut conn = shared.pool.acquire().await?;
    let expires_at = shared.clock.now() + LIFETIME;
    sessions::make_setup_link(&mut conn, &token.hash(), expires_at).await?;
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
}

/// `GET /setup?token=…`; looking does not use the link up.
pub(super) async fn page(
    shared: web::Data<Shared>,
    look: Look,
    query: web::Query<Query>,
) -> Result<HttpResponse, Error> {
    detached(async move {
        let token = query.into_inner().token;
        let hash = Token::claimed(&token).hash();
        let mut conn = shared.pool.acquire().await?;
        if !sessions::setup_link_lives(&mut conn, &hash, shared.clock.now()).await? {
            return Err(Error::NotFound);
        }
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

/// `POST /setup`: makes the operator, ends the link, signs in.
pub(super) async fn make(
    shared: web::Data<Shared>,
    look: Look,
    Fields(form): Fields<Form>,
) -> Result<HttpResponse, Error> {
    let Form {
        token,
        login,
        password,
    } = form;
    let login = login.trim().to_lowercase();
    detached(async move {
        let now = shared.clock.now();
        let hash = Token::claimed(&token).hash();
        let mut conn = shared.pool.acquire().await?;
        // Before the password is hashed, so that a stranger can't make us do so.
        if !sessions::setup_link_lives(&mut conn, &hash, now).await? {
            return Err(Error::NotFound);
        }
        let phc = shared.gate.hash(password).await.ok_or(Error::TooMany(1))?;
        let fault = match &phc {
            Err(fault) => Some(fault.to_string()),
            Ok(_) if login.is_empty() || login.len() > 200 || login.contains(char::is_control) => {
                Some("a login is needed".to_owned())
            }
            Ok(_) => None,
        };
        let (Ok(phc), None) = (phc, &fault) else {
            let page = Page {
                theme: look.theme,
                token,
                login,
                fault,
                min_chars: password::MIN_CHARS,
            };
            return page.response(HttpResponse::UnprocessableEntity());
        };
        let mut tx = conn.begin().await?;
        if !sessions::use_setup_link(&mut tx, &hash, now).await? {
            return Err(Error::NotFound);
        }
        let new = NewOperator {
            login: &login,
            password_hash: &phc,
            role: "admin",
            channels: None,
        };
        let id = operators::add(&mut tx, &new, now)
            .await?
            .ok_or(Error::Forbidden)?;
        let token = Token::random();
        sessions::begin(&mut tx, &token.hash(), id, now).await?;
        tx.commit().await?;
        tracing::info!(operator = %id, "the first operator was made");
        let mut response = see_other("/conversations");
        response
            .add_cookie(&cookies::session(&shared, &token))
            .map_err(|_| Error::Internal("cookie"))?;
        Ok(response)
    })
    .await
}
