//! Pages that stay open and update themselves.

use line_chat_archive::fake_line::pictures;

use super::{Desk, PAGE_TIMEOUT, walk::screenshots};
use crate::harness::run;

/// The top row of the list: its name and its line.
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
        // From here on the test doesn't touch the page, and the page is not reloaded.
        browser.eval("window.untouched = true").await?;

        aoi.sends_text("it is here").await?;
        desk.soon("document.querySelector('#scroll').textContent.includes('it is here')").await?;
        desk.soon(&format!("{TOP} === 'Aoi: it is here'")).await?;

        let picture = pictures::photo(3, 1200, 800);
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
        browser.wait_until(full, PAGE_TIMEOUT).await?;
        let same = "fetch(document.querySelector('dialog[open] img').src).then(answer => answer.arrayBuffer())
                    .then(bytes => bytes.byteLength)";
        assert_eq!(browser.eval(same).await?, picture.len(), "the original");
        browser.click("dialog .close").await?;
        browser.wait_until("!document.querySelector('dialog[open]')", PAGE_TIMEOUT).await?;
        assert_eq!(browser.eval("location.pathname.startsWith('/conversations/')").await?, true);
        assert_eq!(browser.console().await?, [""; 0]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_page_that_was_put_aside_is_covered_until_it_is_read_again() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let question = aoi.sends_text("which one?").await?;
        aoi.sends_sticker("446", "1988").quoting(&question).await?;
        aoi.postback(&"item=".repeat(250)).await?;
        aoi.sends_file(&format!("{}.pdf", "a long name ".repeat(60)), &b"%PDF"[..]).await?;
        t.run_jobs().await?;
        let desk = Desk::signed_in(t).await?;
        let browser = &desk.browser;
        desk.opens("Aoi").await?;

        let looks = "getComputedStyle(document.getElementById('main')).visibility";
        let restored = "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))";
        let at_once = format!("({restored}, {looks})");
        assert_eq!(browser.eval(&at_once).await?, "hidden");
        browser.wait_until(&format!("{looks} === 'visible'"), PAGE_TIMEOUT).await?;

        for (width, height) in [(390, 844), (1440, 900)] {
            browser.set_size(width, height).await?;
            let long = "[...document.querySelectorAll('.system .data, #scroll .tile p > bdi')]
                .filter(box => box.scrollHeight > box.clientHeight && box.clientHeight <= 100).length";
            assert_eq!(browser.eval(long).await?, 2, "scrolls in its own box at {width}");
            assert_eq!(browser.eval("document.querySelectorAll('.bubble .quote + .sticker').length").await?, 1);
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_open_page_says_that_the_service_is_away_until_it_is_back() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.sends_text("before").await?;
        t.run_jobs().await?;
        let desk = Desk::signed_in(t).await?;
        let browser = &desk.browser;
        desk.opens("Aoi").await?;
        browser.eval("window.untouched = true").await?;
        let notice = "document.querySelector('.unconnected[role=status]')?.textContent";
        assert_eq!(browser.eval(notice).await?, "", "it is connected");

        let address = t.service.address;
        t.restart().await?;
        let words = "Not connected: new messages do not appear. Trying again.";
        browser.wait_until(&format!("{notice} === '{words}'"), PAGE_TIMEOUT).await?;
        for (width, height) in [(1440, 900), (390, 844)] {
            browser.set_size(width, height).await?;
            let in_sight = "(box => box.height > 0 && box.height < 80 && box.left >= 0 && box.right <= innerWidth)
                (document.querySelector('.unconnected').getBoundingClientRect())";
            assert_eq!(browser.eval(in_sight).await?, true, "at {width}");
            browser.screenshot(&screenshots()?.join(format!("unconnected-{width}.png"))).await?;
        }

        aoi.sends_text("meanwhile").await?;
        t.restart_at(address).await?;
        let back = format!(
            "{notice} === '' && document.querySelector('#scroll').textContent.includes('meanwhile')"
        );
        browser.wait_until(&back, PAGE_TIMEOUT).await?;
        assert_eq!(browser.eval("window.untouched").await?, true, "it was not loaded again");
        Ok(())
    })
    .await;
}
