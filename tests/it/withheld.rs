//! Unsends under a hold that covers them: hidden from everything but the hold, erased when it ends, never back.

use line_chat_archive::{
    erasure,
    fake_line::{Sent, User, pictures},
    ledger::Record,
    records::{holds::NewHold, trace::State},
};
use uuid::Uuid;

use crate::{
    causes::{chat, lift, operator, settle},
    harness::{T, run},
    ledger::backup,
    trace::{trace, traces},
};

async fn hold(t: &T, by: Uuid, conversation: Uuid, covers_unsend: bool) -> anyhow::Result<Uuid> {
    let mut tx = t.pool().begin().await?;
    let new = NewHold {
        conversation_id: conversation,
        reason: "case 7",
        covers_subject: true,
        covers_unsend,
        by,
    };
    assert!(erasure::holds::set(&mut tx, &[1], &new, t.clock.now()).await?);
    tx.commit().await?;
    let newest = "select id from hold order by id desc limit 1";
    Ok(sqlx::query_scalar(newest).fetch_one(t.pool()).await?)
}

/// Counts the messages that the conversation pages can show.
const IN_SIGHT: &str =
    "select count(*) from message where conversation_id in (select id from conversation)";

/// The kind and the erasure id of every record in the ledger, in ledger order.
async fn told(t: &T) -> anyhow::Result<Vec<(String, Uuid)>> {
    t.service.ledger_signer.append_and_sign().await?;
    let records: Vec<Vec<u8>> = sqlx::query_scalar("select record from ledger order by seq")
        .fetch_all(t.pool())
        .await?;
    let records = records.iter().map(|bytes| Record::parse(bytes).unwrap());
    Ok(records
        .map(|record| (format!("{:?}", record.kind), record.erasure))
        .collect())
}

struct Scene {
    aoi: User,
    text: Sent,
    edit: Sent,
    photo: Sent,
}

/// Sends a text with an edit, and a photo.
async fn scene(t: &T) -> anyhow::Result<Scene> {
    let aoi = t.shop.user("Aoi");
    aoi.shows_no_picture();
    // LINE sends events for edits in groups only.
    let crew = t.shop.group("Crew", &[&aoi]);
    let aoi = crew.member(&aoi);
    let photo = [&pictures::photo(7, 800, 600)[..], b"MARK-PHOTO"].concat();
    let photo = aoi.sends_image(photo).await?;
    let text = aoi.sends_text("MARK-TEXT").await?;
    let edit = aoi.edits(&text, "MARK-EDIT").await?;
    t.run_jobs().await?;
    Ok(Scene {
        aoi,
        text,
        edit,
        photo,
    })
}

#[tokio::test]
async fn what_is_unsent_under_a_hold_that_covers_it_is_out_of_sight_and_goes_with_the_hold() {
    run(async |t| {
        let by = operator(t).await?;
        let scene = scene(t).await?;
        let aoi = &scene.aoi;
        let conversation = chat(t, aoi.chat().unwrap().id()).await?;
        let held = hold(t, by, conversation, true).await?;
        for event in [&scene.text, &scene.photo] {
            aoi.unsends(event).await?;
        }
        settle(t).await?;
        assert_eq!(t.count(IN_SIGHT).await?, 0);
        assert_eq!(t.traces("MARK-").await?, ["revision.content × 2", "object"]);
        assert_eq!(t.count("select count(*) from erasure").await?, 0);
        let (state, _) = trace(t, scene.text.message_id()).await?;
        assert_eq!(state, State::Withheld);

        // Redeliveries, a further edit and a further unsend neither bring it back nor erase it.
        let (again, unsend) = (aoi.edits(&scene.text, "MARK-AGAIN").make(), aoi.unsends(&scene.text).make());
        for event in [&scene.text, &scene.edit, &scene.photo] {
            t.shop.redeliver(event).await;
        }
        t.deliver(&[again, unsend, (*scene.text).clone()]).await?;
        settle(t).await?;
        assert_eq!(t.count(IN_SIGHT).await?, 0);
        assert_eq!(t.traces("MARK-").await?, ["revision.content × 2", "object"]);

        lift(t, by, held).await?;
        settle(t).await?;
        assert_eq!(t.traces("MARK-").await?, [""; 0]);
        assert!(t.objects()?.is_empty());
        let (state, lines) = trace(t, scene.photo.message_id()).await?;
        assert_eq!((state, traces(&lines)), (State::Unsent, vec![]));
        assert_eq!(
            t.count(
                "select count(*) from erasure where cause = 'unsend' and webhook_event_id is not null
                 and objects_gone_at is not null and keys_gone_at is not null and rows_gone_at > requested_at"
            )
            .await?,
            2
        );
        let told = told(t).await?;
        let kinds: Vec<&str> = told.iter().map(|(kind, _)| &**kind).collect();
        assert_eq!(kinds[..4], ["HoldSet", "Withheld", "Withheld", "HoldLifted"]);
        for (_, erasure) in &told[1..3] {
            let said: Vec<&str> = told.iter().filter(|(_, id)| id == erasure).map(|(kind, _)| &**kind).collect();
            assert_eq!(said[..2], ["Withheld", "Requested"]);
            assert!(said.len() == 4 && said.contains(&"Purged") && said.contains(&"KeysDestroyed"));
        }
        t.shop.redeliver(&scene.text).await;
        assert_eq!(t.count("select count(*) from message").await?, 0);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_hold_that_does_not_cover_unsends_stops_none_and_another_that_does_takes_over() {
    run(async |t| {
        let by = operator(t).await?;
        let scene = scene(t).await?;
        let aoi = &scene.aoi;
        let conversation = chat(t, aoi.chat().unwrap().id()).await?;
        hold(t, by, conversation, false).await?;
        aoi.unsends(&scene.photo).await?;
        settle(t).await?;
        assert_eq!(t.traces("MARK-PHOTO").await?, [""; 0]);

        let first = hold(t, by, conversation, true).await?;
        let second = hold(t, by, conversation, true).await?;
        aoi.unsends(&scene.text).await?;
        lift(t, by, first).await?;
        settle(t).await?;
        assert_eq!(t.traces("MARK-TEXT").await?, ["revision.content × 1"]);
        assert_eq!(t.count(IN_SIGHT).await?, 0);
        lift(t, by, second).await?;
        settle(t).await?;
        assert_eq!(t.traces("MARK-").await?, [""; 0]);
        // A message that comes after its unsend is not stored, so nothing is withheld.
        let late = aoi.sends_text("MARK-LATE").make();
        hold(t, by, conversation, true).await?;
        t.deliver(&[aoi.unsends(&late).make(), late]).await?;
        assert_eq!(t.traces("MARK-").await?, [""; 0]);
        Ok(())
    })
    .await;
}

/// Restores a backup from before the unsend, which contains the hold or does not.
#[tokio::test]
async fn a_restored_database_shows_nothing_that_was_withheld_since() {
    for hold_in_backup in [true, false] {
        run(async |t| {
            let by = operator(t).await?;
            let scene = scene(t).await?;
            let aoi = &scene.aoi;
            let conversation = chat(t, aoi.chat().unwrap().id()).await?;
            t.service.ledger_signer.append_and_sign().await?;
            if hold_in_backup {
                hold(t, by, conversation, true).await?;
            }
            let name = t.database.get_database().unwrap().to_owned();
            let backup = backup(t, &name).await?;
            // The service's connection was cut; this call lets it notice that.
            let _ = aoi.unsends(&scene.text).await;
            if !hold_in_backup {
                hold(t, by, conversation, true).await?;
            }
            aoi.unsends(&scene.text).await?;
            assert_eq!(t.count("select count(*) from withheld").await?, 1);
            t.service.ledger_signer.append_and_sign().await?;
            let restored = t.serve_on(&backup).await?;
            assert_eq!(restored.replayed, 1);
            std::mem::replace(&mut t.service, restored).stop().await;
            t.shop.webhook_to(&t.service.webhook_url("shop"));
            t.shop.redeliver(&scene.text).await;
            let left: i64 = sqlx::query_scalar("select count(*) from message where message_id = $1 and conversation_id in (select id from conversation)")
                .bind(scene.text.message_id())
                .fetch_one(t.pool())
                .await?;
            assert_eq!(left, 0);
            let kept = t.count("select count(*) from withheld").await?;
            assert_eq!(kept, i64::from(hold_in_backup));
            let expected: &[&str] = if hold_in_backup { &["revision.content × 1"] } else { &[] };
            assert_eq!(t.traces("MARK-TEXT").await?, expected);
            Ok(())
        })
        .await;
    }
}
