//! Open pages hear of what changes.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Method, Response};
use uuid::Uuid;

use crate::{
    site::{PASSWORD, Site, Visitor, between},
    support::browser::Browser,
};

const SOON: Duration = Duration::from_secs(10);

/// Opens the stream as the page's script does.
async fn listen(visitor: &Visitor, page: &str) -> Response {
    let mark = between(page, "data-live=\"", "\"")[0];
    visitor.get(&format!("/live?since={mark}")).await
}

/// The data of the next event.
async fn next(
    stream: &mut (impl StreamExt<Item = reqwest::Result<bytes::Bytes>> + Unpin),
) -> String {
    let mut text = String::new();
    loop {
        let chunk = tokio::time::timeout(SOON, stream.next())
            .await
            .expect("an event")
            .unwrap()
            .unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        if let Some(data) = between(&text, "event: changed\ndata: ", "\n").first() {
            return (*data).to_owned();
        }
    }
}

/// Waits until the service listens to the database, so that nothing more is told of its beginning.
async fn settled(site: &Site, visitor: &Visitor) -> String {
    let page = visitor.page("/conversations").await;
    if !between(&page, "data-live=\"", "\"")[0].ends_with("-0") {
        return page;
    }
    let mut stream = listen(visitor, &page).await.bytes_stream();
    assert_eq!(next(&mut stream).await, "*");
    let _ = site;
    visitor.page("/conversations").await
}

#[tokio::test]
async fn a_stream_tells_the_conversation_to_those_who_may_see_it() {
    let site = Site::new().await;
    let desk = site.channel("desk").await;
    site.operator("keiko", "operator", Some(&["shop"])).await;
    let (admin, keiko) = (site.admin().await, site.visitor("keiko").await);
    let page = settled(&site, &admin).await;
    let answer = listen(&admin, &page).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["content-encoding"], "identity");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let mut admins = answer.bytes_stream();
    let mut keikos = listen(&keiko, &page).await.bytes_stream();

    desk.user("Ken").sends_text("for the desk").await.unwrap();
    let desks: Uuid = site.one("select id from conversation").await;
    assert_eq!(next(&mut admins).await, desks.to_string());
    site.shop
        .user("Aoi")
        .sends_text("for the shop")
        .await
        .unwrap();
    let shops: Uuid = site
        .one("select id from conversation order by created_at desc limit 1")
        .await;
    assert_ne!(shops, desks);
    assert_eq!(
        next(&mut keikos).await,
        shops.to_string(),
        "nothing of the desk came before"
    );

    let mut late = listen(&admin, &page).await.bytes_stream();
    assert_eq!(
        next(&mut late).await,
        "*",
        "whoever was away reads everything again"
    );
}

#[tokio::test]
async fn a_session_has_four_streams_at_most() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let mut open = vec![];
    for _ in 0..4 {
        let answer = admin.get("/live").await;
        assert_eq!(answer.status(), 200);
        open.push(answer);
    }
    let fifth = admin.request(Method::GET, "/live").send().await.unwrap();
    assert_eq!(fifth.status(), 429);
}

#[tokio::test]
async fn an_open_page_follows_and_forgets() {
    let site = Site::new().await;
    site.operator("keiko", "admin", None).await;
    let aoi = site.shop.user("Aoi");
    let first = aoi.sends_text("first words").await.unwrap();
    let photo = aoi
        .sends_image(line_chat_archive::fake_line::drawing::photo(1, 320, 240))
        .await
        .unwrap();
    site.run_jobs().await;
    let id: Uuid = site.one("select id from conversation").await;
    let browser = Browser::start().await.unwrap();
    let url = format!("http://{}", site.service.address);
    browser
        .goto(&format!("{url}/conversations/{id}"))
        .await
        .unwrap();
    browser.type_in("input[name=login]", "keiko").await.unwrap();
    browser
        .type_in("input[name=password]", PASSWORD)
        .await
        .unwrap();
    browser.click("button").await.unwrap();
    browser.wait_for("#thread .text", SOON).await.unwrap();
    assert!(
        browser
            .text("#thread")
            .await
            .unwrap()
            .contains("first words")
    );

    aoi.sends_text("second words").await.unwrap();
    browser
        .wait_until(
            "document.querySelector('#thread').innerText.includes('second words')",
            SOON,
        )
        .await
        .unwrap();
    browser
        .wait_until(
            "document.querySelector('#list').innerText.includes('second words')",
            SOON,
        )
        .await
        .unwrap();
    let bottom = "Math.abs(document.querySelector('#scroll').scrollTop) < 2";
    assert_eq!(
        browser.eval(bottom).await.unwrap(),
        true,
        "it follows the newest"
    );

    browser.click("a.photo").await.unwrap();
    browser.wait_for("dialog[open] img", SOON).await.unwrap();
    browser
        .eval("void(document.querySelector('#thread').dataset.same = 'yes')")
        .await
        .unwrap();
    aoi.unsends(&photo).await.unwrap();
    browser
        .wait_until("!document.querySelector('dialog[open]')", SOON)
        .await
        .unwrap();
    aoi.unsends(&first).await.unwrap();
    browser
        .wait_until("!document.body.innerText.includes('first words')", SOON)
        .await
        .unwrap();
    assert_eq!(
        browser
            .eval("document.querySelectorAll('.system.unsent').length")
            .await
            .unwrap(),
        2
    );
    assert!(
        browser
            .text("#thread")
            .await
            .unwrap()
            .contains("second words"),
        "its neighbours stay"
    );
    assert_eq!(browser.console().await.unwrap(), [""; 0]);
    site.run_jobs().await;
}
