//! Tests of the browser driver itself: it clicks through a page, and it reports the faults of a page.

#[path = "support/browser.rs"]
mod browser;
#[path = "support/provision.rs"]
mod provision;

use std::{net::TcpListener, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, http::header, web};
use anyhow::Result;
use browser::Browser;

const SOON: Duration = Duration::from_secs(10);

const PAGE: &str = r#"<!doctype html>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>Page</title>
<script src="/page.js" defer></script>
<form><input name="word" value="before"><button>Say</button></form>
<p id="said"></p>"#;

const PAGE_JS: &str = "
document.forms[0].addEventListener('submit', event => {
    event.preventDefault();
    const said = document.forms[0].word.value;
    setTimeout(() => { document.querySelector('#said').innerHTML = '<b class=word></b>';
                       document.querySelector('.word').textContent = said; }, 200);
});";

/// A page with everything that a page of this service must not do.
const BAD_PAGE: &str = r#"<!doctype html>
<link rel="icon" href="data:,">
<script src="/bad.js" defer></script>
<script>document.title = "inline script ran"</script>
<img src="http://elsewhere.invalid/pixel.png">"#;

const BAD_JS: &str = "console.error('it broke'); undefined.property;";

/// Serves the pages with a strict policy on a free port; returns the address.
fn serve() -> Result<String> {
    async fn answer(request: actix_web::HttpRequest) -> HttpResponse {
        let (kind, body) = match request.path() {
            "/page" => ("text/html", PAGE),
            "/page.js" => ("text/javascript", PAGE_JS),
            "/bad" => ("text/html", BAD_PAGE),
            "/bad.js" => ("text/javascript", BAD_JS),
            _ => return HttpResponse::NotFound().finish(),
        };
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, kind))
            .insert_header((
                header::CONTENT_SECURITY_POLICY,
                "default-src 'self'; img-src 'self' data: http:",
            ))
            .body(body)
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    let server = HttpServer::new(|| App::new().default_service(web::to(answer)))
        .workers(1)
        .disable_signals()
        .listen(listener)?;
    tokio::spawn(server.run());
    Ok(address)
}

#[actix_web::test]
async fn it_clicks_types_reads_and_waits() -> Result<()> {
    let site = serve()?;
    let browser = Browser::start().await?;
    browser.goto(&format!("{site}/page")).await?;
    assert_eq!(browser.eval("document.title").await?, "Page");

    browser
        .type_in("input[name=word]", "สวัสดี こんにちは")
        .await?;
    browser.click("button").await?;
    browser.wait_for("#said .word", SOON).await?;
    assert_eq!(browser.text("#said").await?, "สวัสดี こんにちは");

    let missing = browser.click("#nowhere").await.unwrap_err().to_string();
    assert!(missing.contains("#nowhere"), "{missing}");
    let never = browser
        .wait_until("document.title === 'Other'", Duration::from_millis(100))
        .await;
    assert!(never.unwrap_err().to_string().contains("last: false"));

    assert_eq!(browser.console().await?, Vec::<String>::new());
    for url in browser.requests().await? {
        assert!(url.starts_with(&site) || url.starts_with("data:"), "{url}");
    }
    Ok(())
}

#[actix_web::test]
async fn it_has_tabs() -> Result<()> {
    let site = serve()?;
    let browser = Browser::start().await?;
    browser.goto(&format!("{site}/page")).await?;
    let [first, second] = browser.open_tab().await?;
    assert_eq!(browser.eval("location.href").await?, "about:blank");
    browser.turn_to(&first).await?;
    assert_eq!(browser.eval("document.title").await?, "Page");
    browser.turn_to(&second).await?;
    assert_eq!(browser.eval("document.title").await?, "");
    Ok(())
}

#[actix_web::test]
async fn it_is_a_phone_in_the_dark_when_asked() -> Result<()> {
    let site = serve()?;
    let browser = Browser::start().await?;
    browser.goto(&format!("{site}/page")).await?;
    let dark = "matchMedia('(prefers-color-scheme: dark)').matches";
    assert_eq!(browser.eval("innerWidth").await?, 1440);
    browser.set_size(390, 844).await?;
    assert_eq!(browser.eval("innerWidth").await?, 390);
    assert_eq!(browser.eval(dark).await?, false);
    browser.set_dark(true).await?;
    assert_eq!(browser.eval(dark).await?, true);

    let dir = tempfile::tempdir()?;
    let picture = dir.path().join("page.png");
    browser.screenshot(&picture).await?;
    assert_eq!(image::open(&picture)?.width(), 390);
    Ok(())
}

#[actix_web::test]
async fn it_notices_errors_violations_and_requests_to_others() -> Result<()> {
    let site = serve()?;
    let browser = Browser::start().await?;
    browser.goto(&format!("{site}/bad")).await?;

    let console = browser.console().await?.join("\n");
    for word in ["it broke", "TypeError", "Content Security Policy"] {
        assert!(console.contains(word), "{word} in {console}");
    }
    assert_eq!(browser.eval("document.title").await?, "", "the policy held");
    let requests = browser.requests().await?;
    assert!(
        requests
            .iter()
            .any(|url| url == "http://elsewhere.invalid/pixel.png"),
        "{requests:?}"
    );
    Ok(())
}
