//! Files are served by the app only, with their real type, and not after an unsend.

use bytes::Bytes;
use futures_util::StreamExt;
use line_chat_archive::fake_line::pictures;
use reqwest::{Method, Response, header};
use uuid::Uuid;

use crate::{site::Site, support::visitor::Visitor};

async fn attachment(site: &Site, message_id: &str) -> Uuid {
    sqlx::query_scalar("select a.id from attachment a join message m on m.id = a.message_id where m.message_id = $1")
        .bind(message_id)
        .fetch_one(&mut site.db().await)
        .await
        .unwrap()
}

async fn range(visitor: &Visitor, path: &str, range: &str) -> Response {
    visitor
        .request(Method::GET, path)
        .header(header::RANGE, range)
        .send()
        .await
        .unwrap()
}

fn text<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_photo_is_shown_and_nothing_in_it_can_act() {
    let site = Site::new().await;
    let photo = pictures::photo(1, 640, 480);
    let sent = site
        .shop
        .user("Aoi")
        .sends_image(photo.clone())
        .await
        .unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let id = attachment(&site, sent.message_id()).await;
    let path = format!("/attachments/{id}");
    let answer = admin.get(&path).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(text(&answer, "content-type"), "image/jpeg");
    assert_eq!(
        text(&answer, "content-security-policy"),
        "sandbox; default-src 'none'"
    );
    assert_eq!(text(&answer, "cache-control"), "no-store");
    assert_eq!(text(&answer, "content-disposition"), "");
    for validator in ["etag", "last-modified"] {
        assert!(answer.headers().get(validator).is_none(), "{validator}");
    }
    assert_eq!(answer.bytes().await.unwrap(), photo);
    assert_eq!(admin.status(&format!("{path}/preview")).await, 200);

    let part = range(&admin, &path, "bytes=10-19").await;
    assert_eq!(part.status(), 206);
    assert_eq!(
        text(&part, "content-range"),
        format!("bytes 10-19/{}", photo.len())
    );
    assert_eq!(
        text(&part, "content-type"),
        "image/jpeg",
        "told by the first bytes, whatever part is asked for"
    );
    assert_eq!(part.bytes().await.unwrap(), photo.slice(10..20));
    let end = range(&admin, &path, "bytes=-5").await;
    assert_eq!(end.bytes().await.unwrap(), photo.slice(photo.len() - 5..));
    let outside = range(&admin, &path, "bytes=99999999-").await;
    assert_eq!(
        (outside.status().as_u16(), text(&outside, "content-range")),
        (416, &*format!("bytes */{}", photo.len()))
    );
    assert_eq!(range(&admin, &path, "bytes=0-0,5-6").await.status(), 200);
}

#[tokio::test]
async fn a_part_of_another_file_is_answered_with_the_whole_one() {
    let site = Site::new().await;
    let photo = pictures::photo(1, 64, 48);
    let sent = site.shop.user("Aoi").sends_image(photo.clone());
    let sent = sent.await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let id = attachment(&site, sent.message_id()).await;
    for path in [
        format!("/attachments/{id}"),
        format!("/attachments/{id}/preview"),
    ] {
        let whole = admin.get(&path).await.bytes().await.unwrap();
        for validator in [
            "\"a\"",
            "W/\"a\"",
            "*",
            "",
            "Sat, 29 Oct 1994 19:43:31 GMT",
            "nonsense",
        ] {
            for range in ["bytes=1-2", "bytes=99999999-"] {
                let asked = admin
                    .request(Method::GET, &path)
                    .header(header::RANGE, range)
                    .header(header::IF_RANGE, validator);
                let answer = asked.send().await.unwrap();
                assert_eq!(answer.status(), 200, "{path} {validator} {range}");
                assert_eq!(text(&answer, "content-range"), "");
                assert_eq!(answer.bytes().await.unwrap(), whole, "{validator}");
            }
        }
    }
}

#[tokio::test]
async fn what_could_run_is_only_downloaded() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let svg = Bytes::from_static(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>");
    let html = Bytes::from_static(b"<!doctype html><script>alert(1)</script>");
    let pdf = Bytes::from_static(b"%PDF-1.7 /OpenAction (app.alert(1))");
    let admin = site.admin().await;
    for (name, bytes) in [
        ("\u{202e}gpj.svg", &svg),
        ("../../見積\"\r\nX: y.html", &html),
        ("a.pdf", &pdf),
        ("photo.jpg", &html),
    ] {
        let sent = aoi.sends_file(name, bytes.clone()).await.unwrap();
        site.run_jobs().await;
        let answer = admin
            .get(&format!(
                "/attachments/{}",
                attachment(&site, sent.message_id()).await
            ))
            .await;
        assert_eq!(answer.status(), 200, "{name:?}");
        assert_eq!(
            text(&answer, "content-type"),
            "application/octet-stream",
            "{name:?}"
        );
        let disposition = text(&answer, "content-disposition").to_owned();
        assert!(
            disposition.starts_with("attachment; filename=\""),
            "{disposition}"
        );
        assert!(
            disposition.contains("; filename*=UTF-8''") && !disposition.contains('/'),
            "{disposition}"
        );
        assert!(answer.headers().get("x").is_none());
        assert_eq!(&answer.bytes().await.unwrap(), bytes);
    }
    // An element of a page that wants to show or play this file gets 404, and no bytes to interpret.
    let list = Bytes::from_static(b"#EXTM3U\n#EXTINF:9,\nhttp://elsewhere.invalid/a.ts");
    let sent = aoi.sends_video(list, 1_000).await.unwrap();
    site.run_jobs().await;
    let path = format!(
        "/attachments/{}",
        attachment(&site, sent.message_id()).await
    );
    for (wanted, status) in [
        ("video", 404),
        ("audio", 404),
        ("image", 404),
        ("script", 404),
        ("style", 404),
        ("iframe", 404),
        ("embed", 404),
        ("object", 404),
        ("document", 200),
        ("empty", 200),
    ] {
        let request = admin.request(Method::GET, &path);
        let answer = request
            .header("sec-fetch-dest", wanted)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{wanted}");
    }
    let image = aoi.sends_image(svg).await.unwrap();
    site.run_jobs().await;
    let answer = admin
        .get(&format!(
            "/attachments/{}",
            attachment(&site, image.message_id()).await
        ))
        .await;
    assert_eq!(
        text(&answer, "content-type"),
        "application/octet-stream",
        "whatever it was sent as"
    );
}

#[tokio::test]
async fn what_is_shown_keeps_its_name_and_is_saved_as_what_it_is() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let admin = site.admin().await;
    let photo = pictures::photo(1, 64, 48);
    for (name, saved) in [
        ("signed.jpeg", "signed.jpeg"),
        ("signed.html", "signed.html.jpg"),
        ("a.exe\r\nX: y", "a.exeX_ y.jpg"),
    ] {
        let sent = aoi.sends_file(name, photo.clone()).await.unwrap();
        site.run_jobs().await;
        let path = format!(
            "/attachments/{}",
            attachment(&site, sent.message_id()).await
        );
        let answer = admin.get(&path).await;
        assert_eq!(text(&answer, "content-type"), "image/jpeg");
        let disposition = text(&answer, "content-disposition");
        let is = format!("inline; filename=\"{saved}\"; filename*=UTF-8''");
        assert!(disposition.starts_with(&is), "{disposition}");
    }
}

#[tokio::test]
async fn a_download_does_not_outlive_the_message() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let size = 48 * 1024 * 1024;
    let sent = aoi.sends_file("big.bin", vec![7_u8; size]).await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let path = format!(
        "/attachments/{}",
        attachment(&site, sent.message_id()).await
    );
    let mut body = admin.get(&path).await.bytes_stream();
    let mut got = body.next().await.unwrap().unwrap().len();
    aoi.unsends(&sent).await.unwrap();
    let end = loop {
        match body.next().await {
            Some(Ok(bytes)) => got += bytes.len(),
            Some(Err(_)) => break "cut",
            None => break "complete",
        }
    };
    assert_eq!(end, "cut", "after {got} of {size} bytes");
    assert!(got < size / 2, "{got}");
    assert_eq!(admin.status(&path).await, 404);
    site.run_jobs().await;
}

#[tokio::test]
async fn nor_does_a_copy_for_a_person_outlive_what_is_in_it() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let size = 24 * 1024 * 1024;
    let sent = aoi.sends_file("big.bin", noise(size)).await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let contact: Uuid = site.one("select id from contact").await;
    admin
        .post(&format!("/contacts/{contact}/export"), &[])
        .await;
    site.run_jobs().await;
    let export: Uuid = site.one("select id from subject_request").await;
    let path = format!("/exports/{export}");
    let answer = admin.get(&path).await;
    assert_eq!(answer.status(), 200);
    let mut body = answer.bytes_stream();
    let mut got = body.next().await.unwrap().unwrap().len();
    aoi.unsends(&sent).await.unwrap();
    let end = loop {
        match body.next().await {
            Some(Ok(bytes)) => got += bytes.len(),
            Some(Err(_)) => break "cut",
            None => break "complete",
        }
    };
    assert_eq!(end, "cut", "after {got} bytes");
    assert!(got < size / 2, "{got}");
    assert_eq!(admin.status(&path).await, 404);
    site.run_jobs().await;
}

/// Bytes that no compression shortens.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}
