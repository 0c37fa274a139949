//! Answers with status 200 that are not the file: pages of a proxy or a captive portal, and bodies that it compressed.

use std::{io::Write, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use line_chat_archive::fake_line::{Call, Media, pictures::photo};

use crate::archive::Archive;

const MINUTE: Duration = Duration::from_secs(60);
const HTML: &str = "<!doctype html><title>Sign in to the network</title>";
const JSON: &str = r#"{"message":"upstream request timeout"}"#;

fn gzipped(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(vec![], Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

#[tokio::test]
async fn a_page_in_place_of_a_photo_video_or_voice_message_is_not_kept_as_it() {
    for (declared, page) in [
        ("text/html; charset=utf-8", HTML),
        ("application/json", JSON),
        ("application/problem+json", JSON),
        ("text/plain", "no healthy upstream"),
        ("application/xml", "<?xml version=\"1.0\"?><Error/>"),
        // No type at all.
        ("", HTML),
        ("", JSON),
    ] {
        let t = Archive::new().await;
        let aoi = t.shop.user("Aoi");
        let (picture, video, audio) = (photo(1, 64, 64), vec![1_u8; 900], vec![2_u8; 900]);
        for call in [Call::Content, Call::Preview] {
            t.line.trouble(call).always().replaced_by(declared, page);
        }
        let ids = [
            t.receives(&aoi.sends_image(picture.clone()).make()).await,
            t.receives(&aoi.sends_video(video.clone(), 1).make()).await,
            t.receives(&aoi.sends_audio(audio.clone(), 1).make()).await,
        ];
        // Longer than a preview that is no picture is asked for again.
        t.work().await;
        t.work_on(8, 5 * MINUTE).await;
        for (id, preview) in
            ids.into_iter()
                .zip(["waiting not_the_file", "waiting not_the_file", "none"])
        {
            let states = t.states(id).await;
            assert_eq!(
                states,
                format!("waiting not_the_file, {preview}"),
                "{declared}"
            );
        }
        t.holds_only(0).await;
        t.line.is_well();
        t.work_on(3, 60 * MINUTE).await;
        for (id, sent) in ids.into_iter().zip([&picture[..], &video, &audio]) {
            assert!(t.states(id).await.starts_with("kept, "), "{declared}");
            assert_eq!(t.bytes(t.attachment(id).await.original_key()).await, sent);
        }
        t.stop().await;
    }
}

#[tokio::test]
async fn files_of_any_kind_and_pictures_that_cannot_be_decoded_are_kept() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
    let avif = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf";
    let svg = "<svg xmlns='http://www.w3.org/2000/svg'/>";
    let picture = photo(1, 64, 64);
    for draft in [
        aoi.sends_file("page.html", HTML).served_as("text/html"),
        aoi.sends_file("a.json", JSON).served_as("application/json"),
        aoi.sends_image(&heic[..]).served_as("image/heic"),
        aoi.sends_image(&avif[..]).served_as("application/json"),
        aoi.sends_image(svg).served_as("image/svg+xml"),
        aoi.sends_image(picture.clone()).served_as("text/html"),
        aoi.sends_image(&b"\0\x01\x02 unknown"[..])
            .served_as("text/plain"),
        aoi.sends_audio(&b"unknown"[..], 1).served_as("audio/x-m4a"),
    ] {
        let event = draft.make();
        let id = t.receives(&event).await;
        t.work().await;
        assert!(t.states(id).await.starts_with("kept, "), "{}", event.json());
    }
}

#[tokio::test]
async fn a_page_from_another_host_is_neither_a_picture_nor_a_preview() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let url = t.line.elsewhere(photo(1, 90, 60));
    t.line
        .trouble(Call::External)
        .times(4)
        .replaced_by("text/html", HTML);
    let picture = aoi.sends_external(Media::Image, &url, None).make();
    let picture = t.receives(&picture).await;
    let video = aoi.sends_external(Media::Video, &url, Some(&url)).make();
    let video = t.receives(&video).await;
    t.work().await;
    assert!(
        t.states(picture)
            .await
            .starts_with("waiting not_the_file, ")
    );
    assert_eq!(
        t.states(video).await,
        "waiting not_the_file, waiting not_the_file"
    );
    t.holds_only(0).await;
    t.line.is_well();
    t.work_on(4, 5 * MINUTE).await;
    assert_eq!(t.states(picture).await, "kept, kept");
    assert_eq!(t.states(video).await, "kept, kept");
}

#[tokio::test]
async fn a_compressed_body_is_not_kept_as_the_file() {
    for coding in ["gzip", "br", "deflate", "x-unknown"] {
        let t = Archive::new().await;
        let aoi = t.shop.user("Aoi");
        let (picture, text) = (photo(1, 64, 64), vec![b'a'; 10_000]);
        let packed = gzipped(&text);
        for call in [Call::Content, Call::Preview] {
            let trouble = t.line.trouble(call).times(2);
            trouble.encoded_as(coding, packed.clone());
        }
        let file = aoi.sends_file("a.txt", text.clone()).make();
        let file = t.receives(&file).await;
        let photo = t.receives(&aoi.sends_image(picture.clone()).make()).await;
        t.work().await;
        assert_eq!(t.states(file).await, "waiting not_the_file, none");
        assert!(t.states(photo).await.starts_with("waiting not_the_file, "));
        t.holds_only(0).await;
        t.line.is_well();
        t.work_on(4, 5 * MINUTE).await;
        assert_eq!(t.states(file).await, "kept, none", "{coding}");
        assert_eq!(t.states(photo).await, "kept, kept", "{coding}");
        for (id, sent) in [(file, &text[..]), (photo, &picture)] {
            assert_eq!(t.bytes(t.attachment(id).await.original_key()).await, sent);
        }
        t.stop().await;
    }
}

#[tokio::test]
async fn the_rest_of_a_broken_transfer_is_not_taken_compressed() {
    let t = Archive::new().await;
    t.line.honours_range();
    let sent = vec![b'a'; 300_000];
    let file = t.shop.user("Aoi").sends_file("a", sent.clone()).make();
    let id = t.receives(&file).await;
    t.line.trouble(Call::Content).cut_after(200_000);
    let rest = gzipped(&sent[200_000..]);
    t.line.trouble(Call::Content).encoded_as("gzip", rest);
    t.work().await;
    assert_eq!(t.states(id).await, "waiting truncated, none");
    t.holds_only(0).await;
    t.work_on(1, MINUTE).await;
    assert_eq!(t.states(id).await, "kept, none");
    assert_eq!(t.bytes(t.attachment(id).await.original_key()).await, sent);
}

#[tokio::test]
async fn an_encoding_of_identity_is_none() {
    let t = Archive::new().await;
    let file = t.shop.user("Aoi").sends_file("a", &b"a"[..]).make();
    let id = t.receives(&file).await;
    t.line
        .trouble(Call::Content)
        .encoded_as("identity", &b"a"[..]);
    t.work().await;
    assert_eq!(t.states(id).await, "kept, none");
}
