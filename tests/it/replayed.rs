//! Restores a backup from before an erasure of any cause: the service repeats the erasure before it answers anybody.

use std::{collections::BTreeSet, fs, time::Duration};

use line_chat_archive::{
    erasure::order::Outcome,
    fake_line::pictures,
    ledger::{Kind, Record},
    records::subjects::RequestKind,
};
use uuid::Uuid;

use crate::{
    causes::{DAY, operator, order, rule, settle, wish},
    harness::{T, run},
    ledger::{backup, copy, sound},
};

/// The erasure id and the kind of every record in the ledger, in ledger order.
async fn told(t: &T) -> anyhow::Result<Vec<(Uuid, Kind)>> {
    t.service.ledger_signer.append_and_sign().await?;
    let records: Vec<Vec<u8>> = sqlx::query_scalar("select record from ledger order by seq")
        .fetch_all(t.pool())
        .await?;
    let records = records.iter().map(|bytes| Record::parse(bytes).unwrap());
    Ok(records
        .map(|record| (record.erasure, record.kind))
        .collect())
}

#[tokio::test]
async fn what_was_erased_for_any_cause_since_the_backup_is_erased_again() {
    for cause in ["retention", "operator", "subject"] {
        run(async |t| {
            let by = operator(t).await?;
            let aoi = t.shop.user("MARK-NAME");
            let text = aoi.sends_text("MARK-TEXT").await?;
            let photo = aoi.sends_image(pictures::photo(7, 800, 600)).await?;
            let follow = aoi.follows().await?;
            let crew = t.shop.group("Crew", &[&aoi]);
            let there = crew.member(&aoi).sends_text("MARK-TEXT in a group").await?;
            t.run_jobs().await?;
            if cause == "retention" {
                rule(t, by, "any", 30, false).await?;
            }
            t.service.ledger_signer.append_and_sign().await?;
            let name = t.database.get_database().unwrap().to_owned();
            let backup = backup(t, &name).await?;
            let objects = t.home.path().join("objects");
            let aside = t.home.path().join("aside");
            copy(&objects, &aside)?;
            // The service's connections were cut; these two calls let it notice that.
            let _ = aoi.sends_text("another").await;
            let _ = aoi.follows().await;

            match cause {
                "retention" => t.clock.advance(DAY * 31),
                "operator" => {
                    assert_eq!(order(t, by, &photo).await?, Some(Outcome::Erased));
                    for event in [&text, &there] {
                        assert_eq!(order(t, by, event).await?, Some(Outcome::Erased));
                    }
                }
                _ => drop(wish(t, by, aoi.id(), RequestKind::Erasure).await?),
            }
            for _ in 0..2 {
                settle(t).await?;
            }
            assert_eq!(t.traces("MARK-TEXT").await?, [""; 0], "{cause}");
            let erased = t.count("select count(*) from erasure").await?;
            let before = told(t).await?;
            sound(t).await?;

            // Restores the database and the objects from the backup; the keyring stays as it is now.
            fs::remove_dir_all(&objects)?;
            fs::rename(&aside, &objects)?;
            let restored = t.serve_on(&backup).await?;
            assert_eq!(i64::try_from(restored.replayed)?, erased, "{cause}");
            std::mem::replace(&mut t.service, restored).stop().await;
            t.shop.webhook_to(&t.service.webhook_url("shop"));
            assert_eq!(
                t.count("select count(*) from message where kind in ('text', 'image')").await?,
                0,
                "{cause}: before anything else is done"
            );
            for event in [&text, &photo, &there, &follow] {
                t.shop.redeliver(event).await;
            }
            for _ in 0..2 {
                t.clock.advance(Duration::from_secs(61));
                t.run_jobs().await?;
            }
            assert_eq!(t.count("select count(*) from message").await?, 0, "{cause}");
            assert_eq!(t.traces("MARK-TEXT").await?, [""; 0], "{cause}");
            let photos = "select count(*) from object where attachment_id is not null";
            assert_eq!(t.count(photos).await?, 0, "{cause}");
            if cause == "subject" {
                let known = "select (select count(*) from contact where profile is not null or follows is not null)
                    + (select count(*) from member)";
                assert_eq!(t.count(known).await?, 0, "what happened before is no reason to know them again");
                assert!(t.objects()?.is_empty(), "the picture too");
            }
            assert_eq!(t.count("select count(*) from erasure").await?, erased, "{cause}");
            let done = "select count(*) from erasure where objects_gone_at is not null and keys_gone_at is not null";
            assert_eq!(t.count(done).await?, erased, "{cause}");
            let causes: Vec<String> = sqlx::query_scalar("select distinct cause from erasure")
                .fetch_all(t.pool())
                .await?;
            assert_eq!(causes, [cause]);

            // The ledger only grows, and no erasure gets a second `Requested` record.
            let after = told(t).await?;
            assert_eq!(after[..before.len()], before);
            let new: BTreeSet<_> = after[before.len()..].iter().map(|(_, kind)| format!("{kind:?}")).collect();
            assert!(!new.contains("Requested"), "{new:?}");
            sound(t).await?;
            Ok(())
        })
        .await;
    }
}
