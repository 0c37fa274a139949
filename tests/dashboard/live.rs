//! Open pages are notified of changes.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Response;
use uuid::Uuid;

use crate::{
    site::{Site, between},
    support::{browser::Browser, visitor::Visitor, world::PASSWORD},
};

pub const SOON: Duration = Duration::from_secs(10);

/// Opens the event stream as the page's script does.
pub async fn listen(visitor: &Visitor, page: &str) -> Response {
    let mark = between(page, "data-live=\"", "\"")[0];
    visitor.get(&format!("/live?since={mark}")).await
}

/// The data of the next event of the stream.
pub async fn next(
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

/// Waits until the service listens to the database: from then on, pages get no event of its start.
pub async fn settled(visitor: &Visitor, path: &str) -> String {
    let page = visitor.page(path).await;
    if !between(&page, "data-live=\"", "\"")[0].ends_with("-0") {
        return page;
    }
    let mut stream = listen(visitor, &page).await.bytes_stream();
    assert_eq!(next(&mut stream).await, "*");
    visitor.page(path).await
}

#[tokio::test]
async fn a_stream_tells_the_conversation_to_those_who_may_see_it() {
    let site = Site::new().await;
    let desk = site.channel("desk").await;
    site.operator("keiko", "operator", Some(&["shop"])).await;
    let (admin, keiko) = (site.admin().await, site.visitor("keiko").await);
    let page = settled(&admin, "/conversations").await;
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
        .one("select id from conversation order by id desc limit 1")
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
        "a page that missed events loads everything again"
    );
}

#[tokio::test]
async fn a_fifth_stream_of_a_session_ends_the_oldest() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let mut open = vec![];
    for _ in 0..5 {
        let answer = admin.get("/live").await;
        assert_eq!(answer.status(), 200);
        open.push(answer);
    }
    let first = open.remove(0).text();
    let ended = tokio::time::timeout(SOON, first)
        .await
        .expect("an end")
        .unwrap();
    assert!(ended.ends_with("event: yield\ndata:\n\n"), "{ended}");
    site.shop.user("Aoi").sends_text("hello").await.unwrap();
    let id: Uuid = site.one("select id from conversation").await;
    for answer in open {
        let mut stream = answer.bytes_stream();
        let mut told = next(&mut stream).await;
        while told == "*" {
            told = next(&mut stream).await;
        }
        assert_eq!(told, id.to_string());
    }
}

#[tokio::test]
async fn an_open_page_shows_new_messages_and_removes_unsent_ones() {
    let site = Site::new().await;
    site.operator("keiko", "admin", None).await;
    let aoi = site.shop.user("Aoi");
    let first = aoi.sends_text("first words").await.unwrap();
    let photo = aoi
        .sends_image(line_chat_archive::fake_line::pictures::photo(1, 320, 240))
        .await
        .unwrap();
    site.run_jobs().await;
    let id: Uuid = site.one("select id from conversation").await;
    let browser = window(&site, &format!("/conversations/{id}")).await;
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
    // A picture that is unsent while it is loaded would be a 404 in the console.
    let loaded = "[...document.images].every(image => image.complete && image.naturalWidth > 0)";
    browser.wait_until(loaded, SOON).await.unwrap();
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

/// A browser in which keiko is signed in, at `path`.
pub async fn window(site: &Site, path: &str) -> Browser {
    let browser = Browser::start().await.unwrap();
    let url = format!("http://{}{path}", site.service.address);
    browser.goto(&url).await.unwrap();
    browser.type_in("input[name=login]", "keiko").await.unwrap();
    browser
        .type_in("input[name=password]", PASSWORD)
        .await
        .unwrap();
    browser.click("button").await.unwrap();
    browser.wait_for(".rows", SOON).await.unwrap();
    browser
}

#[tokio::test]
async fn conversations_open_without_a_page_load() {
    let site = Site::new().await;
    site.operator("keiko", "admin", None).await;
    let (aoi, ken) = (site.shop.user("Aoi"), site.shop.user("Ken"));
    let first = aoi.sends_text("words of Aoi").await.unwrap();
    for n in 0..70 {
        aoi.sends_text(&format!("more {n}")).await.unwrap();
    }
    aoi.sends_text("as I said").quoting(&first).await.unwrap();
    ken.sends_text("words of Ken")
        .dated(first.timestamp() + 1_000_000)
        .await
        .unwrap();
    site.run_jobs().await;
    let browser = window(&site, "/conversations").await;
    let shows = async |words: &str| {
        let there = format!("document.querySelector('#thread').innerText.includes('{words}')");
        browser.wait_until(&there, SOON).await.unwrap();
    };

    browser.eval("void(window.same = 1)").await.unwrap();
    browser.click("li:nth-child(2) > a.row").await.unwrap();
    shows("as I said").await;
    assert_eq!(
        browser
            .eval("document.querySelector('a.row[aria-current] .name').innerText")
            .await
            .unwrap(),
        "Aoi"
    );
    let title = browser.eval("document.title").await.unwrap();
    assert_eq!(title, "Aoi · Line chat archive");
    browser.eval("void document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'k', bubbles: true}))").await.unwrap();
    shows("words of Ken").await;
    browser.eval("history.back()").await.unwrap();
    shows("as I said").await;
    assert_eq!(
        browser.eval("window.same").await.unwrap(),
        1,
        "the page was never left"
    );

    browser.click("#thread a.quote").await.unwrap();
    shows("words of Aoi").await;
    let target = "getComputedStyle(document.querySelector('li:target .bubble')).animationName";
    assert_eq!(browser.eval(target).await.unwrap(), "shown");
    assert_eq!(
        browser
            .eval("document.documentElement.scrollTop + document.body.scrollTop")
            .await
            .unwrap(),
        0
    );

    browser.set_size(390, 844).await.unwrap();
    let seen = "['list', 'thread', 'person'].filter(id => document.getElementById(id).checkVisibility()).join()";
    assert_eq!(
        browser.eval(seen).await.unwrap(),
        "thread",
        "one pane at a time"
    );
    browser.click(".whom").await.unwrap();
    assert_eq!(browser.eval(seen).await.unwrap(), "person");
    browser.click("#person .back").await.unwrap();
    assert_eq!(browser.eval(seen).await.unwrap(), "thread");
    browser.click("#thread .back").await.unwrap();
    browser
        .wait_until("location.pathname === '/conversations'", SOON)
        .await
        .unwrap();
    assert_eq!(
        browser
            .eval("document.getElementById('thread').checkVisibility()")
            .await
            .unwrap(),
        false
    );
    assert_eq!(browser.console().await.unwrap(), [""; 0]);
    let foreign: Vec<_> = browser.requests().await.unwrap();
    let own = format!("http://{}", site.service.address);
    assert!(
        foreign
            .iter()
            .all(|url| url.starts_with(&own) || url.starts_with("data:")),
        "{foreign:?}"
    );
}
