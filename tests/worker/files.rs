//! The worker fetches originals and makes previews.

use std::time::Duration;

use line_chat_archive::{
    fake_line::{Call, pictures::photo},
    records::media::State,
};
use sqlx::postgres::PgListener;

use crate::archive::{Archive, until};

#[tokio::test]
async fn a_photo_and_its_preview_are_kept_and_open_pages_are_told() {
    let t = Archive::new().await;
    let picture = photo(1, 1600, 1200);
    let photo = t
        .receives(&t.shop.user("Aoi").sends_image(picture.clone()).make())
        .await;
    let mut pages = PgListener::connect_with(&t.pool).await.unwrap();
    pages.listen("archive").await.unwrap();

    // The worker claims the preview's job, defers it until the original is there, and then makes the preview.
    assert_eq!(t.work().await, 3);

    let kept = t.attachment(photo).await;
    assert_eq!(
        (kept.original_state, kept.preview_state),
        (State::Kept, State::Kept)
    );
    assert_eq!(t.bytes(kept.original_key()).await, picture);
    assert_eq!(kept.original_type.as_deref(), Some("image/jpeg"));
    assert_eq!(kept.original_size, Some(picture.len() as i64));
    assert_eq!(
        t.text("select preview_width || 'x' || preview_height || preview_type from attachment where id = $1", photo).await,
        "640x480image/jpeg"
    );
    assert_eq!(t.jobs().await, 0);
    t.holds_only(2).await;

    let conversation = t
        .text("select m.conversation_id::text from message m join attachment a on a.message_id = m.id where a.id = $1", photo)
        .await;
    for _ in 0..2 {
        assert_eq!(pages.recv().await.unwrap().payload(), conversation);
    }
}

#[tokio::test]
async fn audio_and_files_have_no_preview_and_keep_their_declared_type() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let voice = t
        .receives(&aoi.sends_audio(&b"voice"[..], 1200).make())
        .await;
    let empty = t
        .receives(
            &aoi.sends_file("nothing.bin", &b""[..])
                .served_as("X; y=z")
                .make(),
        )
        .await;
    t.work().await;

    let voice = t.attachment(voice).await;
    assert_eq!(t.bytes(voice.original_key()).await, "voice");
    assert_eq!(voice.original_type.as_deref(), Some("audio/x-m4a"));
    let empty = t.attachment(empty).await;
    assert_eq!((empty.original_size, empty.original_type), (Some(0), None));
    assert_eq!(t.line.all_calls(Call::Preview), 0);
    t.holds_only(2).await;
}

#[tokio::test]
async fn a_video_that_is_not_ready_is_awaited_and_fetched_once() {
    let t = Archive::new().await;
    let video = t
        .shop
        .user("Aoi")
        .sends_video(&b"moving pictures"[..], 900)
        .preparing(3)
        .make();
    let id = t.receives(&video).await;
    t.work().await;
    assert_eq!(t.states(id).await, "waiting preparing, kept");

    t.work_on(3, Duration::from_secs(30)).await;

    assert_eq!(t.states(id).await, "kept, kept");
    assert_eq!(
        t.bytes(t.attachment(id).await.original_key()).await,
        "moving pictures"
    );
    assert_eq!(t.line.calls(Call::Transcoding, video.message_id()), 3);
    assert_eq!(t.line.calls(Call::Content, video.message_id()), 2);
    t.holds_only(2).await;
}

#[tokio::test]
async fn a_pictures_preview_is_made_from_the_original_and_line_is_not_asked_for_one() {
    for status in [400, 404, 500] {
        let t = Archive::new().await;
        t.line.trouble(Call::Preview).always().answers(status);
        let photo = t
            .receives(&t.shop.user("Aoi").sends_image(photo(2, 900, 1500)).make())
            .await;
        t.work().await;

        assert_eq!(t.states(photo).await, "kept, kept");
        assert_eq!(
            t.text(
                "select preview_width || 'x' || preview_height from attachment where id = $1",
                photo
            )
            .await,
            "432x720"
        );
        let (size, preview) = {
            let kept = t.attachment(photo).await;
            (
                kept.original_size.unwrap(),
                t.bytes(kept.preview_key()).await,
            )
        };
        assert!((preview.len() as i64) < size);
        assert_eq!(t.line.all_calls(Call::Content), 1);
        assert_eq!(t.line.all_calls(Call::Preview), 0);
        t.holds_only(2).await;
    }
}

#[tokio::test]
async fn where_the_original_cannot_be_had_lines_preview_stands_in() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    // One that LINE no longer has, one that LINE cannot deliver now, and one that no decoder can read.
    let gone = aoi.sends_image(photo(3, 1600, 1200)).make();
    t.line
        .trouble(Call::Content)
        .of(gone.message_id())
        .always()
        .answers(410);
    let late = aoi.sends_image(photo(4, 1600, 1200)).make();
    t.line
        .trouble(Call::Content)
        .of(late.message_id())
        .always()
        .answers(500);
    let odd = aoi
        .sends_image(&b"a format of next year"[..])
        .previewed_by(photo(5, 300, 200))
        .make();
    let (gone, late) = (t.receives(&gone).await, t.receives(&late).await);
    let odd = t.receives(&odd).await;
    t.work_on(20, Duration::from_secs(120)).await;

    assert_eq!(t.states(gone).await, "gone gone, kept");
    assert_eq!(
        t.states(late).await,
        "waiting trouble, waiting original",
        "another is made of the original, should it come"
    );
    assert!(t.attachment(late).await.preview_key().is_some());
    assert_eq!(t.states(odd).await, "kept, kept");
    let pixels = "select preview_width || 'x' || preview_height from attachment where id = $1";
    assert_eq!(
        t.text(pixels, gone).await,
        "384x288",
        "LINE's, never enlarged"
    );
    assert_eq!(t.text(pixels, odd).await, "300x200");
}

#[tokio::test]
async fn a_preview_that_is_no_image_is_replaced_and_a_picture_that_is_none_has_no_preview() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let photo = aoi
        .sends_image(photo(3, 800, 800))
        .previewed_by(&b"<svg onload=x>"[..])
        .make();
    let photo = t.receives(&photo).await;
    let fake = aoi
        .sends_image(&b"<svg onload=x>"[..])
        .previewed_by(&b"<html>"[..])
        .make();
    let fake = t.receives(&fake).await;
    let video = aoi
        .sends_video(&b"video"[..], 1)
        .previewed_by(&b"<html>"[..])
        .make();
    let video = t.receives(&video).await;
    t.work().await;

    assert_eq!(t.states(photo).await, "kept, kept");
    assert_eq!(
        t.attachment(photo).await.preview_type.as_deref(),
        Some("image/jpeg")
    );
    assert_eq!(t.states(fake).await, "kept, failed unreadable");
    assert_eq!(t.states(video).await, "kept, waiting unreadable");
    t.work_on(8, Duration::from_secs(60)).await;
    assert_eq!(t.states(video).await, "kept, failed unreadable");
    t.holds_only(4).await;
}

/// LINE cut it, or had not finished it.
#[tokio::test]
async fn a_videos_broken_preview_is_fetched_again() {
    let t = Archive::new().await;
    let picture = photo(1, 300, 200);
    let video = t.shop.user("Aoi").sends_video(&b"video"[..], 1);
    let video = video.previewed_by(picture.clone()).make();
    let id = t.receives(&video).await;
    // One complete answer with the first bytes only.
    t.line.trouble(Call::Preview).shortened_to(20);
    t.work().await;
    assert_eq!(t.states(id).await, "kept, waiting unreadable");
    t.work_on(1, Duration::from_secs(3)).await;
    assert_eq!(t.states(id).await, "kept, kept");
    assert_eq!(t.line.calls(Call::Preview, video.message_id()), 2);
}

#[tokio::test]
async fn previews_and_originals_have_slots_each_for_the_newest_three_and_the_oldest() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let mut ids = Vec::new();
    for seed in 0..6 {
        ids.push(
            t.receives(&aoi.sends_video(vec![seed as u8; 64], 1).make())
                .await,
        );
    }
    let gates =
        [Call::Preview, Call::Content].map(|call| t.line.trouble(call).always().held_after(0));
    let working = tokio::spawn({
        let worker = t.worker.clone();
        async move { worker.run_until_idle().await }
    });
    until(async || t.line.all_calls(Call::Preview) == 4 && t.line.all_calls(Call::Content) == 4)
        .await;
    for kind in ["preview", "original"] {
        let begun: Vec<uuid::Uuid> = sqlx::query_scalar(
            "select attachment_id from job where lease is not null and kind = $1 order by attachment_id",
        )
        .bind(kind)
        .fetch_all(&t.pool)
        .await
        .unwrap();
        assert_eq!(begun, [ids[0], ids[3], ids[4], ids[5]], "{kind}");
    }

    for gate in &gates {
        gate.open();
    }
    working.await.unwrap().unwrap();
    t.holds_only(12).await;
}

#[tokio::test]
async fn a_preview_that_is_put_off_the_moment_its_original_is_settled_is_not_forgotten() {
    let t = Archive::new().await;
    t.line.trouble(Call::Preview).always().answers(404);
    let id = t
        .receives(&t.shop.user("Aoi").sends_image(photo(7, 32, 32)).make())
        .await;
    sqlx::query("delete from job where kind = 'original'")
        .execute(&t.pool)
        .await
        .unwrap();
    let mut settling = t.holding(id).await;
    let working = tokio::spawn({
        let worker = t.worker.clone();
        async move { worker.run_until_idle().await }
    });
    // The worker has seen that the original is not there yet, and waits for the lock to write that.
    until(async || {
        t.count("select count(*) from pg_locks where not granted")
            .await
            > 0
    })
    .await;
    sqlx::query("update attachment set original_state = 'failed', original_reason = 'too_large'")
        .execute(&mut *settling)
        .await
        .unwrap();
    settling.commit().await.unwrap();
    working.await.unwrap().unwrap();
    assert_eq!(t.states(id).await, "failed too_large, failed too_large");
}

#[tokio::test]
async fn lines_preview_stands_in_until_the_original_is_there() {
    let t = Archive::new().await;
    let photo = t.shop.user("Aoi").sends_image(photo(5, 1600, 1200)).make();
    let id = t.receives(&photo).await;
    t.line.trouble(Call::Content).times(3).answers(503);
    t.work_on(3, Duration::from_secs(4)).await;
    assert_eq!(t.states(id).await, "waiting trouble, waiting original");
    let early = t.attachment(id).await.preview_key();
    assert!(!t.bytes(early).await.is_empty(), "it is shown meanwhile");
    assert_eq!(t.line.calls(Call::Preview, photo.message_id()), 1);
    t.holds_only(1).await;

    t.work_on(4, Duration::from_secs(60)).await;
    assert_eq!(t.states(id).await, "kept, kept");
    let kept = t.attachment(id).await;
    assert_ne!(kept.preview_key(), early);
    let wide = "select preview_width || 'x' || preview_height from attachment where id = $1";
    assert_eq!(t.text(wide, id).await, "640x480");
    assert_eq!(t.line.calls(Call::Preview, photo.message_id()), 1);
    assert_eq!(t.jobs().await, 0);
    t.holds_only(2).await;

    // If the original never comes, LINE's preview stays.
    let gone = t
        .shop
        .user("Ren")
        .sends_image(line_chat_archive::fake_line::pictures::photo(6, 1600, 1200))
        .make();
    let id = t.receives(&gone).await;
    t.line
        .trouble(Call::Content)
        .of(gone.message_id())
        .times(2)
        .answers(503);
    t.line
        .trouble(Call::Content)
        .of(gone.message_id())
        .always()
        .answers(410);
    t.work_on(25, Duration::from_secs(120)).await;
    assert_eq!(t.states(id).await, "gone gone, kept");
    t.holds_only(3).await;
}
