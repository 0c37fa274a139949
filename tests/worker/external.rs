//! Content on hosts that are not LINE's.

use std::time::Duration;

use line_chat_archive::{
    fake_line::{Call, Media, pictures::photo},
    media::Reach,
};

use crate::archive::Archive;

#[tokio::test]
async fn an_external_picture_is_kept_with_a_preview_of_our_own() {
    let t = Archive::new().await;
    let picture = photo(1, 1000, 500);
    let url = t.line.elsewhere(picture.clone());
    let aoi = t.shop.user("Aoi");
    let id = t
        .receives(
            &aoi.sends_external(Media::Image, &url, Some("https://x/"))
                .make(),
        )
        .await;
    t.work().await;

    assert_eq!(t.states(id).await, "kept, kept");
    let kept = t.attachment(id).await;
    assert_eq!(t.bytes(kept.original_key()).await, picture);
    assert_eq!(
        t.text(
            "select preview_width || 'x' || preview_height from attachment where id = $1",
            id
        )
        .await,
        "640x320"
    );
    assert_eq!(
        (
            t.line.all_calls(Call::External),
            t.line.all_calls(Call::Content)
        ),
        (1, 0)
    );
    t.holds_only(2).await;
}

#[tokio::test]
async fn an_external_video_has_the_preview_it_came_with_or_none() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let (video, picture) = (
        t.line.elsewhere(&b"video"[..]),
        t.line.elsewhere(photo(1, 90, 60)),
    );
    let with = t
        .receives(
            &aoi.sends_external(Media::Video, &video, Some(&picture))
                .make(),
        )
        .await;
    let without = t
        .receives(&aoi.sends_external(Media::Video, &video, None).make())
        .await;
    t.work().await;
    assert_eq!(t.states(with).await, "kept, kept");
    assert_eq!(t.states(without).await, "kept, none");
    t.holds_only(3).await;
}

#[tokio::test]
async fn an_address_inside_is_never_connected_to() {
    let t = Archive::new().await;
    let guarded = t.another_worker(Reach::Guarded).await;
    let url = t.line.elsewhere(photo(1, 90, 60));
    let https = url.replace("http:", "https:");
    let aoi = t.shop.user("Aoi");
    let mut ids = Vec::new();
    for address in [
        &url,
        &https,
        "https://localhost/x",
        "https://[::1]/x",
        "nonsense",
    ] {
        let event = aoi.sends_external(Media::Image, address, None).make();
        ids.push(t.receives(&event).await);
    }
    guarded.run_until_idle().await.unwrap();
    for id in ids {
        assert_eq!(t.states(id).await, "failed address, failed address");
    }
    assert_eq!(t.line.all_calls(Call::External), 0);
    t.holds_only(0).await;
}

#[tokio::test]
async fn what_is_switched_off_is_never_asked_for() {
    let t = Archive::new().await;
    let url = t.line.elsewhere(photo(1, 90, 60));
    let aoi = t.shop.user("Aoi");
    for reach in [Reach::Line, Reach::Nowhere] {
        let worker = t.another_worker(reach).await;
        let event = aoi.sends_external(Media::Video, &url, Some(&url)).make();
        let id = t.receives(&event).await;
        worker.run_until_idle().await.unwrap();
        assert_eq!(t.states(id).await, "failed off, failed off", "{reach:?}");
    }
    assert_eq!(t.line.all_calls(Call::External), 0);
    assert_eq!(t.jobs().await, 0, "nothing is tried again");
    t.holds_only(0).await;
}

#[tokio::test]
async fn others_servers_are_told_apart_like_line() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    for (status, after) in [
        (404, "waiting not_found, none"),
        (410, "waiting gone, none"),
        (429, "waiting trouble, none"),
        (500, "waiting trouble, none"),
        (403, "failed rejected, none"),
        (302, "failed rejected, none"),
    ] {
        let url = t.line.elsewhere(&b"sound"[..]);
        let id = t
            .receives(&aoi.sends_external(Media::Audio, &url, None).make())
            .await;
        t.line.trouble(Call::External).answers(status);
        t.work().await;
        assert_eq!(t.states(id).await, after, "{status}");
    }
    t.work_on(2, Duration::from_secs(60)).await;
    assert_eq!(t.jobs().await, 0);
    t.holds_only(4).await;
}

#[tokio::test]
async fn what_is_too_large_or_too_odd_is_not_kept() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let large = t.line.elsewhere(vec![0; 20 * 1024 * 1024 + 1]);
    let large = t
        .receives(&aoi.sends_external(Media::Video, &large, None).make())
        .await;
    let bomb = t.line.elsewhere(bomb());
    let bomb = t
        .receives(&aoi.sends_external(Media::Image, &bomb, None).make())
        .await;
    t.work().await;
    assert_eq!(t.states(large).await, "failed too_large, none");
    assert_eq!(t.states(bomb).await, "kept, failed unreadable");
    t.holds_only(1).await;
}

/// The header of a PNG of 30,000 by 30,000 pixels.
fn bomb() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend([0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30, 8, 6, 0, 0, 0]);
    png.extend(0xa1b2_c3d4_u32.to_be_bytes());
    png
}
