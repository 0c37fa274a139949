//! An operator with a session, without a browser.

use anyhow::{Context, ensure};
use line_chat_archive::{
    records::operators::{self, NewOperator},
    web::password,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, header, redirect};
use url::{Url, form_urlencoded};

use crate::harness::T;

/// The password of every operator here.
pub const PASSWORD: &str = "correct horse battery";

impl T {
    /// Adds an operator who sees all channels.
    pub async fn operator(&self, login: &str) -> anyhow::Result<()> {
        let new = NewOperator {
            login,
            password_hash: &password::hash(PASSWORD)?,
            role: "compliance",
            channels: None,
        };
        let mut db = self.pool().acquire().await?;
        operators::add(&mut db, &self.keyring, &new, self.clock.now())
            .await?
            .context("a free login")?;
        Ok(())
    }

    /// Signs an operator in.
    pub async fn visitor(&self, login: &str) -> anyhow::Result<Visitor> {
        let http = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .build()?;
        let site = self.service.public_url.clone();
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("login", login)
            .append_pair("password", PASSWORD)
            .finish();
        let answer = http
            .post(site.join("/login")?)
            .header(header::ORIGIN, site.origin().ascii_serialization())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await?;
        ensure!(
            answer.status() == StatusCode::SEE_OTHER,
            "{}",
            answer.status()
        );
        let cookie = answer.headers()[header::SET_COOKIE].to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Ok(Visitor { http, site, cookie })
    }
}

/// A signed-in operator's session.
pub struct Visitor {
    http: Client,
    site: Url,
    cookie: String,
}

impl Visitor {
    /// A `GET` request for `path` with the session's cookie, not yet sent.
    pub fn asks(&self, path: &str) -> anyhow::Result<RequestBuilder> {
        let request = self.http.get(self.site.join(path)?);
        Ok(request.header(header::COOKIE, &self.cookie))
    }

    /// The answer to a request for `path`.
    pub async fn gets(&self, path: &str) -> anyhow::Result<Response> {
        Ok(self.asks(path)?.send().await?)
    }

    /// The status of the answer to a request for `path`.
    pub async fn status(&self, path: &str) -> anyhow::Result<u16> {
        Ok(self.gets(path).await?.status().as_u16())
    }

    /// The page at `path`.
    pub async fn reads(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.gets(path).await?;
        ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
        Ok(answer.text().await?)
    }
}
