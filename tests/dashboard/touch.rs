//! On a phone every touch target is large enough, within the screen, and visible.

use std::collections::BTreeSet;

use line_chat_archive::{
    fake_line::{pictures, sampler},
    web,
};

use crate::{
    edge::{ROUTES, world},
    live::{SOON, window},
    site::Site,
    support::{browser::Browser, visitor::Visitor},
};

/// The faulty touch targets of a page at 390 px: `[kind, what, width, height]`. WCAG 2.5.8 requires 24 × 24 px and
/// exempts links in a sentence. Here fields and buttons must be 44 px high, the size of a finger.
const WRONG: &str = r#"(() => {
    document.querySelectorAll('details:not(.me)').forEach(details => details.open = true);
    const sentence = '.lead, .notice, .text, .nothing p, .card > p';
    const inline = target => getComputedStyle(target).display === 'inline' && target.closest(sentence);
    // A box to tick is ticked by its label too.
    const touched = target => target.type === 'checkbox' ? target.closest('label') ?? target : target;
    return [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')]
        .filter(target => target.checkVisibility({ visibilityProperty: true }))
        .filter(target => !target.matches('.skip') && !inline(target))
        .map(touched)
        .map(target => [target, target.getBoundingClientRect()])
        .map(([target, box]) => {
            const least = target.matches('button, input, select, textarea, .button, .small') ? 44 : 24;
            const form = target.closest('form')?.getBoundingClientRect();
            const kind = box.width < 24 || box.height < least ? 'small'
                : box.left < 0 || box.right > innerWidth + 0.5 ? 'beyond the screen'
                : form && box.right > form.right + 0.5 ? 'wider than its form' : '';
            const path = target.closest('[class], [id]');
            const what = `${path.tagName}.${path.className}#${path.id} > ${target.tagName} ${target.innerText.slice(0, 30)}`;
            return [kind, what, Math.round(box.width), Math.round(box.height)];
        })
        .filter(([kind]) => kind);
})()"#;

/// A phone-sized browser in which `keiko` is signed in, and a site that shows everything that can be shown.
async fn phone() -> (Site, Visitor, Browser) {
    let (site, admin) = world().await;
    site.operator("keiko", "admin", None).await;
    for some in sampler::every_event(&site.shop).chunks(20) {
        assert!(site.shop.deliver(some).await.acknowledged());
    }
    let (aoi, ken) = (
        site.shop.user("Aoi"),
        site.shop.user("Ken with a name that fills a line"),
    );
    let crew = site.shop.group("Crew", &[&aoi, &ken]);
    let aoi = crew.member(&aoi);
    let first = aoi
        .sends_text("see https://example.org/menu")
        .await
        .unwrap();
    aoi.edits(&first, "see https://example.org/map")
        .await
        .unwrap();
    aoi.sends_text("yes").quoting(&first).await.unwrap();
    for photo in aoi.sends_image_set((0..5).map(|n| pictures::photo(n, 300, 200)).collect()) {
        photo.await.unwrap();
    }
    aoi.sends_file("plan.pdf", &b"%PDF-1.7"[..]).await.unwrap();
    site.channel("desk").await;
    // Messages unsent under this site's hold are withheld; conversations without a hold can be erased.
    site.run_jobs().await;
    let browser = window(&site, "/conversations").await;
    browser.set_size(390, 844).await.unwrap();
    (site, admin, browser)
}

/// The addresses of all pages of this site: each route that answers with a page, for everything that it can name.
async fn pages(site: &Site, visitor: &Visitor) -> Vec<String> {
    let mut pages = vec!["/nowhere".to_owned()];
    for (_, route, _) in ROUTES.iter().filter(|(method, ..)| *method == "GET") {
        let named = match route.split('/').nth(1) {
            _ if !route.contains('{') => vec![String::new()],
            Some("conversations") => ids(site, "select id::text from conversation").await,
            Some("contacts") => ids(site, "select id::text from contact").await,
            Some("messages") => {
                let each = "select distinct on (conversation_id) id::text from message";
                ids(site, each).await
            }
            Some("holds") => ids(site, "select id::text from hold").await,
            Some("retention") => ids(site, "select id::text from retention_rule").await,
            Some("erasures") => ids(site, "select id::text from erasure").await,
            Some("attachments" | "exports" | "static") => continue,
            _ => panic!("{route} has no rows in this world"),
        };
        for id in named {
            let path = route.replace("{id}", &id);
            if path == "/live" {
                continue;
            }
            let answer = visitor.get(&path).await;
            let kind = answer.headers().get("content-type");
            if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) {
                pages.push(path);
            }
        }
    }
    pages
}

async fn ids(site: &Site, query: &'static str) -> Vec<String> {
    sqlx::query_scalar(query)
        .fetch_all(&mut site.db().await)
        .await
        .unwrap()
}

/// Adds the faulty touch targets of the current page.
async fn look(browser: &Browser, wrong: &mut BTreeSet<String>) {
    let found = browser.eval(WRONG).await.unwrap();
    for target in found.as_array().unwrap() {
        wrong.insert(target.to_string());
    }
}

#[tokio::test]
async fn everything_that_is_touched_on_a_phone_is_large_enough_and_within_the_screen() {
    let (site, admin, browser) = phone().await;
    let host = format!("http://{}", site.service.address);
    let pages = pages(&site, &admin).await;
    assert!(pages.len() > 40, "{pages:?}");
    let mut wrong = BTreeSet::new();
    for path in &pages {
        browser.goto(&format!("{host}{path}")).await.unwrap();
        look(&browser, &mut wrong).await;
        if path.starts_with("/conversations/") && path.split('/').count() == 3 {
            browser
                .eval("void(location.hash = 'person')")
                .await
                .unwrap();
            browser
                .wait_until("document.querySelector('#person').checkVisibility()", SOON)
                .await
                .unwrap();
            look(&browser, &mut wrong).await;
            browser
                .eval("void(location.hash = 'thread')")
                .await
                .unwrap();
        }
        if browser
            .eval("!!document.querySelector('a[data-full]')")
            .await
            .unwrap()
            == true
        {
            browser
                .eval("document.querySelector('a[data-full]').click()")
                .await
                .unwrap();
            browser.wait_for("dialog[open]", SOON).await.unwrap();
            look(&browser, &mut wrong).await;
        }
    }
    browser
        .goto(&format!("{host}/conversations"))
        .await
        .unwrap();
    browser.click(".me summary").await.unwrap();
    look(&browser, &mut wrong).await;
    // Pages without a session: signing in, and creating the first administrator.
    browser
        .click("form[action='/logout'] button")
        .await
        .unwrap();
    browser
        .wait_for("input[name=password]", SOON)
        .await
        .unwrap();
    look(&browser, &mut wrong).await;
    let fresh = Site::new().await;
    let link = web::setup_link(&fresh.service.shared).await.ok().unwrap();
    let host = format!("http://{}", fresh.service.address);
    let live = format!("{host}{}?{}", link.path(), link.query().unwrap());
    for setup in [live, format!("{host}/setup?token=cut")] {
        browser.goto(&setup).await.unwrap();
        look(&browser, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_narrow_conversation_shows_that_it_has_more_about_the_person() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    site.shop.user("Aoi").sends_text("hello").await.unwrap();
    site.run_jobs().await;
    let browser = window(&site, "/conversations").await;
    browser.click("a.row").await.unwrap();
    browser.wait_for(".whom", SOON).await.unwrap();
    let about = "[...document.querySelectorAll('#thread > .head a')].find(link => /About/.test(link.innerText))";
    for (width, is_shown) in [(390, true), (1024, true), (1440, false)] {
        browser.set_size(width, 844).await.unwrap();
        let shown = browser.eval(&format!("!!{about}")).await.unwrap();
        assert_eq!(shown, is_shown, "{width}");
        if is_shown {
            browser.eval(&format!("{about}.click()")).await.unwrap();
            let person = "document.querySelector('#person').checkVisibility()";
            browser.wait_until(person, SOON).await.unwrap();
            browser.click("#person .back").await.unwrap();
        }
    }
}
