//! Pictures before they are loaded: their reserved size, the colours shown in their place, and two sizes of preview.

use std::{io::Cursor, time::Duration};

use image::{ImageFormat, Rgb, RgbImage};
use line_chat_archive::fake_line::pictures;
use reqwest::{Method, header};
use serde_json::json;
use uuid::Uuid;

use crate::{
    live::{SOON, window},
    site::{Site, between},
};

/// A picture whose left half is red and whose right half is blue.
fn halves(width: u32, height: u32) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, _| match x < width / 2 {
        true => Rgb([255, 0, 0]),
        false => Rgb([0, 0, 255]),
    });
    let mut png = Cursor::new(vec![]);
    image.write_to(&mut png, ImageFormat::Png).unwrap();
    png.into_inner()
}

/// The colours of the placeholders on a page.
fn colours(page: &str) -> Vec<&str> {
    between(page, "<path fill=\"", "\"")
}

#[tokio::test]
async fn a_photo_has_its_place_and_its_colours_before_it_is_there() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    aoi.sends_image(halves(1600, 1200)).await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let id: Uuid = site.one("select id from conversation").await;
    let file: Uuid = site.one("select id from attachment").await;
    let preview = format!("/attachments/{file}/preview");
    for path in [
        format!("/conversations/{id}"),
        format!("/conversations/{id}/media"),
    ] {
        let page = admin.page(&path).await;
        assert!(page.contains(&format!(
            "src=\"{preview}\" srcset=\"{preview} 1x, {preview}?x=2 2x\" width=\"320\" height=\"240\""
        )));
        let row = ["#ff0000", "#ff0000", "#0000ff", "#0000ff"];
        assert_eq!(colours(&page), row.repeat(4), "{path}");
        assert!(
            !page.contains(" style="),
            "the policy of the page forbids it"
        );
    }
    for (path, size) in [
        (preview.clone(), (320, 240)),
        (format!("{preview}?x=2"), (640, 480)),
    ] {
        let whole = admin.get(&path).await.bytes().await.unwrap();
        let image = image::load_from_memory_with_format(&whole, ImageFormat::Jpeg).unwrap();
        assert_eq!((image.width(), image.height()), size, "{path}");
        let part = admin
            .request(Method::GET, &path)
            .header(header::RANGE, "bytes=-5")
            .send()
            .await
            .unwrap();
        let range = part.headers()[header::CONTENT_RANGE].to_str().unwrap();
        let last = whole.len() - 1;
        assert_eq!(range, format!("bytes {}-{last}/{}", last - 4, whole.len()));
        assert_eq!(part.bytes().await.unwrap(), whole.slice(last - 4..));
    }
}

#[tokio::test]
async fn nothing_moves_when_the_pictures_of_a_page_come() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    for (n, (width, height)) in [(1600, 1200), (600, 1200), (50, 40), (1400, 90)]
        .into_iter()
        .enumerate()
    {
        aoi.sends_text(&format!("photo {n}")).await.unwrap();
        aoi.sends_image(halves(width, height)).await.unwrap();
    }
    let poster = pictures::photo(3, 640, 360);
    aoi.sends_video(vec![0; 2000], 1_000)
        .previewed_by(poster)
        .await
        .unwrap();
    for photo in aoi.sends_image_set((0..3).map(|n| pictures::photo(n, 300, 400)).collect()) {
        photo.await.unwrap();
    }
    site.run_jobs().await;
    let id: Uuid = site.one("select id from conversation").await;
    site.operator("keiko", "operator", None).await;
    let browser = window(&site, "/conversations").await;
    let list = format!("http://{}/conversations", site.service.address);
    let stands = "[...document.querySelectorAll('main *')].map(one => {
        const { x, y, width, height } = one.getBoundingClientRect();
        const base = document.querySelector('main').getBoundingClientRect().y;
        return [one.tagName, x, y, width, height, one.parentElement.scrollTop, base].join(' '); })";
    let come = "[...document.querySelectorAll('img[src*=preview]')].every(image => {
        image.loading = 'eager';
        return image.complete && image.naturalWidth > 0; })";
    let pictures = "document.querySelectorAll('img[src*=preview]').length";
    for (width, height) in [(390, 844), (1440, 900)] {
        browser.set_size(width, height).await.unwrap();
        browser.goto(&list).await.unwrap();
        // The pictures are requested and not answered: the driver does not wait for those of a page opened from
        // another.
        let held = json!({ "patterns": [{ "urlPattern": "*/preview*" }] });
        browser.devtools("Fetch.enable", held).await.unwrap();
        browser.click(&format!("#c-{id} a")).await.unwrap();
        browser
            .wait_until(&format!("{pictures} === 7"), SOON)
            .await
            .unwrap();
        assert_eq!(browser.eval(come).await.unwrap(), false);
        let before = browser.eval(stands).await.unwrap();
        browser.devtools("Fetch.disable", json!({})).await.unwrap();
        // The requests that were held back are sent again.
        let again = "document.querySelectorAll('img[src*=preview]').forEach(image => { image.src = image.src; })";
        browser.eval(again).await.unwrap();
        browser.wait_until(come, SOON).await.unwrap();
        let after = browser.eval(stands).await.unwrap();
        assert_eq!(before, after, "at {width}");
    }
}

#[tokio::test]
async fn the_colours_outlive_another_messages_key_and_go_with_their_own() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let photo = aoi.sends_image(halves(64, 48)).await.unwrap();
    let text = aoi.sends_text("taken back").await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let id: Uuid = site.one("select id from conversation").await;
    let path = format!("/conversations/{id}");
    let key = async || -> Vec<u8> {
        site.one("select key_of(sealed_key) from object join attachment on preview_key = key")
            .await
    };
    let before = key().await;
    assert_eq!(colours(&admin.page(&path).await).len(), 16);

    aoi.unsends(&text).await.unwrap();
    for _ in 0..3 {
        site.clock.advance(Duration::from_secs(120));
        site.run_jobs().await;
    }
    assert_ne!(key().await, before, "its key was destroyed");
    assert_eq!(colours(&admin.page(&path).await).len(), 16);

    aoi.unsends(&photo).await.unwrap();
    assert_eq!(colours(&admin.page(&path).await).len(), 0);
    let left: i64 = site
        .one("select count(*) from attachment where placeholder is not null")
        .await;
    assert_eq!(left, 0);
    site.run_jobs().await;
}

#[tokio::test]
async fn a_small_picture_is_served_as_it_is_whatever_is_asked_for() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    aoi.sends_image(pictures::photo(1, 64, 48)).await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let file: Uuid = site.one("select id from attachment").await;
    let path = format!("/attachments/{file}/preview");
    let one = admin.get(&path).await.bytes().await.unwrap();
    for x in ["1", "2", "255"] {
        let answer = admin.get(&format!("{path}?x={x}")).await;
        assert_eq!(answer.bytes().await.unwrap(), one, "{x}");
    }
    let image = image::load_from_memory(&one).unwrap();
    assert_eq!((image.width(), image.height()), (64, 48));
    assert_eq!(admin.status(&format!("{path}?x=many")).await, 400);
    let id: Uuid = site.one("select id from conversation").await;
    let page = admin.page(&format!("/conversations/{id}")).await;
    assert!(!page.contains("srcset"));
}
