//! A client with a cookie, like a browser without scripts.

use std::{net::SocketAddr, sync::LazyLock, time::Duration};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header, redirect};

/// One for all: to make one takes milliseconds, in which a flood of visitors would not send what it began. It keeps no
/// connection, which would belong to the runtime of one test.
static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
});

/// A client of the dashboard, signed in or not.
#[derive(Clone)]
pub struct Visitor {
    client: Client,
    address: SocketAddr,
    pub cookie: Option<String>,
}

impl Visitor {
    /// A visitor without a session.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            client: CLIENT.clone(),
            address,
            cookie: None,
        }
    }

    /// A request for a path, with the cookie, and with the `Accept` header of a browser that opens a page.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare_request(method, path)
            .header(header::ACCEPT, "text/html")
    }

    /// A request for a path, with the cookie, as for a picture in a page.
    pub fn bare_request(&self, method: Method, path: &str) -> RequestBuilder {
        let address = format!("http://{}{path}", self.address);
        let request = self.client.request(method, address);
        match &self.cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// The page at a path; the status has to be 200.
    pub async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    pub async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status().as_u16()
    }

    /// Posts a form as if from a page of this site.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        self.request(Method::POST, path)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .unwrap()
    }

    pub async fn sign_in(&self, login: &str, password: &str) -> Response {
        self.post("/login", &[("login", login), ("password", password)])
            .await
    }

    /// Signs in, and keeps the cookie; it has to succeed.
    pub async fn begin_session(&mut self, login: &str, password: &str) {
        let answer = self.sign_in(login, password).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        self.cookie = Some(cookie_of(&answer));
    }
}

/// The session cookie that an answer sets, as `name=value`.
pub fn cookie_of(answer: &Response) -> String {
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}
