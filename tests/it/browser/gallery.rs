//! From a conversation to its gallery, and from a file back to its message.

use std::fs;

use line_chat_archive::fake_line::pictures;
use serde_json::json;

use super::{Desk, PAGE_TIMEOUT, walk::screenshots};
use crate::harness::{T, run};

#[tokio::test]
async fn a_photo_leads_to_its_message_and_leaves_an_open_gallery_when_it_is_unsent() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let mut photos = vec![];
        for photo in aoi.sends_image_set((1..4).map(|n| pictures::photo(n, 600, 400)).collect()) {
            photos.push(photo.await?);
        }
        for n in 0..80 {
            aoi.sends_text(&format!("text {n}")).await?;
        }
        t.run_jobs().await?;
        let desk = Desk::signed_in(t).await?;
        let browser = &desk.browser;
        desk.opens("Aoi").await?;
        browser.click("#thread a.media").await?;
        let shown = "document.querySelectorAll('.of-photos a.photo img').length === 3
            && [...document.querySelectorAll('.of-photos a.photo img')].every(image => image.naturalWidth > 0)";
        browser.wait_until(shown, PAGE_TIMEOUT).await?;
        let gallery = browser.eval("location.pathname").await?;
        let gallery = gallery.as_str().unwrap();

        // The link of the album's second photo opens the page that ends with this message, and scrolls to it.
        let second = "document.querySelectorAll('.of-photos > li')[1].id";
        let second = browser.eval(second).await?;
        let second = second.as_str().unwrap();
        browser.click(&format!("#{second} .origin a")).await?;
        let in_sight = format!(
            "(() => {{
                const box = document.querySelector('#thread #{second}')?.getBoundingClientRect();
                return box && box.height > 0 && box.top >= 0 && box.bottom <= innerHeight;
            }})()"
        );
        browser.wait_until(&in_sight, PAGE_TIMEOUT).await?;

        desk.goes_to(gallery).await?;
        browser.wait_until(shown, PAGE_TIMEOUT).await?;
        aoi.unsends(&photos[0]).await?;
        desk.soon("document.querySelectorAll('.of-photos > li').length === 2")
            .await?;
        // Another tab of the gallery's own navigation.
        browser.click("nav.filters a[href*='links']").await?;
        let links = "document.querySelector('#none')?.textContent.includes('No links')";
        browser.wait_until(links, PAGE_TIMEOUT).await?;
        t.run_jobs().await?;
        Ok(())
    })
    .await;
}

/// Changes the last byte of each original in the object store.
async fn damage_originals(t: &T) -> anyhow::Result<()> {
    let keys: Vec<String> = sqlx::query_scalar("select original_key from attachment")
        .fetch_all(t.pool())
        .await?;
    for key in keys {
        let file = t.home.path().join("objects").join(key);
        let mut bytes = fs::read(&file)?;
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(file, bytes)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_viewer_says_why_it_shows_no_photo() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.sends_image(pictures::photo(1, 600, 400)).await?;
        t.run_jobs().await?;
        damage_originals(t).await?;
        let desk = Desk::signed_in(t).await?;
        let browser = &desk.browser;
        desk.opens("Aoi").await?;
        browser.click("#scroll a.photo").await?;
        let words = "document.querySelector('dialog[open] figure').innerText";
        let says = |text: &str| format!("{words}.includes('{text}')");
        browser
            .wait_until(&says("This file is damaged"), PAGE_TIMEOUT)
            .await?;
        browser
            .wait_until(&says("from LINE again"), PAGE_TIMEOUT)
            .await?;
        browser
            .wait_until(&says("Id of this answer"), PAGE_TIMEOUT)
            .await?;
        let download = "document.querySelector('dialog a[download]').checkVisibility()";
        assert_eq!(
            browser.eval(download).await?,
            false,
            "there is nothing to download"
        );
        browser
            .screenshot(&screenshots()?.join("viewer-damaged.png"))
            .await?;
        browser.click("dialog .close").await?;

        // The page follows: its message says it too.
        t.service.worker.scrub().await?;
        desk.soon("document.querySelector('#scroll').innerText.includes('Damaged here')")
            .await?;
        for (width, height) in [(1440, 900), (390, 844)] {
            browser.set_size(width, height).await?;
            browser
                .screenshot(&screenshots()?.join(format!("damaged-{width}.png")))
                .await?;
        }
        t.run_jobs().await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_gallery_of_unreadable_and_missing_photos_has_cards_of_their_own() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        for n in 0..9 {
            aoi.sends_image(pictures::photo(n, 600, 400)).await?;
        }
        for photo in aoi.sends_image_set((1..4).map(|n| pictures::photo(n, 600, 400)).collect()) {
            photo.await?;
        }
        t.run_jobs().await?;
        // The messages of three photos cannot be opened. Of the others, LINE no longer has some originals.
        let mut db = t.owner().await?;
        sqlx::raw_sql(
            "update revision set content = set_byte(content, 100, 255 - get_byte(content, 100))
             where message_id in (select id from message order by id limit 3);
             update attachment set original_state = 'gone', original_reason = 'gone', original_key = null
             where message_id in (select id from message order by id desc limit 6);
             update attachment set preview_state = 'gone', preview_reason = 'gone', preview_key = null, placeholder = null
             where message_id in (select id from message order by id offset 3 limit 4)",
        )
        .execute(&mut db)
        .await?;
        let desk = Desk::signed_in(t).await?;
        let browser = &desk.browser;
        let chat = desk.conversation("Aoi").await?;
        desk.goes_to(&format!("/conversations/{chat}/media")).await?;
        assert_eq!(browser.text("h1").await?, "Media · Aoi");
        let (gallery, thread) = (format!("/conversations/{chat}/media"), format!("/conversations/{chat}"));
        for (page, name) in [(gallery, "gallery-missing"), (thread, "thread-missing")] {
            for (width, height) in [(1440, 900), (390, 844)] {
                browser.set_size(width, height).await?;
                desk.goes_to(&page).await?;
                // A card or a button that is wider or taller than its cell covers the next one.
                let spills = "[...document.querySelectorAll('.of-photos > li, .album > .shot')].flatMap(cell => {
                    const box = cell.getBoundingClientRect();
                    return [...cell.querySelectorAll('*')].filter(inner => {
                        const at = inner.getBoundingClientRect();
                        return !inner.closest('svg') && (at.right > box.right + 1 || at.bottom > box.bottom + 1);
                    }).map(inner => `${inner.nodeName}.${inner.className}`);
                })";
                assert_eq!(browser.eval(spills).await?, json!([]), "{name} at {width}");
                let covers = "[...document.querySelectorAll('.shot')].filter(cell => {
                    const [ask, erase] = ['.again button', '.erase'].map(css => cell.querySelector(css)?.getBoundingClientRect());
                    return ask && erase && ask.top < erase.bottom && erase.left < ask.right;
                }).length";
                assert_eq!(browser.eval(covers).await?, 0, "{name} at {width}");
                let wraps = "[...document.querySelectorAll('.again button')]
                    .filter(button => button.getBoundingClientRect().height > 44.5).length";
                assert_eq!(browser.eval(wraps).await?, 0, "{name} at {width}");
                browser.screenshot(&screenshots()?.join(format!("{name}-{width}.png"))).await?;
            }
        }
        Ok(())
    })
    .await;
}
