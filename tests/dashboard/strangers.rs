//! Strangers cannot use up resources that operators and webhooks need.

use std::time::Duration;

use reqwest::{Method, header};
use sqlx::{Postgres, pool::PoolConnection};
use tokio::{task::JoinSet, time::timeout};

use crate::site::Site;

/// Long enough for an answer that waits for nothing, but shorter than the wait for a database connection.
const SOON: Duration = Duration::from_secs(3);

/// Takes all database connections of the service's pool.
async fn all_connections(site: &Site) -> Vec<PoolConnection<Postgres>> {
    let pool = &site.service.pool;
    let mut held = vec![];
    for _ in 0..pool.options().get_max_connections() {
        held.push(pool.acquire().await.unwrap());
    }
    held
}

#[tokio::test]
async fn invented_tokens_are_refused_without_the_database() {
    let site = Site::new().await;
    let _held = all_connections(&site).await;
    let mut stranger = site.stranger();
    for invented in ["x", "none", &"A".repeat(43), &"A".repeat(86)] {
        stranger.cookie = Some(format!("session={invented}"));
        let setup = format!("/setup?token={invented}");
        for (method, path, status) in [
            (Method::GET, "/conversations", 303),
            (Method::GET, "/live", 303),
            (Method::POST, "/logout", 303),
            (Method::GET, setup.as_str(), 404),
        ] {
            let request = stranger
                .request(method, path)
                .header("sec-fetch-site", "same-origin");
            let answer = timeout(SOON, request.send()).await.expect("no wait");
            assert_eq!(answer.unwrap().status(), status, "{path} {invented}");
        }
    }
}

#[tokio::test]
async fn a_token_whose_session_has_ended_is_looked_up_once() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    let keiko = site.visitor("keiko").await;
    let left = keiko.clone().post("/logout", &[]).await;
    assert_eq!(left.status(), 303);
    assert_eq!(keiko.status("/conversations").await, 303);
    let _held = all_connections(&site).await;
    let again = timeout(SOON, keiko.status("/conversations")).await;
    assert_eq!(again.expect("no wait"), 303);
}

#[tokio::test]
async fn few_sign_ins_of_strangers_wait_for_the_database() {
    let site = Site::new().await;
    let stranger = site.stranger();
    let held = all_connections(&site).await;
    let mut asked = JoinSet::new();
    for n in 0..100 {
        let stranger = stranger.clone();
        asked.spawn(async move {
            let request = stranger
                .request(Method::POST, "/login")
                .header("sec-fetch-site", "same-origin")
                .header("x-forwarded-for", format!("198.{n}.100.7"))
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(format!("login=nobody{n}&password=guess"));
            request.send().await.unwrap().status()
        });
    }
    for _ in 0..36 {
        let refused = timeout(SOON, asked.join_next()).await.expect("no wait");
        assert_eq!(refused.unwrap().unwrap(), 429);
    }
    let waits = timeout(Duration::from_millis(200), asked.join_next()).await;
    assert!(waits.is_err(), "64 wait");
    drop(held);
    let looked_up = timeout(SOON * 3, asked.join_next()).await;
    assert!(looked_up.is_ok());
}

#[tokio::test]
async fn strangers_are_answered_uncompressed() {
    let site = Site::new().await;
    let mika = site.admin().await;
    let mut invented = site.stranger();
    invented.cookie = Some(format!("session={}", "A".repeat(86)));
    let encoding =
        async |visitor: &crate::support::visitor::Visitor, method: Method, path: &str| {
            let request = visitor
                .request(method, path)
                .header("sec-fetch-site", "same-origin")
                .header(header::ACCEPT_ENCODING, "gzip, deflate");
            let answer = request.send().await.unwrap();
            let encoding = answer.headers().get(header::CONTENT_ENCODING);
            encoding.map(|value| value.to_str().unwrap().to_owned())
        };
    for stranger in [&site.stranger(), &invented] {
        for path in ["/static/app.css", "/nowhere", "/healthz", "/conversations"] {
            let said = encoding(stranger, Method::GET, path).await;
            assert_eq!(said, None, "{path}");
        }
        let said = encoding(stranger, Method::POST, "/webhook/nowhere").await;
        assert_eq!(said, None);
    }
    let said = encoding(&mika, Method::GET, "/static/app.css").await;
    assert_eq!(said.as_deref(), Some("gzip"));
}
