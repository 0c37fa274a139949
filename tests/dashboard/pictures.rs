//! Pictures before they are opened: their place, the colours that stand in for them, two sizes.

use std::{io::Cursor, time::Duration};

use image::{ImageFormat, Rgb, RgbImage};
use line_chat_archive::fake_line::drawing;
use reqwest::{Method, header};
use uuid::Uuid;

use crate::site::{Site, between};

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

/// The colours of the grids on a page.
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
    aoi.sends_image(drawing::photo(1, 64, 48)).await.unwrap();
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
