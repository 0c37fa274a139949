//! A setup link that no longer works, or never did.

use std::time::Duration;

use line_chat_archive::web;
use reqwest::StatusCode;

use crate::{
    site::{Site, between},
    support::{visitor::Visitor, world::PASSWORD},
};

/// The page of a setup link that does not work, without the id that differs in each answer.
async fn dead(visitor: &Visitor, token: &str) -> String {
    let answer = visitor.get(&format!("/setup?token={token}")).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{token}");
    let page = answer.text().await.unwrap();
    let id = between(&page, "<code>", "</code>")[0].to_owned();
    page.replace(&id, "")
}

#[tokio::test]
async fn a_setup_link_that_does_not_work_says_what_to_do_and_nothing_of_its_token() {
    let site = Site::new().await;
    let link = async || {
        let link = web::setup_link(&site.service.shared).await.ok().unwrap();
        link.query_pairs().next().unwrap().1.into_owned()
    };
    let somebody = site.stranger();
    let replaced = link().await;
    let cut = link().await;
    let cut = &cut[..cut.len() - 10];
    let over = link().await;
    let pages = [
        dead(&somebody, &replaced).await,
        dead(&somebody, cut).await,
        dead(&somebody, "").await,
        dead(&somebody, "%00").await,
    ];
    site.clock.advance(Duration::from_secs(25 * 3600));
    let over = dead(&somebody, &over).await;
    let used = link().await;
    let form = [
        ("token", &*used),
        ("login", "keiko"),
        ("password", PASSWORD),
        ("again", PASSWORD),
    ];
    assert_eq!(
        somebody.post("/setup", &form).await.status(),
        StatusCode::SEE_OTHER
    );
    let used_now = dead(&somebody, &used).await;
    for words in [
        "has been used",
        "no longer valid",
        "not copied whole",
        "line-chat-archive serve",
        "operator add",
    ] {
        assert!(used_now.contains(words), "{words}: {used_now}");
    }
    // The page is the same whatever the token was, with and without an administrator.
    for page in pages.iter().chain([&over]) {
        assert_eq!(*page, used_now);
    }
    let posted = somebody.post("/setup", &form).await;
    assert_eq!(posted.status(), StatusCode::NOT_FOUND);
    assert!(posted.text().await.unwrap().contains("has been used"));
}
