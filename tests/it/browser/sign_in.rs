//! Signing in and out, also with scripts disabled.

use serde_json::json;

use super::{Desk, PAGE_TIMEOUT};
use crate::{
    harness::run,
    support::{browser::Browser, world::PASSWORD},
};

#[tokio::test]
async fn an_operator_signs_in_reads_and_signs_out_for_good() {
    run(async |t| {
        t.shop.user("Aoi").sends_text("good morning").await?;
        t.shop.user("Ben").sends_text("good night").await?;
        t.run_jobs().await?;
        t.operator("mia", "compliance", None).await?;
        let desk = Desk::new(t).await?;
        let browser = &desk.browser;

        desk.goes_to("/conversations").await?;
        assert_eq!(browser.eval("location.pathname").await?, "/login");
        desk.signs_in("mia", "not the password").await?;
        browser.wait_for("[role=alert]", PAGE_TIMEOUT).await?;
        assert_eq!(browser.text("[role=alert]").await?, "Login and password do not match.");
        assert_eq!(browser.eval("document.querySelector('#list')").await?, json!(null));
        desk.goes_to("/conversations").await?;
        assert_eq!(browser.eval("location.pathname").await?, "/login", "no entry");

        desk.signs_in("mia", PASSWORD).await?;
        browser.wait_for("#list", PAGE_TIMEOUT).await?;
        assert_eq!(browser.eval("location.pathname").await?, "/conversations");
        let rows = "[...document.querySelectorAll('.rows .row')].map(row => row.innerText.replaceAll('\\n', ' '))";
        let rows = browser.eval(rows).await?;
        assert!(rows[0].as_str().unwrap().starts_with("Ben"), "{rows}");
        assert!(rows[1].as_str().unwrap().ends_with("good morning"), "{rows}");
        desk.opens("Aoi").await?;
        assert!(browser.text("#scroll").await?.contains("good morning"));
        assert_eq!(browser.text("#thread h2").await?, "Aoi");

        let cookies = browser.devtools("Network.getCookies", json!({})).await?;
        let cookies = cookies["cookies"].as_array().unwrap().clone();
        let session = cookies.iter().find(|cookie| cookie["name"] == "session").unwrap();
        assert_eq!((&session["httpOnly"], &session["sameSite"]), (&json!(true), &json!("Lax")));
        browser.click(".me summary").await?;
        browser.click("form[action='/logout'] button").await?;
        browser.wait_for("input[name=password]", PAGE_TIMEOUT).await?;
        let old = json!({ "url": desk.site, "name": "session", "value": session["value"] });
        browser.devtools("Network.setCookie", old).await?;
        desk.goes_to("/conversations").await?;
        assert_eq!(browser.eval("location.pathname").await?, "/login", "the old cookie");
        browser.eval("history.go(-3)").await?;
        let there = "document.readyState === 'complete' && document.querySelector('input[name=password]')";
        browser.wait_until(there, PAGE_TIMEOUT).await?;
        assert_eq!(browser.eval("document.body.textContent.includes('good morning')").await?, false);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn without_scripts_everything_can_be_read() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.sends_text("good morning").await?;
        aoi.sends_image(line_chat_archive::fake_line::pictures::photo(1, 400, 300))
            .await?;
        t.run_jobs().await?;
        t.operator("mia", "compliance", None).await?;
        let desk = Desk::new(t).await?;
        let browser = &desk.browser;
        let off = json!({ "value": true });
        browser
            .devtools("Emulation.setScriptExecutionDisabled", off)
            .await?;

        desk.goes_to("/conversations").await?;
        desk.signs_in("mia", PASSWORD).await?;
        assert!(browser.text(".rows .row").await?.contains("Aoi"));
        browser.click(".rows .row").await?;
        assert!(browser.text("#scroll").await?.contains("good morning"));
        // The theme switch needs a script, and is hidden without one.
        browser.click(".me summary").await?;
        assert!(!browser.text(".me .menu").await?.contains("Light or dark"));
        browser.click("a.photo").await?;
        let shown = browser
            .devtools("Page.getNavigationHistory", json!({}))
            .await?;
        let at = shown["currentIndex"].as_u64().unwrap_or_default() as usize;
        let url = shown["entries"][at]["url"].as_str().unwrap_or_default();
        assert!(url.contains("/attachments/"), "the photo is a link: {url}");
        Ok(())
    })
    .await;
}

/// Over plain HTTP at such a name Chromium sends no `Sec-Fetch-Site`: only the `Origin` header shows that the form came
/// from this site.
#[tokio::test]
async fn an_operator_signs_in_over_plain_http_at_a_name_of_the_network() {
    run(async |t| {
        t.operator("mia", "compliance", None).await?;
        let desk = Desk {
            browser: Browser::with(&["--host-resolver-rules=MAP archive.test 127.0.0.1"]).await?,
            site: format!("http://archive.test:{}", t.service.address.port()),
        };
        desk.goes_to("/conversations").await?;
        desk.signs_in("mia", PASSWORD).await?;
        desk.browser.wait_for("#list", PAGE_TIMEOUT).await?;
        let here = desk
            .browser
            .eval("[isSecureContext, location.href]")
            .await?;
        assert_eq!(here, json!([false, format!("{}/conversations", desk.site)]));
        desk.browser.click(".me summary").await?;
        desk.browser.click("form[action='/logout'] button").await?;
        let signed_out = desk.browser.wait_for("input[name=password]", PAGE_TIMEOUT);
        signed_out.await
    })
    .await;
}
