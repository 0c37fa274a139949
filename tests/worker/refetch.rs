//! Failed and gone files that are asked for again.

use line_chat_archive::{
    MIGRATOR,
    fake_line::{Call, pictures::photo},
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
