//! An unsend, and the open pages that still show the unsent message.

use line_chat_archive::fake_line::pictures;

use super::{Desk, PAGE_TIMEOUT};
use crate::harness::run;

const MARK: &str = "MARK-UNSENT";
/// Whether the document contains the mark, visibly or not.
const HOLDS_MARK: &str = "document.documentElement.outerHTML.includes('MARK-UNSENT')";
/// The number of "message unsent" lines in the conversation.
const UNSENT: &str = "document.querySelectorAll('#scroll .unsent').length";

#[tokio::test]
async fn in_all_open_tabs_it_vanishes_and_nothing_brings_it_back() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let crew = t.shop.group("Crew", &[&aoi]);
        let aoi = crew.member(&aoi);
        aoi.sends_text("before").await?;
        let photo = aoi.sends_image(pictures::photo(1, 900, 600)).await?;
        let text = aoi.sends_text(MARK).await?;
        let edit = aoi.edits(&text, &format!("{MARK} edited")).await?;
        aoi.sends_text("an answer").quoting(&edit).await?;
        let late = aoi.sends_text(&format!("{MARK} late")).await?;
        t.run_jobs().await?;

        let desk = Desk::signed_in(t).await?;
        let browser = &desk.browser;
        desk.opens("Crew").await?;
        let conversation = browser.eval("location.pathname").await?;
        let conversation = conversation.as_str().unwrap();
        let [first, second] = browser.open_tab().await?;
        desk.goes_to(conversation).await?;
        let shown = "document.querySelector('#scroll').innerText.split('MARK-UNSENT').length > 3
                     && document.querySelector('a.photo img').naturalWidth > 0";
        // The second tab shows the photo at full size.
        browser.wait_until(shown, PAGE_TIMEOUT).await?;
        browser.click("a.photo").await?;
        let full = "document.querySelector('dialog[open] img').naturalWidth === 900";
        browser.wait_until(full, PAGE_TIMEOUT).await?;
        browser.turn_to(&first).await?;
        browser.wait_until(shown, PAGE_TIMEOUT).await?;
        let file = browser
            .eval("document.querySelector('a.photo').getAttribute('href')")
            .await?;
        let file = file.as_str().unwrap();
        assert_eq!(desk.status(file).await?, 200);

        aoi.unsends(&photo).await?;
        aoi.unsends(&text).await?;
        // Only the last message still has the mark; neither tab contains anything of the others.
        for tab in [&first, &second] {
            browser.turn_to(tab).await?;
            let gone = format!(
                "{UNSENT} === 2 && document.documentElement.outerHTML.split('{MARK}').every(
                    (part, at) => at === 0 || part.startsWith(' late'))
                 && !document.documentElement.outerHTML.includes({file:?})
                 && !document.querySelector('dialog[open]')"
            );
            desk.soon(&gone).await?;
            assert_eq!(
                browser
                    .eval("document.querySelector('dialog img').getAttribute('src')")
                    .await?,
                serde_json::Value::Null
            );
        }
        for path in [file.to_owned(), format!("{file}/preview")] {
            let status = desk.status(&path).await?;
            assert!(status == 404 || status == 410, "{path}: {status}");
        }

        // The first tab is on another page when the last message is unsent, and then goes back.
        browser.turn_to(&first).await?;
        browser.click("a[href='/erasures']").await?;
        browser
            .wait_until("location.pathname === '/erasures'", PAGE_TIMEOUT)
            .await?;
        aoi.unsends(&late).await?;
        browser.eval("history.back()").await?;
        let back =
            format!("location.pathname === '{conversation}' && {UNSENT} === 3 && !{HOLDS_MARK}");
        desk.soon(&back).await?;
        browser.turn_to(&second).await?;
        desk.soon(&format!("{UNSENT} === 3 && !{HOLDS_MARK}"))
            .await?;

        t.run_jobs().await?;
        for path in [conversation, "/conversations", "/erasures", conversation] {
            desk.goes_to(path).await?;
            assert_eq!(browser.eval(HOLDS_MARK).await?, false, "{path}");
        }
        assert_eq!(browser.eval(UNSENT).await?, 3);
        assert!(
            browser.text("#scroll").await?.contains("an answer"),
            "what quoted it stays"
        );
        Ok(())
    })
    .await;
}
