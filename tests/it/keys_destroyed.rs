//! The wrapping keys of erased messages are destroyed, and every message that is kept stays readable.

use std::time::Duration;

use line_chat_archive::seal::{Error, SealContext, key_of};
use uuid::Uuid;

use crate::{
    harness::{T, run},
    support::keys,
};

/// After this time every key in use is old enough to be closed.
const MINUTE: Duration = Duration::from_secs(61);

/// The sealed original of a message, as a backup contains it.
async fn sealed(t: &T, message_id: &str) -> anyhow::Result<(Uuid, Vec<u8>)> {
    Ok(sqlx::query_as(
        "select m.id, content from revision r join message m on m.id = r.message_id
         where m.message_id = $1 and not edited",
    )
    .bind(message_id)
    .fetch_one(t.pool())
    .await?)
}

async fn revisions(t: &T) -> anyhow::Result<(i64, usize)> {
    let rows = t.count("select count(*) from revision").await?;
    let readable = t.documents().await?;
    let readable = readable.iter().filter(|(at, ..)| *at == "revision.content");
    Ok((rows, readable.count()))
}

#[tokio::test]
async fn a_backup_from_before_the_unsend_says_nothing_and_its_neighbours_stay() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let secret = aoi.sends_text("MARK-BACKUP").await?;
        for n in 0..20 {
            aoi.sends_text(&format!("neighbour {n}")).await?;
        }
        let photo = aoi.sends_image(vec![7; 1000]).await?;
        t.run_jobs().await?;
        let (id, backup) = sealed(t, secret.message_id()).await?;
        let key = key_of(&backup).unwrap();
        let opened = keys::opened(&t.keyring, SealContext::Message(id), &backup).await;
        assert!(opened.is_some(), "the backup is good while the message lives");
        let before = t.documents().await?.len();

        aoi.unsends(&secret).await?;
        t.clock.advance(MINUTE);
        t.run_jobs().await?;

        t.keyring.forget_found();
        assert!(matches!(t.keyring.find(key).await, Err(Error::NoKey)));
        assert_eq!(t.documents().await?.len(), before - 1, "all others can be read");
        assert!(t.keeps(photo.json().as_bytes()).await?);
        assert!(!t.opened_objects().await?.is_empty());
        assert_eq!(
            t.count(
                "select count(*) from erasure where keys_found = 1 and keys_gone_at - rows_gone_at <= '61 s'"
            )
            .await?,
            1
        );
        assert_eq!(t.count("select count(*) from erasure_key").await?, 0);
        Ok(())
    })
    .await;
}

/// A message can be sealed again under a new key just while it is unsent: then both keys have to be destroyed.
#[tokio::test]
async fn unsent_again_and_again_a_conversation_changes_its_key_once_a_minute() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let mut texts = vec![];
        for n in 0..12 {
            texts.push(aoi.sends_text(&format!("MARK-{n}")).await?);
        }
        let mut backups = vec![];
        for text in &texts {
            backups.push(sealed(t, text.message_id()).await?);
        }
        t.clock.advance(MINUTE);
        let keys =
            "select count(*) from keyring_key where subject in (select id from conversation)";
        for text in &texts[..10] {
            aoi.unsends(text).await?;
            t.run_jobs().await?;
            t.clock.advance(Duration::from_secs(5));
        }
        assert_eq!(
            t.count(keys).await?,
            1,
            "one key, and not ten one after another"
        );
        t.clock.advance(MINUTE);
        t.run_jobs().await?;
        assert_eq!(
            t.count("select count(*) from erasure where keys_gone_at is null")
                .await?,
            0
        );
        t.keyring.forget_found();
        for (id, backup) in &backups {
            let opened = keys::opened(&t.keyring, SealContext::Message(*id), backup).await;
            assert!(
                opened.is_none(),
                "an old backup opens with no key that is left"
            );
        }
        assert_eq!(revisions(t).await?, (2, 2));
        Ok(())
    })
    .await;
}

/// Two services write into one conversation while its keys are closed and destroyed.
#[tokio::test]
async fn no_message_is_ever_sealed_under_a_key_that_goes() {
    run(async |t| {
        let other = t.replica().await?;
        let services = [&t.service, &other].map(|service| service.webhook_url("shop"));
        let (aoi, ben) = (t.shop.user("Aoi"), t.shop.user("Ben"));
        let crew = t.shop.group("Crew", &[&aoi, &ben]);
        let in_crew = crew.member(&ben);
        for round in 0..15 {
            let mine = aoi.sends_text("mine").await?;
            let his = in_crew.sends_text("his").await?;
            t.clock.advance(MINUTE);
            let writing = async {
                for n in 0..18 {
                    t.shop.webhook_to(&services[n % 2]);
                    let text = format!("{round} {n}");
                    let (one, two) = tokio::join!(aoi.sends_text(&text), in_crew.sends_text(&text));
                    one?;
                    two?;
                }
                anyhow::Ok(())
            };
            let erasing = async {
                aoi.unsends(&mine).await?;
                in_crew.unsends(&his).await?;
                for _ in 0..3 {
                    t.service.worker.run_until_idle().await?;
                    other.worker.run_until_idle().await?;
                }
                anyhow::Ok(())
            };
            let (written, erased) = tokio::join!(writing, erasing);
            written?;
            erased?;
        }
        t.clock.advance(MINUTE);
        t.run_jobs().await?;
        let (rows, readable) = revisions(t).await?;
        assert_eq!(rows, 15 * 18 * 2);
        assert_eq!(
            i64::try_from(readable)?,
            rows,
            "every message that is kept can be read"
        );
        assert_eq!(
            t.count("select count(*) from erasure where keys_gone_at is null")
                .await?,
            0
        );
        other.stop().await;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_crash_before_the_end_of_a_key_is_made_good_by_the_next_service() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let text = aoi.sends_text("MARK-CRASH").await?;
        aoi.sends_text("neighbour").await?;
        let (id, backup) = sealed(t, text.message_id()).await?;
        aoi.unsends(&text).await?;
        t.clock.advance(MINUTE);
        // As if the service had crashed after it closed the key, before anything else.
        sqlx::query("update keyring_key set closed_at = $1 where dirty_at is not null")
            .bind(t.clock.now())
            .execute(t.pool())
            .await?;
        t.restart().await?;
        aoi.sends_text("later").await?;
        t.run_jobs().await?;
        t.keyring.forget_found();
        assert!(
            keys::opened(&t.keyring, SealContext::Message(id), &backup)
                .await
                .is_none()
        );
        assert_eq!(revisions(t).await?, (2, 2));
        assert_eq!(
            t.count("select count(*) from erasure where keys_gone_at is null")
                .await?,
            0
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_service_goes_on_with_the_spare_keys_that_another_has_left() {
    run(async |t| {
        t.shop.user("Aoi").sends_text("one").await?;
        let spare = "select count(*) from keyring_key where subject is null";
        let before = t.count(spare).await?;
        for _ in 0..3 {
            t.restart().await?;
        }
        // The next service starts before the last one has stopped, so the spare keys of two exist.
        let after = t.count(spare).await?;
        assert!(
            after <= 2 * before + 128,
            "{after} spare keys, {before} at first"
        );
        t.shop.user("Ben").sends_text("two").await?;
        assert_eq!(revisions(t).await?, (2, 2));
        Ok(())
    })
    .await;
}
