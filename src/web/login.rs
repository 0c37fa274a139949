//! Signing in and out.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use askama::Template;
use serde::Deserialize;

use super::{Error, Shared, Token, cookies, detached, form::Form as Fields, look::Look, see_other};
use crate::records::{operators, sessions};

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

/// Logins are short; what is longer was not typed by a person.
const MAX_LOGIN: usize = 200;

/// `GET /login`
pub(super) async fn page(look: Look, query: web::Query<Query>) -> Result<HttpResponse, Error> {
    let page = Page {
        theme: look.theme,
        next: query.into_inner().next,
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
    let Form {
        login,
        password,
        next,
    } = form;
    // No login has control characters, and PostgreSQL takes no U+0000.
    let login = login
        .trim()
        .to_lowercase()
        .replace(char::is_control, "\u{fffd}");
    if login.len() > MAX_LOGIN || password.len() > super::password::MAX_BYTES {
        return Err(Error::Unreadable);
    }
    let address = shared.proxies.client_of(&request);
    detached(async move {
        let now = shared.clock.now();
        shared
            .throttle
            .admit(&login, address, now)
            .map_err(Error::TooMany)?;
        let known = operators::credentials(&mut *shared.pool.acquire().await?, &login).await?;
        let (id, phc) = known.unzip();
        let right = shared.gate.verify(password, phc).await;
        match (right.ok_or(Error::TooMany(1))?, id) {
            (true, Some(id)) => {
                shared.throttle.succeeded(&login, address);
                let token = Token::random();
                let mut conn = shared.pool.acquire().await?;
                sessions::begin(&mut conn, &token.hash(), id, now).await?;
                tracing::info!(operator = %id, "signed in");
                let mut response = see_other(inside(&next));
                response
                    .add_cookie(&cookies::session(&shared, &token))
                    .map_err(|_| Error::Internal("cookie"))?;
                Ok(response)
            }
            _ => {
                let page = Page {
                    theme: look.theme,
                    next,
                    login,
                    failed: true,
                };
                Ok(HttpResponse::Unauthorized()
                    .content_type("text/html; charset=utf-8")
                    .body(page.render()?))
            }
        }
    })
    .await
}

/// `POST /logout`: the session ends here, and in every copy of its cookie.
pub(super) async fn sign_out(
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Error> {
    let token = cookies::token(&request, &shared);
    detached(async move {
        if let Some(token) = token {
            sessions::end(&mut *shared.pool.acquire().await?, &token.hash()).await?;
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
