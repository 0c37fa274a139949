//! Opens every page, with every kind of content, on several screen sizes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use line_chat_archive::fake_line::{Call, Event, Media, pictures, sampler};
use uuid::Uuid;

use super::{Desk, PAGE_TIMEOUT, hostile};
use crate::{
    harness::{T, run},
    support::world::PASSWORD,
};

/// A page to open.
struct Page {
    path: String,
    /// The name of its screenshots and their height in CSS pixels; 0 means the height of the screen.
    picture: Option<(&'static str, u32)>,
}

/// A screen: its name, width, height, and whether it is dark.
const SCREENS: [(&str, u32, u32, bool); 4] = [
    ("390-light", 390, 844, false),
    ("390-dark", 390, 844, true),
    ("1440-dark", 1440, 900, true),
    ("1440-light", 1440, 900, false),
];

/// The tabs of a gallery, and the names of their screenshots.
const TABS: [(&str, &str); 5] = [
    ("photos", "gallery-photos"),
    ("videos", "gallery-videos"),
    ("files", "gallery-files"),
    ("voice", "gallery-voice"),
    ("links", "gallery-links"),
];

#[tokio::test]
async fn no_page_breaks_whatever_people_write() {
    run(async |t| {
        let desk = Desk::new(t).await?;
        t.operator("mia", "compliance", None).await?;
        desk.walks(&page("/login", Some(("sign-in", 0)))).await?;
        desk.goes_to("/login").await?;
        desk.signs_in("mia", PASSWORD).await?;
        desk.browser.wait_for("#list", PAGE_TIMEOUT).await?;
        desk.walks(&page("/conversations", Some(("nothing-yet", 0))))
            .await?;

        let shown = everything_happens(t).await?;
        for (path, name) in [
            ("/conversations", "list"),
            ("/erasures", "erasures"),
            ("/retention", "retention"),
            ("/holds", "holds"),
            ("/missing", "missing"),
            ("/nowhere", "not-found"),
        ] {
            desk.walks(&page(path, Some((name, 0)))).await?;
        }
        let conversations: Vec<(Uuid, String)> =
            sqlx::query_as("select id, source_id from conversation order by id")
                .fetch_all(t.pool())
                .await?;
        ensure!(
            conversations.len() > 30,
            "{} conversations",
            conversations.len()
        );
        for (id, source) in conversations {
            let name = shown.iter().find(|(_, id)| source == *id);
            let picture = name.map(|(name, _)| (*name, 3_000));
            desk.walks(&page(&format!("/conversations/{id}"), picture))
                .await?;
            for (tab, shot) in TABS {
                let path = format!("/conversations/{id}/media?of={tab}");
                match name.map(|(name, _)| *name) {
                    Some("files") => desk.walks(&page(&path, Some((shot, 0)))).await?,
                    Some(_) => desk.walks(&page(&path, None)).await?,
                    None => {}
                }
            }
        }
        Ok(())
    })
    .await;
}

fn page(path: &str, picture: Option<(&'static str, u32)>) -> Page {
    Page {
        path: path.to_owned(),
        picture,
    }
}

/// Delivers one event of every kind, many files, and all hostile events. Returns names for some conversations, each
/// with LINE's id of the user or group.
async fn everything_happens(t: &T) -> anyhow::Result<Vec<(&'static str, String)>> {
    let kinds = sampler::every_event(&t.shop);
    // External files on real hosts are left out: no request leaves the test.
    let (outside, kinds): (Vec<Event>, Vec<Event>) = kinds
        .into_iter()
        .partition(|event| event.json().contains("https://example.com"));
    ensure!(outside.len() == 3, "{} external files", outside.len());
    t.deliver(&kinds).await?;
    let aoi = t.shop.user("Aoi of the many files");
    let picture = t.line.elsewhere(pictures::photo(5, 700, 500));
    for media in [Media::Image, Media::Video, Media::Audio] {
        aoi.sends_external(media, &picture, Some(&picture)).await?;
    }
    for set in [2, 3, 4, 20_u32] {
        let one = |n| pictures::photo(n, 200 + 40 * (n as u32 % 5), 240);
        for photo in aoi.sends_image_set((0..set.into()).map(one).collect()) {
            photo.await?;
        }
    }
    // A missing photo of a set keeps its position.
    let mut set = aoi.sends_image_set((0..5).map(|n| pictures::photo(n, 300, 200)).collect());
    drop(set.remove(2));
    for photo in set {
        photo.await?;
    }
    let links = "our menu: https://example.org/menu?day=today and the map https://example.org/map";
    aoi.sends_text(links).await?;
    let lost = aoi.sends_image(pictures::photo(6, 50, 50)).make();
    for call in [Call::Content, Call::Preview] {
        t.line
            .trouble(call)
            .of(lost.message_id())
            .always()
            .answers(410);
    }
    t.deliver(&[lost]).await?;
    let plan = aoi.sends_video(&b"video"[..], 65_000).preparing(9).make();
    t.deliver(&[plan]).await?;
    let text = aoi.sends_text("taken back").await?;
    aoi.unsends(&text).await?;
    let hostile = hostile::events(&t.shop);
    for some in hostile.chunks(50) {
        t.deliver(some).await?;
    }
    t.run_jobs().await?;
    let source = |event: &Event, key: &str| {
        let id = event.value()["source"][key].as_str().map(str::to_owned);
        id.context("a source")
    };
    let group = kinds
        .iter()
        .find(|event| event.json().contains("groupId"))
        .context("a group")?;
    Ok(vec![
        ("every-message", source(&kinds[0], "userId")?),
        ("group", source(group, "groupId")?),
        (
            "every-event",
            source(kinds.last().context("a kind")?, "userId")?,
        ),
        ("files", aoi.id().to_owned()),
        ("hostile", source(&hostile[0], "groupId")?),
        ("shapes", source(&hostile[hostile.len() - 20], "userId")?),
    ])
}

impl Desk {
    /// Opens a page and checks it on every screen.
    async fn walks(&self, page: &Page) -> anyhow::Result<()> {
        self.browser.console().await?;
        self.browser.requests().await?;
        self.goes_to(&page.path).await?;
        // Pictures load lazily when they scroll into view; this loads them now.
        let decoded = "[...document.images].every(image => {
            image.loading = 'eager';
            return !image.getAttribute('src') || image.complete && image.naturalWidth > 0; })";
        self.browser.wait_until(decoded, PAGE_TIMEOUT).await?;
        // Without screenshots, one theme for each width is enough.
        let every = if page.picture.is_some() { 1 } else { 2 };
        for screen in SCREENS.into_iter().step_by(every) {
            self.looks(page, screen)
                .await
                .with_context(|| format!("{} on {}", page.path, screen.0))?;
        }
        for url in self.browser.requests().await? {
            // Chromium's own video controls use `data:` icons, which need no network request.
            let inside = url.starts_with(&self.site) || url.starts_with("data:");
            ensure!(inside, "{} asks for {url}", page.path);
        }
        // Only the missing page may cause a console message.
        let console = self.browser.console().await?;
        let missing = format!("{}{} - Failed to load resource", self.site, page.path);
        let (told, wrong): (Vec<_>, Vec<_>) = console
            .into_iter()
            .partition(|line| line.contains(&missing));
        ensure!(wrong.is_empty(), "{}: {wrong:?}", page.path);
        ensure!(
            told.len() == usize::from(page.path == "/nowhere"),
            "{told:?}"
        );
        Ok(())
    }

    async fn looks(
        &self,
        page: &Page,
        (screen, width, height, dark): (&str, u32, u32, bool),
    ) -> anyhow::Result<()> {
        let browser = &self.browser;
        browser.set_size(width, height).await?;
        browser.set_dark(dark).await?;
        // The page's panes scroll vertically. An element that is wider than its pane makes the pane scroll sideways.
        let slip = "document.querySelector('.hacked')?.outerHTML ?? [...document.querySelectorAll('html, body *')]
            .filter(box => box.scrollWidth > box.clientWidth && box.nodeName !== 'PRE'
                && (box.nodeName === 'HTML' || /auto|scroll/.test(getComputedStyle(box).overflowX)))
            .map(box => `${box.id || box.className || box.nodeName}: ${box.scrollWidth} px in ${box.clientWidth}`)[0]";
        let slip = browser.eval(slip).await?;
        ensure!(slip.is_null(), "{slip}");
        if let Some((name, tall)) = page.picture {
            browser.set_size(width, height.max(tall)).await?;
            let path = screenshots()?.join(format!("{name}-{screen}.png"));
            browser.screenshot(&path).await?;
        }
        Ok(())
    }
}

/// `target/screenshots`, for people to look at.
pub fn screenshots() -> anyhow::Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let directory = target.context("no target directory")?.join("screenshots");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}
