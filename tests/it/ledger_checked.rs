//! `erasures verify` and `export` while a service runs, and on a ledger that lacks records.

use std::time::Duration;

use line_chat_archive::{
    app::{self, database::Purpose, erasures::Period},
    clock::Clock,
};
use sqlx::{ConnectOptions, Executor};

use crate::{
    causes::settle,
    harness::{T, run},
    ledger::{storage, verified},
};

/// Unsends `count` messages, and then seals their records.
async fn unsends(t: &T, count: usize) -> anyhow::Result<()> {
    let aoi = t.shop.user("Aoi");
    for n in 0..count {
        let text = aoi.sends_text(&format!("text {n}")).await?;
        aoi.unsends(&text).await?;
    }
    t.service.ledger_signer.append_and_sign().await?;
    Ok(())
}

/// A change that only the owner of the database can make.
async fn forced(t: &T, change: &'static str) -> anyhow::Result<()> {
    let mut owner = t.database.connect().await?;
    let mut tx = sqlx::Connection::begin(&mut owner).await?;
    tx.execute("alter table ledger disable trigger all").await?;
    tx.execute(change).await?;
    tx.execute("alter table ledger enable trigger all").await?;
    tx.commit().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_grows_while_it_is_checked_is_not_called_tampered() {
    run(async |t| {
        unsends(t, 1).await?;
        let ledger_signer = t.service.ledger_signer.clone();
        let pool = t.pool().clone();
        let growing = tokio::spawn(async move {
            loop {
                sqlx::query("insert into ledger_pending (record, created_at) values ('{}', now())")
                    .execute(&pool)
                    .await
                    .unwrap();
                ledger_signer.append_and_sign().await.unwrap();
            }
        });
        let mut says = vec![];
        for _ in 0..40 {
            says.push(verified(t, None).await?);
        }
        growing.abort();
        let _ = growing.await;
        says.retain(|line| line.starts_with("TAMPERED"));
        assert_eq!(says, [""; 0]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn records_that_wait_for_their_signature_are_told_before_the_verdict() {
    run(async |t| {
        // The command uses the machine's clock.
        t.clock
            .advance((Clock::system().now() - t.clock.now()).to_std()?);
        let aoi = t.shop.user("Aoi");
        let text = aoi.sends_text("text").await?;
        aoi.unsends(&text).await?;
        let waiting = t.count("select count(*) from ledger_pending").await?;
        assert!(waiting > 0);
        let lines = std::cell::RefCell::new(vec![]);
        let say = |line: &str| lines.borrow_mut().push(line.to_owned());
        app::erasures::verify(&storage(t), None, None, &say).await?;
        let lines = lines.take();
        assert_eq!(lines.len(), 2, "{lines:?}");
        let begin = format!("{waiting} record");
        assert!(lines[0].starts_with(&begin), "{lines:?}");
        assert!(lines[0].contains(" signature"), "{lines:?}");
        assert_eq!(lines[1], "sound: 0 of 0 records are as they were signed");

        t.service.ledger_signer.append_and_sign().await?;
        let says = verified(t, None).await?;
        let begin = format!("sound: {waiting} of");
        assert!(says.starts_with(&begin), "{says}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_record_that_is_missing_in_the_middle_is_named() {
    run(async |t| {
        unsends(t, 4).await?;
        forced(t, "delete from ledger where seq = 3").await?;
        let says = verified(t, None).await?;
        assert!(says.starts_with("TAMPERED: record 3"), "{says}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn another_secret_key_is_told_from_a_ledger_that_was_tampered_with() {
    run(async |t| {
        unsends(t, 2).await?;
        let storage = storage(t);
        app::keys::open(&storage, &mut t.owner().await?, Purpose::Make).await?;
        let says = verified(t, None).await?;
        assert!(says.contains("are as they were signed"), "{says}");
        let ours = app::keys::secret_path(&storage);
        let kept = ours.with_extension("kept");
        std::fs::rename(&ours, &kept)?;
        line_chat_archive::seal::SecretKey::make(&ours, None)?;
        let out = t.home.path().join("export");
        let exported = app::erasures::export(&storage, &out, Period::default(), None, &|_| ());
        for said in [verified(t, None).await.map(drop), exported.await] {
            let said = format!("{:#}", said.unwrap_err());
            for words in ["is not the key that signed this ledger", "SECRET_KEY_FILE"] {
                assert!(said.contains(words), "{said}");
            }
            for blame in ["forged", "TAMPERED", "broken", "damaged", "differ"] {
                assert!(!said.contains(blame), "{said}");
            }
        }
        assert!(!out.exists());

        // The secret key is right, but the database says otherwise: the signed copy of the ledger shows it.
        std::fs::rename(&kept, &ours)?;
        forced(t, "update installation set secret_check = sha256('other')").await?;
        let says = verified(t, None).await?;
        assert!(says.starts_with("TAMPERED: a copy is signed"), "{says}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_leaf_that_is_none_is_named() {
    run(async |t| {
        unsends(t, 4).await?;
        forced(t, "update ledger set leaf = '' where seq = 2").await?;
        let says = verified(t, None).await?;
        assert!(says.starts_with("TAMPERED: record 2"), "{says}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_ledger_whose_tail_is_cut_is_not_exported() {
    run(async |t| {
        unsends(t, 4).await?;
        forced(t, "delete from ledger where seq >= 6").await?;
        let home = tempfile::TempDir::new()?;
        let out = home.path().join("export");
        let storage = storage(t);
        let export = app::erasures::export(&storage, &out, Period::default(), None, &|_| ());
        let refused = tokio::time::timeout(Duration::from_secs(20), export).await?;
        assert!(refused.is_err() && !out.exists());
        Ok(())
    })
    .await;
}

/// Changes that the owner of the database can make to the record `$`, with its triggers disabled.
const MUTATIONS: [(&str, &str); 8] = [
    ("a bit of the record", "update ledger set record = set_byte(record, 9, get_byte(record, 9) # 1) where seq = $"),
    ("a bit of the leaf", "update ledger set leaf = set_byte(leaf, 9, get_byte(leaf, 9) # 1) where seq = $"),
    (
        "another record with its own leaf",
        "update ledger set record = r.new, leaf = sha256('\\x00'::bytea || r.new)
         from (select set_byte(record, 50, get_byte(record, 50) # 1) as new from ledger where seq = $) r where seq = $",
    ),
    ("taken out", "delete from ledger where seq = $"),
    (
        "taken out, the rest moved up",
        "delete from ledger where seq = $; update ledger set seq = seq + 1000 where seq > $;
         update ledger set seq = seq - 1001 where seq > 1000",
    ),
    ("the tail cut off", "delete from ledger where seq >= $"),
    (
        "put in once more, the rest moved down",
        "update ledger set seq = seq + 1000 where seq > $;
         insert into ledger select seq + 1, record, leaf, erasure_id, sealed_at from ledger where seq = $;
         update ledger set seq = seq - 999 where seq > 1000",
    ),
    (
        "changed places with the next one",
        "update ledger set seq = 5000 where seq = $; update ledger set seq = $ where seq = $ + 1;
         update ledger set seq = $ + 1 where seq = 5000",
    ),
];

#[tokio::test]
async fn whatever_the_owner_does_to_the_ledger_in_the_database_is_found() {
    run(async |t| {
        unsends(t, 4).await?;
        settle(t).await?;
        t.service.ledger_signer.append_and_sign().await?;
        let mut owner = t.database.connect().await?;
        let script = async |owner: &mut sqlx::PgConnection, change: String| {
            let script = format!(
                "begin; alter table ledger disable trigger all; alter table checkpoint disable trigger all;
                 {change}; alter table ledger enable trigger all; alter table checkpoint enable trigger all; commit"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(owner).await.map(drop)
        };
        sqlx::raw_sql("create table kept as table ledger; create table kept_heads as table checkpoint")
            .execute(&mut owner)
            .await?;
        let restore = "delete from ledger; insert into ledger select * from kept;
            delete from checkpoint; insert into checkpoint select * from kept_heads";
        let size = t.count("select count(*) from ledger").await?;
        // The test's clock stands still, so the result is sound, but of long ago.
        let sound = verified(t, None).await?;
        assert!(size >= 8 && sound.contains("are as they were signed"), "{size} {sound}");
        for seq in 0..size {
            for (name, change) in MUTATIONS {
                if name == "changed places with the next one" && seq + 1 == size {
                    continue;
                }
                script(&mut owner, change.replace('$', &seq.to_string())).await?;
                let says = verified(t, None).await?;
                assert!(says.starts_with("TAMPERED"), "{name} at {seq}: {says}");
                script(&mut owner, restore.to_owned()).await?;
            }
        }
        for (name, change) in [
            ("an older head put back, with its tree",
                "delete from checkpoint where size = (select max(size) from checkpoint);
                 delete from ledger where seq >= (select max(size) from checkpoint)",
            ),
            ("another root", "update checkpoint set root = sha256(root) where size = (select max(size) from checkpoint)"),
            (
                "another signature",
                "update checkpoint set note = left(note, -9) || translate(right(note, 9),
                     'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789',
                     'bcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789a')",
            ),
            (
                "an old head under a new size",
                "update checkpoint c set note = o.note from (select note from checkpoint order by size limit 1) o
                 where size = (select max(size) from checkpoint)",
            ),
        ] {
            script(&mut owner, change.to_owned()).await?;
            let says = verified(t, None).await?;
            assert!(says.starts_with("TAMPERED"), "{name}: {says}");
            script(&mut owner, restore.to_owned()).await?;
        }
        assert_eq!(verified(t, None).await?, sound);
        Ok(())
    })
    .await;
}
