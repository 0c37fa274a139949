//! The ledger in the database: without gaps however many processes write and whichever are killed, not changeable, and
//! replayed after a restore.

use std::{fs, time::Duration};

use anyhow::Context;
use line_chat_archive::{
    app::{self, database},
    clock::Clock,
    erasure::copies::Copies,
    ledger::{
        Hash, Kind, Record, Verifier,
        tree::{leaf_hash, root_of},
    },
    objects::Objects,
    records::ledger,
};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    harness::{T, run},
    support::{keys, until::until},
};

const MINUTE: Duration = Duration::from_secs(61);

fn record(n: usize) -> Record {
    Record {
        v: 1,
        kind: Kind::Requested,
        erasure: Uuid::now_v7(),
        channel: Some("shop".to_owned()),
        message_id: Some(n.to_string()),
        event: None,
        conversation: None,
        cause: Some("unsend".to_owned()),
        trigger: None,
        asked_at: Some(0),
        at: 0,
        rows: Some(1),
        objects: Some(0),
        keys: Some(1),
        software: "test".to_owned(),
    }
}

/// Checks that the records have no gaps and no duplicates, under a signed root. Returns the records.
pub async fn sound(t: &T) -> anyhow::Result<Vec<Record>> {
    let mut db = t.pool().acquire().await?;
    let rows: Vec<(i64, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("select seq, record, leaf from ledger order by seq")
            .fetch_all(&mut *db)
            .await?;
    let mut leaves: Vec<Hash> = vec![];
    for (nth, (seq, record, leaf)) in rows.iter().enumerate() {
        assert_eq!(*seq, i64::try_from(nth)?, "no gap");
        assert_eq!(leaf_hash(record).as_slice(), leaf);
        leaves.push(leaf_hash(record));
    }
    let signer = app::keys::signer(&keys::secret(t.home.path()));
    let verifier = Verifier::from_vkey(&signer.vkey())?;
    let mut signed = 0;
    for checkpoint in ledger::checkpoints(&mut db).await? {
        let head = verifier.open(&checkpoint.note)?;
        let size = usize::try_from(head.size)?;
        assert!(size <= leaves.len() && size >= signed);
        assert_eq!(head.root, root_of(&leaves[..size]), "no fork at {size}");
        signed = size;
    }
    assert_eq!(signed, leaves.len(), "all is signed");
    let pending = sqlx::query_scalar::<_, i64>("select count(*) from ledger_pending");
    assert_eq!(pending.fetch_one(&mut *db).await?, 0);
    Ok(rows
        .iter()
        .map(|(_, record, _)| Record::parse(record).unwrap())
        .collect())
}

#[tokio::test]
async fn an_unsend_is_told_when_asked_when_purged_and_when_its_keys_are_gone() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let photo = aoi.sends_image(vec![7; 1000]).await?;
        t.run_jobs().await?;
        aoi.unsends(&photo).await?;
        t.clock.advance(MINUTE);
        t.run_jobs().await?;
        t.clock.advance(MINUTE);
        t.run_jobs().await?;
        t.service.ledger_signer.append_and_sign().await?;
        let records = sound(t).await?;
        let mut kinds: Vec<Kind> = records.iter().map(|record| record.kind).collect();
        kinds.sort_by_key(|kind| format!("{kind:?}"));
        assert_eq!(kinds, [Kind::KeysDestroyed, Kind::Purged, Kind::Requested]);
        let asked = records
            .iter()
            .find(|one| one.kind == Kind::Requested)
            .unwrap();
        assert_eq!(asked.message_id.as_deref(), Some(photo.message_id()));
        assert_eq!(asked.channel.as_deref(), Some("shop"));
        assert_eq!(asked.cause.as_deref(), Some("unsend"));
        assert!(asked.trigger.is_some() && asked.rows > Some(2) && asked.objects > Some(0));
        Ok(())
    })
    .await;
}

/// A disk has cut the file of a copy. The other copy is used, and the damaged one is named; with no sound copy nothing starts.
#[tokio::test]
async fn a_damaged_copy_of_the_ledger_is_named_and_the_other_one_is_used() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let text = aoi.sends_text("secret").await?;
        aoi.unsends(&text).await?;
        t.service.ledger_signer.append_and_sign().await?;
        let files =
            ["objects", "copies"].map(|copy| t.home.path().join(copy).join("ledger/checkpoint"));
        let whole = fs::read(&files[0])?;
        for file in &files {
            fs::write(file, &whole[..20])?;
            t.replica().await?.stop().await;
            fs::write(file, &whole)?;
        }
        for file in &files {
            fs::write(file, "")?;
        }
        let refused = t.replica().await.err().context("it started")?;
        let refused = format!("{refused:#}");
        assert!(
            refused.contains("copies is damaged") || refused.contains("copies/ is damaged"),
            "{refused}"
        );
        for file in &files {
            fs::write(file, &whole)?;
        }
        Ok(())
    })
    .await;
}

/// The newest checkpoint is whole, but the records beside it are not. The records of the other copy are used, for an older
/// database too; `erasures verify` names the damaged copy.
#[tokio::test]
async fn damaged_records_of_a_copy_are_named_and_those_of_the_other_one_are_used() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        t.service.ledger_signer.append_and_sign().await?;
        let name = t.database.get_database().context("a name")?.to_owned();
        let older = backup(t, &name).await?;
        let _ = aoi.sends_text("its connections were cut").await;
        let text = aoi.sends_text("secret").await?;
        aoi.unsends(&text).await?;
        t.service.ledger_signer.append_and_sign().await?;
        type Damage = fn(&std::path::Path);
        let damages: [(&str, Damage); 4] = [
            ("cut", |file| {
                fs::write(file, &fs::read(file).unwrap()[..40]).unwrap()
            }),
            ("altered", |file| {
                let mut bytes = fs::read(file).unwrap();
                bytes[40] ^= 1;
                fs::write(file, bytes).unwrap();
            }),
            ("missing", |file| fs::remove_file(file).unwrap()),
            ("a directory", |file| {
                fs::remove_file(file).unwrap();
                fs::create_dir(file).unwrap();
            }),
        ];
        let mut missing = 1;
        for (copy, is_first) in [("objects", true), ("copies", false)] {
            for part in ["records-000000000.ndjson", "checkpoint"] {
                for (what, damage) in &damages {
                    if part == "checkpoint" && *what == "missing" {
                        continue;
                    }
                    let file = t.home.path().join(copy).join("ledger").join(part);
                    let whole = fs::read(&file)?;
                    damage(&file);
                    let refused = verified_with_copies(t).await.err();
                    let refused = refused.with_context(|| format!("{copy} {part} {what}"))?;
                    assert!(
                        format!("{refused:#}").contains(copy),
                        "{copy} {part} {what}: {refused:#}"
                    );
                    t.replica().await?.stop().await;
                    if is_first && part != "checkpoint" {
                        let restored = t.serve_on(&older).await?;
                        assert_eq!(restored.replayed, missing, "{what}");
                        missing = 0;
                        restored.stop().await;
                    }
                    let _ = fs::remove_dir(&file);
                    fs::write(&file, &whole)?;
                }
            }
        }
        verified_with_copies(t).await?;
        Ok(())
    })
    .await;
}

async fn verified_with_copies(t: &T) -> anyhow::Result<()> {
    let mut storage = storage(t);
    let copy = url::Url::from_directory_path(t.home.path().join("copies"));
    storage.ledger_copies = vec![copy.ok().context("a path")?];
    app::erasures::verify(&storage, None, None, &|_| ()).await?;
    Ok(())
}

/// A database that is restored while the service runs shows erased messages until the service ends and is started again.
#[tokio::test]
async fn a_service_whose_database_is_restored_ends_and_the_next_one_repeats_the_erasures() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        for n in 0..2 {
            let text = aoi.sends_text(&format!("secret {n}")).await?;
            aoi.unsends(&text).await?;
            t.service.ledger_signer.append_and_sign().await?;
        }
        let mut running = t.replica().await?;
        running.work();
        // It is not the service's restart that has to help, but one after a change: the first pass has to find all well.
        let size = "select max(size) from checkpoint";
        let before = t.count(size).await?;
        let text = aoi.sends_text("secret").await?;
        aoi.unsends(&text).await?;
        let is_copied = |copy: &str| {
            let checkpoint = t.home.path().join(copy).join("ledger/checkpoint");
            let note = fs::read_to_string(checkpoint).unwrap_or_default();
            let size = note.lines().nth(1).and_then(|size| size.parse::<i64>().ok());
            size.is_some_and(|size| size > before)
        };
        // An erasure that is in no copy yet cannot be repeated.
        until(async || is_copied("objects") && is_copied("copies")).await;
        let mut owner = t.database.connect().await?;
        owner
            .execute(
                "begin; alter table ledger disable trigger all; alter table checkpoint disable trigger all;
                 create temporary table earlier as select size from checkpoint order by size desc offset 1 limit 1;
                 delete from ledger where seq >= (select size from earlier);
                 delete from checkpoint where size > (select size from earlier);
                 alter table ledger enable trigger all; alter table checkpoint enable trigger all; commit",
            )
            .await?;
        let limit = Duration::from_secs(60);
        assert_eq!(tokio::time::timeout(limit, running.broken()).await?, "the ledger signer");
        running.stop().await;
        owner.close().await?;
        let next = t.replica().await?;
        assert_eq!(next.replayed, 1);
        next.stop().await;
        Ok(())
    })
    .await;
}

/// The database is restored between the checkpoint that the signer has read and the records that it copies.
#[tokio::test]
async fn a_database_that_is_restored_while_it_is_copied_spoils_no_copy() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let text = aoi.sends_text("secret").await?;
        aoi.unsends(&text).await?;
        t.service.ledger_signer.append_and_sign().await?;
        let place = t.home.path().join("aside");
        let place = url::Url::from_directory_path(place)
            .ok()
            .context("a path")?;
        let aside = Objects::open(&place).await?;
        let signer = app::keys::signer(&keys::secret(t.home.path()));
        let copies = Copies::new(aside, vec![], Verifier::from_vkey(&signer.vkey())?);
        let mut owner = t.database.connect().await?;
        let mut tx = owner.begin().await?;
        tx.execute("alter table ledger disable trigger all; delete from ledger where seq > 0")
            .await?;
        let copied = copies.bring_up_to_date(&mut tx).await;
        assert!(copied.is_err_and(|error| error.is_contradiction()));
        tx.rollback().await?;
        assert!(
            copies.sound().await?.0.is_empty(),
            "no checkpoint without its records"
        );
        copies.bring_up_to_date(&mut owner).await?;
        copies.verify().await?;
        owner.close().await?;
        Ok(())
    })
    .await;
}

/// The copies were made at different times, as after a copy of the objects while the service ran. The restored database
/// lacks the checkpoints of all of them.
#[tokio::test]
async fn a_restored_database_goes_on_from_copies_of_different_sizes() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let unsends = async |t: &T| {
            let text = aoi.sends_text("secret").await?;
            aoi.unsends(&text).await?;
            anyhow::Ok(t.service.ledger_signer.append_and_sign().await?)
        };
        unsends(t).await?;
        let name = t.database.get_database().context("a name")?.to_owned();
        let older = backup(t, &name).await?;
        // Its connections were cut: each lane notices that with one call.
        let _ = aoi.sends_text("another").await;
        let _ = aoi.follows().await;
        unsends(t).await?;
        let (copy_of, aside) = (
            t.home.path().join("copies/ledger"),
            t.home.path().join("aside"),
        );
        copy(&copy_of, &aside)?;
        unsends(t).await?;
        fs::remove_dir_all(&copy_of)?;
        fs::rename(&aside, &copy_of)?;
        for replayed in [2, 0] {
            let restored = t.serve_on(&older).await?;
            assert_eq!(restored.replayed, replayed);
            restored.ledger_signer.append_and_sign().await?;
            restored.stop().await;
        }
        Ok(())
    })
    .await;
}

/// While another replica copies the ledger, the signer signs, and copies once that one is done.
#[tokio::test]
async fn one_replica_at_a_time_copies_the_ledger() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let mut other = t.owner().await?;
        assert!(ledger::try_lock_copies(&mut other).await?);
        let copied = || fs::read_to_string(t.home.path().join("objects/ledger/checkpoint"));
        let before = copied().unwrap_or_default();
        let text = aoi.sends_text("secret").await?;
        aoi.unsends(&text).await?;
        assert!(t.service.ledger_signer.append_and_sign().await? > 0);
        assert_eq!(copied().unwrap_or_default(), before, "the other one writes");
        other.close().await?;
        t.service.ledger_signer.append_and_sign().await?;
        assert_ne!(copied()?, before);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn sixty_four_writers_and_two_signers_make_one_ledger_without_gaps() {
    run(async |t| {
        let other = t.replica().await?;
        let mut writers = JoinSet::new();
        for writer in 0..64 {
            let options = t.database.clone();
            writers.spawn(async move {
                let mut db = options.connect().await.unwrap();
                for n in 0..20 {
                    let mut tx = db.begin().await.unwrap();
                    let records = [record(writer * 100 + n)];
                    ledger::pend(&mut tx, &records, crate::harness::start())
                        .await
                        .unwrap();
                    match n % 5 {
                        4 => tx.rollback().await.unwrap(),
                        _ => tx.commit().await.unwrap(),
                    }
                }
                db.close().await.unwrap();
            });
        }
        let signers =
            [t.service.ledger_signer.clone(), other.ledger_signer.clone()].map(|ledger_signer| {
                tokio::spawn(async move {
                    for _ in 0..200 {
                        ledger_signer.append_and_sign().await.unwrap();
                        tokio::task::yield_now().await;
                    }
                })
            });
        while let Some(done) = writers.join_next().await {
            done?;
        }
        for ledger_signer in signers {
            ledger_signer.await?;
        }
        t.service.ledger_signer.append_and_sign().await?;
        let mut ids: Vec<String> = sound(t)
            .await?
            .into_iter()
            .filter_map(|record| record.message_id)
            .collect();
        assert_eq!(ids.len(), 64 * 16);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 64 * 16, "each once");
        other.stop().await;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_signer_killed_fifty_times_leaves_a_sound_ledger() {
    run(async |t| {
        let mut db = t.database.connect().await?;
        for round in 0..50_u32 {
            let records: Vec<Record> = (0..7).map(record).collect();
            ledger::pend(&mut db, &records, t.clock.now()).await?;
            let ledger_signer = t.service.ledger_signer.clone();
            let signing = tokio::spawn(async move { ledger_signer.append_and_sign().await });
            for _ in 0..round * 3 {
                tokio::task::yield_now().await;
            }
            match round % 2 {
                0 => signing.abort(),
                _ => {
                    db.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity
                         where datname = current_database() and pid <> pg_backend_pid() and query like '%ledger%'",
                    )
                    .await?;
                }
            }
            let _ = signing.await;
        }
        db.close().await?;
        t.service.ledger_signer.append_and_sign().await?;
        assert_eq!(sound(t).await?.len(), 350);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_service_may_not_change_the_ledger_and_nor_may_the_owner() {
    run(async |t| {
        let mut owner = t.database.connect().await?;
        ledger::pend(&mut owner, &[record(1)], t.clock.now()).await?;
        t.service.ledger_signer.append_and_sign().await?;
        let role: String = sqlx::query_scalar("select current_user::text")
            .fetch_one(t.pool())
            .await?;
        assert_eq!(role, database::ROLE, "the service is not the owner");
        for change in [
            "update ledger set record = ''",
            "delete from ledger",
            "truncate ledger",
            "update checkpoint set note = ''",
            "delete from checkpoint",
            "drop table ledger",
            "alter table ledger disable trigger all",
        ] {
            let refused = t.pool().execute(change).await.unwrap_err();
            let code = refused.as_database_error().and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("42501"), "{change}");
        }
        for change in [
            "update ledger set record = ''",
            "delete from ledger",
            "truncate ledger",
        ] {
            assert!(owner.execute(change).await.is_err(), "{change}");
        }
        owner.close().await?;
        Ok(())
    })
    .await;
}

/// Restores a backup from before the unsends: the service erases the messages unsent since before it opens its port.
#[tokio::test]
async fn a_restored_database_replays_the_erasures_it_has_missed_before_it_opens_its_port() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let mut texts = vec![];
        for n in 0..8 {
            texts.push(aoi.sends_text(&format!("MARK-RESTORE-{n}")).await?);
        }
        let photo = aoi.sends_image(vec![7; 3000]).await?;
        t.run_jobs().await?;
        aoi.unsends(&texts[7]).await?;
        t.service.ledger_signer.append_and_sign().await?;
        let name = t.database.get_database().unwrap().to_owned();
        let backup = backup(t, &name).await?;
        let objects = t.home.path().join("objects");
        let aside = t.home.path().join("aside");
        copy(&objects, &aside)?;

        // The service's connection was cut; this call lets it notice that.
        let _ = aoi.unsends(&texts[7]).await;
        for text in &texts[..5] {
            aoi.unsends(text).await?;
        }
        t.service.ledger_signer.append_and_sign().await?;
        aoi.unsends(&photo).await?;
        t.clock.advance(MINUTE);
        t.run_jobs().await?;
        t.clock.advance(MINUTE);
        t.run_jobs().await?;
        t.service.ledger_signer.append_and_sign().await?;
        let before = sound(t).await?.len();

        // Restores the database and the objects from the backup; the keyring stays as it is now.
        std::fs::remove_dir_all(&objects)?;
        std::fs::rename(&aside, &objects)?;
        let restored = t.serve_on(&backup).await?;
        assert_eq!(restored.replayed, 6);
        std::mem::replace(&mut t.service, restored).stop().await;
        t.shop.webhook_to(&t.service.webhook_url("shop"));
        for text in &texts[..5] {
            for _ in 0..180 {
                t.shop.redeliver(text).await;
            }
        }
        for _ in 0..100 {
            t.shop.redeliver(&photo).await;
        }
        for _ in 0..2 {
            t.clock.advance(MINUTE);
            t.run_jobs().await?;
        }
        assert!(t.objects()?.is_empty(), "the restored photo is gone again");
        assert_eq!(t.count("select count(*) from message").await?, 2);
        for n in [0, 1, 2, 3, 4, 7] {
            assert_eq!(t.traces(&format!("MARK-RESTORE-{n}")).await?, [""; 0]);
        }
        // Messages that shared a key with the unsent ones cannot be decrypted from this backup: see docs/backups.md.
        assert_eq!(t.traces("MARK-RESTORE-5").await?, [""; 0]);
        t.service.ledger_signer.append_and_sign().await?;
        assert!(sound(t).await?.len() > before, "the same ledger goes on");
        let again = t.replica().await?;
        assert_eq!(again.replayed, 0);
        again.stop().await;
        Ok(())
    })
    .await;
}

pub fn copy(from: &std::path::Path, to: &std::path::Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name()))?,
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name()))?),
        }
    }
    Ok(())
}

/// Copies the current database.
pub async fn backup(t: &T, name: &str) -> anyhow::Result<sqlx::postgres::PgConnectOptions> {
    let mut admin = t.database.clone().database("postgres").connect().await?;
    let copy = format!("{name}_backup");
    // PostgreSQL copies a database only while nobody is connected to it.
    let cut = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and pid <> pg_backend_pid()"
    );
    let make = format!("create database {copy} template {name}");
    for _ in 0..50 {
        admin.execute(sqlx::AssertSqlSafe(cut.clone())).await?;
        if admin
            .execute(sqlx::AssertSqlSafe(make.clone()))
            .await
            .is_ok()
        {
            admin.close().await?;
            return Ok(t.database.clone().database(&copy));
        }
    }
    anyhow::bail!("somebody was always connected")
}

#[tokio::test]
async fn a_ledger_that_contradicts_its_copy_keeps_the_service_from_starting() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        for n in 0..3 {
            let text = aoi.sends_text(&format!("text {n}")).await?;
            aoi.unsends(&text).await?;
        }
        t.service.ledger_signer.append_and_sign().await?;
        let mut owner = t.database.connect().await?;
        owner
            .execute(
                "alter table ledger disable trigger all;
                 update ledger set leaf = decode(repeat('00', 32), 'hex') where seq = 1;
                 alter table ledger enable trigger all",
            )
            .await?;
        owner.close().await?;
        let refused = t.replica().await.err().unwrap().to_string();
        assert!(refused.contains("contradicts"), "{refused}");
        assert!(
            t.service.ledger_signer.append_and_sign().await.is_ok(),
            "it knows what it has sealed"
        );
        Ok(())
    })
    .await;
}

/// The options of `erasures verify` and `export` for this test's database and bucket.
pub fn storage(t: &T) -> line_chat_archive::config::StorageConfig {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        storage: line_chat_archive::config::StorageConfig,
    }
    let bucket = t.home.path();
    let objects = url::Url::from_directory_path(bucket.join("objects")).unwrap();
    let mut database = url::Url::parse("postgres://localhost").unwrap();
    database.set_path(t.database.get_database().unwrap());
    database
        .query_pairs_mut()
        .append_pair("host", &t.database.get_socket().unwrap().to_string_lossy())
        .append_pair("user", t.database.get_username());
    let secret = bucket.join("secret.key");
    <Flags as clap::Parser>::parse_from([
        "test",
        "--database-url",
        database.as_str(),
        "--objects-url",
        objects.as_str(),
        "--secret-key-file",
        secret.to_str().unwrap(),
        "--data-dir",
        bucket.to_str().unwrap(),
    ])
    .storage
}

pub async fn verified(t: &T, export: Option<&std::path::Path>) -> anyhow::Result<String> {
    let said = std::cell::RefCell::new(String::new());
    let say = |line: &str| *said.borrow_mut() = line.to_owned();
    app::erasures::verify(&storage(t), export, None, &say).await?;
    Ok(said.into_inner())
}

#[tokio::test]
async fn what_is_exported_is_checked_elsewhere_and_what_is_altered_is_named() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        for n in 0..4 {
            let text = aoi.sends_text(&format!("text {n}")).await?;
            aoi.unsends(&text).await?;
        }
        // The checkpoint has to be signed at the machine's time, because the command uses the machine's clock.
        t.clock.advance((Clock::system().now() - t.clock.now()).to_std()?);
        t.service.ledger_signer.append_and_sign().await?;
        assert!(verified(t, None).await?.starts_with("sound: 8 of 8"));
        let home = tempfile::TempDir::new()?;
        let (out, no_period) = (home.path().join("export"), app::erasures::Period::default());
        app::erasures::export(&storage(t), &out, no_period, None, &|_| ()).await?;
        assert!(verified(t, Some(&out)).await?.starts_with("sound: 8 of 8"));
        let from = chrono::NaiveDate::from_ymd_opt(2999, 1, 1);
        let (none, later) = (home.path().join("none"), app::erasures::Period { from, to: None });
        app::erasures::export(&storage(t), &none, later, None, &|_| ()).await?;
        let says = verified(t, Some(&none)).await?;
        assert!(says.starts_with("sound: the signature is valid; the ledger has 8 records"), "{says}");
        let records = std::fs::read_to_string(out.join("records.ndjson"))?;
        std::fs::write(out.join("records.ndjson"), records.replace("unsend", "unsand"))?;
        assert!(verified(t, Some(&out)).await?.starts_with("TAMPERED: record 0"));

        let mut owner = t.database.connect().await?;
        for (change, found) in [
            (
                "update ledger set record = convert_to(replace(convert_from(record, 'UTF8'), 'unsend', 'retent'), 'UTF8') where seq = 5",
                "TAMPERED: record 5",
            ),
            ("delete from ledger where seq = 7", "TAMPERED: record 7"),
            ("delete from checkpoint", "TAMPERED"),
        ] {
            let mut tx = owner.begin().await?;
            tx.execute("alter table ledger disable trigger all; alter table checkpoint disable trigger all")
                .await?;
            tx.execute(change).await?;
            tx.execute("alter table ledger enable trigger all; alter table checkpoint enable trigger all")
                .await?;
            tx.commit().await?;
            let says = verified(t, None).await?;
            assert!(says.starts_with(found), "{change}: {says}");
        }
        owner.close().await?;
        Ok(())
    })
    .await;
}
