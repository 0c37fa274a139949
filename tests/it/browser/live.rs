//! Pages that stay open.

use line_chat_archive::fake_line::drawing;

use super::{Desk, PATIENCE};
use crate::harness::run;

/// The top row: its name, and what it says.
const TOP: &str = "document.querySelector('.rows .row .name').textContent + ': ' \
                   + document.querySelector('.rows .row .line').textContent.trim()";

#[tokio::test]
async fn what_happens_is_shown_by_itself() {
    run(async |t| {
        let (aoi, ben) = (t.shop.user("Aoi"), t.shop.user("Ben"));
        aoi.sends_text("first").await?;
        ben.sends_text("second").await?;
        t.run_jobs().await?;
        let desk = Desk::signed_in(t).await?;
        let browser = &desk.browser;
        assert_eq!(browser.eval(TOP).await?, "Ben: second");
        desk.opens("Aoi").await?;
        // From here on nobody touches the page; it is not loaded anew either.
        browser.eval("window.untouched = true").await?;

        aoi.sends_text("it is here").await?;
        desk.soon("document.querySelector('#scroll').textContent.includes('it is here')").await?;
        desk.soon(&format!("{TOP} === 'Aoi: it is here'")).await?;

        let picture = drawing::photo(3, 1200, 800);
        aoi.sends_image(picture.clone()).await?;
        desk.soon("document.querySelector('#scroll .lacking.state-waiting')").await?;
        t.run_jobs().await?;
        let thumbnail = "[...document.querySelectorAll('#scroll a.photo img')]
                         .some(image => image.complete && image.naturalWidth > 0)";
        desk.soon(thumbnail).await?;
        assert_eq!(
            browser.eval("document.querySelector('#scroll .lacking')").await?,
            serde_json::Value::Null
        );

        ben.sends_text("me too").await?;
        desk.soon(&format!("{TOP} === 'Ben: me too'")).await?;
        assert_eq!(browser.text("#thread h2").await?, "Aoi", "the open one stays open");
        assert_eq!(browser.eval("window.untouched").await?, true);

        browser.click("#scroll a.photo").await?;
        let full = "document.querySelector('dialog[open] img').naturalWidth === 1200";
        browser.wait_until(full, PATIENCE).await?;
        let same = "fetch(document.querySelector('dialog[open] img').src).then(answer => answer.arrayBuffer())
                    .then(bytes => bytes.byteLength)";
        assert_eq!(browser.eval(same).await?, picture.len(), "the original");
        browser.click("dialog .close").await?;
        browser.wait_until("!document.querySelector('dialog[open]')", PATIENCE).await?;
        assert_eq!(browser.eval("location.pathname.startsWith('/conversations/')").await?, true);
        assert_eq!(browser.console().await?, [""; 0]);
        Ok(())
    })
    .await;
}
