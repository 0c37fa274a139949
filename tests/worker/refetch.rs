//! Failed and gone files that are asked for again, all of a conversation or of a channel.

use std::time::Duration;

use line_chat_archive::{
    MIGRATOR,
    fake_line::{Call, pictures::photo},
    records::refetch::{self, BATCH_FILES, Batch, Period},
};
use uuid::Uuid;

use crate::archive::Archive;

/// Gives an attachment these states and reasons, as if its jobs had ended so.
async fn ended(t: &Archive, id: Uuid, states: [Option<&str>; 4]) {
    let [original, original_reason, preview, preview_reason] = states;
    sqlx::query(
        "with over as (delete from job where attachment_id = $1)
         update attachment set original_state = coalesce($2, original_state), original_reason = $3,
             preview_state = coalesce($4, preview_state), preview_reason = $5,
             preview_key = null where id = $1",
    )
    .bind(id)
    .bind(original)
    .bind(original_reason)
    .bind(preview)
    .bind(preview_reason)
    .execute(&t.pool)
    .await
    .unwrap();
}

async fn ask_after(t: &Archive, after: Uuid) -> Batch {
    let mut conn = t.pool.acquire().await.unwrap();
    let (period, now) = (Period::default(), t.clock.now());
    refetch::retry_period(&mut conn, t.channel_id, period, after, now)
        .await
        .unwrap()
}

async fn ask(t: &Archive) -> u64 {
    ask_after(t, Uuid::nil()).await.files
}

/// Gives up the originals of all attachments, as if their jobs had ended so.
async fn all_gone(t: &Archive) {
    sqlx::raw_sql("delete from job; update attachment set original_state = 'gone', original_reason = 'not_found'")
        .execute(&t.pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn many_files_are_asked_for_in_batches() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let extra = 50;
    let events: Vec<_> = (0..BATCH_FILES + extra)
        .map(|_| aoi.sends_file("a", vec![1; 9]).make())
        .collect();
    for part in events.chunks(500) {
        t.deliver(part).await.unwrap();
    }
    all_gone(&t).await;
    let first = ask_after(&t, Uuid::nil()).await;
    let second = first.next.unwrap();
    assert_eq!(first.files, BATCH_FILES);
    assert_eq!(t.jobs().await, BATCH_FILES.cast_signed());
    let rest = ask_after(&t, second).await;
    assert_eq!((rest.files, rest.next), (extra, None));
    assert_eq!(ask(&t).await, 0);
    assert_eq!(t.jobs().await, (BATCH_FILES + extra).cast_signed());

    all_gone(&t).await;
    let rest = ask_after(&t, second).await;
    assert_eq!(rest.files, extra, "a batch leaves those before it alone");
}

#[tokio::test]
async fn of_many_files_those_are_left_out_that_would_not_come_or_may_not() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let failed = |reason| [Some("failed"), Some(reason), None, None];
    let large = t.receives(&aoi.sends_file("a", vec![1; 9]).make()).await;
    ended(&t, large, failed("too_large")).await;
    assert_eq!(ask(&t).await, 0, "the channel's limit holds");

    let withheld = t.receives(&aoi.sends_file("b", vec![2; 9]).make()).await;
    ended(&t, withheld, failed("trouble")).await;
    t.operator("keiko", "admin", None).await.unwrap();
    t.text(
        "with held as (
             insert into hold (id, conversation_id, reason, covers_subject, covers_unsend, set_by, set_at)
             select gen_random_uuid(), m.conversation_id, 'case', true, true, o.id, now()
             from attachment a join message m on m.id = a.message_id, operator o where a.id = $1 returning id
         )
         insert into withheld (message_id, hold_id, erasure_id, requested_at, withheld_at)
         select a.message_id, held.id, gen_random_uuid(), now(), now() from attachment a, held where a.id = $1
         returning hold_id::text",
        withheld,
    )
    .await;
    assert_eq!(ask(&t).await, 0, "nothing of a withheld message is fetched");

    let image = t.receives(&aoi.sends_image(photo(1, 64, 64)).make()).await;
    t.work_on(2, Duration::from_secs(3)).await;
    let unreadable = [None, None, Some("failed"), Some("unreadable")];
    ended(&t, image, unreadable).await;
    assert_eq!(ask(&t).await, 0, "it would fail again");
    ended(&t, image, [None, None, Some("gone"), Some("not_found")]).await;
    assert_eq!(ask(&t).await, 1, "a preview alone");
    assert_eq!(t.jobs().await, 1);
    t.work().await;
    assert_eq!(t.states(image).await, "kept, kept");

    ended(&t, image, [Some("gone"), Some("gone"), None, None]).await;
    sqlx::query("update channel set removed_at = now()")
        .execute(&t.pool)
        .await
        .unwrap();
    assert_eq!(ask(&t).await, 0, "a removed channel has no token");
}

#[tokio::test]
async fn previews_that_earlier_versions_gave_up_alone_are_asked_for_once_more() {
    let t = Archive::new().await;
    let video = t.shop.user("Aoi").sends_video(&b"video"[..], 1);
    let video = video.previewed_by(photo(1, 64, 64)).make();
    let id = t.receives(&video).await;
    t.work().await;
    let asked = t.line.calls(Call::Preview, video.message_id());
    ended(&t, id, [None, None, Some("failed"), Some("rejected")]).await;
    let migration = MIGRATOR.iter().find(|one| one.version == 29).unwrap();
    for _ in 0..2 {
        sqlx::raw_sql(migration.sql.clone())
            .execute(&t.pool)
            .await
            .unwrap();
        // The migration takes the database's clock, which is ahead of the test's.
        sqlx::query("update job set run_at = created_at - interval '10 years'")
            .execute(&t.pool)
            .await
            .unwrap();
        t.work().await;
        assert_eq!(t.states(id).await, "kept, kept");
        assert_eq!(t.line.calls(Call::Preview, video.message_id()), asked + 1);
    }
}
