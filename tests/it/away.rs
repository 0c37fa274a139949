//! Disks that are taken away and given back: nothing is written into the bare mount point, and nothing is said to be
//! gone.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use futures_util::{StreamExt, stream};
use line_chat_archive::{
    erasure::keys::Keys,
    fake_line::Event,
    seal::{Cipher, Error, key_of},
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    harness::{T, run},
    support::keys,
};

/// Within this time a service works again once the disk is back.
const SOON: Duration = Duration::from_secs(20);

/// After this time every key in use is old enough to be closed.
const MINUTE: Duration = Duration::from_secs(61);

/// A directory of the archive on a disk of its own, which can be taken away: then a bare directory is in its place. As
/// root it is really mounted; else it is moved.
struct Disk {
    path: PathBuf,
    aside: PathBuf,
    is_mounted: bool,
}

impl Disk {
    /// Takes a directory of a running archive away.
    fn take(home: &Path, name: &str) -> Self {
        let (path, aside) = (home.join(name), home.join(format!("{name}-aside")));
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        Self {
            path,
            aside,
            is_mounted: false,
        }
    }

    /// Runs a program that only root may run; false if it failed.
    fn as_root(program: &str, arguments: &[&OsStr]) -> bool {
        let mut command = Command::new(program);
        command.args(arguments).stderr(Stdio::null());
        rustix::process::geteuid().is_root() && command.status().is_ok_and(|done| done.success())
    }

    /// Gives it back, and checks that nothing was written into the bare directory.
    fn give_back(&mut self) {
        let stray: Vec<_> = fs::read_dir(&self.path).unwrap().collect();
        assert!(stray.is_empty(), "{stray:?}");
        let (aside, path) = (self.aside.as_os_str(), self.path.as_os_str());
        self.is_mounted = Self::as_root("mount", &["--bind".as_ref(), aside, path]);
        if !self.is_mounted {
            self.move_back();
        }
    }

    /// Takes it away again.
    fn take_again(&mut self) {
        match self.is_mounted {
            true => self.unmount(),
            false => {
                fs::rename(&self.path, &self.aside).unwrap();
                fs::create_dir(&self.path).unwrap();
            }
        }
    }

    fn unmount(&mut self) {
        self.is_mounted = false;
        assert!(Self::as_root(
            "umount",
            &["-l".as_ref(), self.path.as_os_str()]
        ));
    }

    fn move_back(&self) {
        fs::remove_dir(&self.path).unwrap();
        fs::rename(&self.aside, &self.path).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            self.unmount();
            self.move_back();
        }
    }
}

/// Messages of so many people who never wrote before, and whether each was acknowledged.
async fn new_people_write(t: &T, from: usize, count: usize) -> Vec<(Event, bool)> {
    let events = (from..from + count).map(|n| t.shop.user(&format!("person {n}")));
    let events = events.map(|user| user.sends_text("hello").make());
    let sent = stream::iter(events).map(async |event| {
        let acknowledged = t.shop.deliver(std::slice::from_ref(&event)).await;
        (event, acknowledged.acknowledged())
    });
    sent.buffer_unordered(64).collect().await
}

async fn are_kept(t: &T, sent: &[(Event, bool)]) -> anyhow::Result<bool> {
    t.keyring.forget_found();
    let kept = t.documents().await?;
    Ok(sent
        .iter()
        .filter(|(_, acknowledged)| *acknowledged)
        .all(|(event, _)| kept.iter().any(|(_, id, _)| id == event.webhook_event_id())))
}

#[tokio::test]
async fn with_its_keyring_away_the_archive_acknowledges_no_more_than_it_can_read() {
    run(async |t| {
        let mut sent = new_people_write(t, 0, 20).await;
        let mut away = Disk::take(t.home.path(), "keyring");
        // More than there are spare keys, which are safe on the disk that is away.
        sent.extend(new_people_write(t, 20, 1300).await);
        let refused = sent.iter().filter(|(_, acknowledged)| !acknowledged);
        assert!(refused.count() > 0);
        assert_eq!(t.stranger().status("/readyz").await, 503);
        away.give_back();
        assert!(are_kept(t, &sent).await?);
        // Keys are made again after a second.
        let again = async {
            for person in 2000.. {
                let more = new_people_write(t, person, 1).await;
                if more[0].1 {
                    return more;
                }
            }
            vec![]
        };
        let more = timeout(SOON, again).await?;
        assert!(are_kept(t, &more).await?);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn while_the_keyring_is_away_no_key_is_said_to_be_destroyed() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let text = aoi.sends_text("secret").await?;
        aoi.sends_text("kept").await?;
        let mut away = Disk::take(t.home.path(), "keyring");
        aoi.unsends(&text).await?;
        t.clock.advance(MINUTE);
        let destroyed = "select count(*) from erasure where keys_gone_at is not null";
        // The jobs fail, and are tried again later.
        let _ = t.run_jobs().await;
        assert_eq!(t.count(destroyed).await?, 0);
        away.give_back();
        t.clock.advance(MINUTE);
        t.run_jobs().await?;
        assert_eq!(t.count(destroyed).await?, 1);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn while_the_objects_are_away_no_file_is_said_to_be_gone_and_none_is_written_beside_them() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let photo = aoi.sends_image(vec![7; 1000]).await?;
        t.run_jobs().await?;
        assert!(!t.objects()?.is_empty());
        let mut away = Disk::take(t.home.path(), "objects");
        aoi.unsends(&photo).await?;
        let later = aoi.sends_image(vec![8; 1000]).await?;
        t.clock.advance(MINUTE);
        let _ = t.run_jobs().await;
        let gone = "select count(*) from erasure where objects_gone_at is not null";
        assert_eq!(t.count(gone).await?, 0);
        away.give_back();
        t.clock.advance(Duration::from_secs(600));
        t.run_jobs().await?;
        assert_eq!(t.count(gone).await?, 1);
        let kept = t.opened_objects().await?;
        assert!(
            kept.iter().any(|bytes| *bytes == [8; 1000]),
            "{}",
            later.message_id()
        );
        assert!(kept.iter().all(|bytes| *bytes != [7; 1000]));
        Ok(())
    })
    .await;
}

/// The messages that were sent while disks were taken away and given back.
#[derive(Default)]
struct Sent {
    texts: Vec<(Event, bool)>,
    /// Messages that were unsent, each with the key that it was sealed under.
    unsent: Vec<(Event, Uuid)>,
}

/// People write and send photos, and the last message of the round before is unsent; meanwhile the jobs run, and at some
/// point `disks` are taken away.
async fn round(t: &T, n: usize, disks: &mut [&mut Disk], sent: &mut Sent) -> anyhow::Result<()> {
    let earlier = sent
        .texts
        .iter()
        .rev()
        .find(|(_, acknowledged)| *acknowledged);
    let earlier = earlier.map(|(event, _)| event.clone());
    if let Some(event) = &earlier {
        let sealed: Vec<u8> = sqlx::query_scalar(
            "select content from revision r join message m on m.id = r.message_id where m.message_id = $1",
        )
        .bind(event.message_id())
        .fetch_one(t.pool())
        .await?;
        let key = key_of(&sealed).context("a sealed document")?;
        sent.unsent.push((event.clone(), key));
    }
    let load = async {
        let mut texts = new_people_write(t, n * 10, 2).await;
        let person = t.shop.user(&format!("person {}", n * 10));
        let photo = person.sends_image(vec![7; 2000]).make();
        let _ = t.shop.deliver(&[photo]).await;
        if let Some(event) = &earlier {
            let unsend = person.unsends(event).make();
            while !t
                .shop
                .deliver(std::slice::from_ref(&unsend))
                .await
                .acknowledged()
            {}
            texts.retain(|(text, _)| text.message_id() != event.message_id());
        }
        texts.extend(new_people_write(t, n * 10 + 5, 2).await);
        texts
    };
    let jobs = async {
        for _ in 0..3 {
            // Jobs that need a disk that is away fail, and run again later.
            let _ = t.run_jobs().await;
            let _ = t.service.ledger_signer.append_and_sign().await;
            t.clock.advance(MINUTE);
        }
    };
    let taken = async {
        for _ in 0..n * 7 {
            tokio::task::yield_now().await;
        }
        disks.iter_mut().for_each(|disk| disk.take_again());
    };
    let (texts, (), ()) = tokio::join!(load, jobs, taken);
    sent.texts.retain(|(text, _)| {
        earlier
            .as_ref()
            .is_none_or(|event| event.message_id() != text.message_id())
    });
    sent.texts.extend(texts);
    let _ = t.run_jobs().await;
    disks.iter_mut().for_each(|disk| disk.give_back());
    Ok(())
}

/// Sixty times the keyring, the objects, both, or the copy of the ledger go and come back, each time at another point of the
/// work.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_times_a_disk_goes_and_comes_back_under_load() {
    run(async |t| {
        let home = t.home.path();
        let mut keyring = Disk::take(home, "keyring");
        let mut objects = Disk::take(home, "objects");
        let mut copies = Disk::take(home, "copies");
        keyring.give_back();
        objects.give_back();
        copies.give_back();
        let mut sent = Sent::default();
        for n in 0..60 {
            let mut disks = match n % 4 {
                0 => vec![&mut keyring],
                1 => vec![&mut objects],
                2 => vec![&mut copies],
                _ => vec![&mut keyring, &mut objects],
            };
            round(t, n, &mut disks, &mut sent).await?;
        }
        for _ in 0..12 {
            t.clock.advance(Duration::from_secs(600));
            t.run_jobs().await?;
        }
        t.service.ledger_signer.append_and_sign().await?;
        let signed: String = sqlx::query_scalar(
            "select note from checkpoint order by size desc, made_at desc limit 1",
        )
        .fetch_one(t.pool())
        .await?;
        for copy in ["objects", "copies"] {
            let copied = fs::read_to_string(home.join(copy).join("ledger/checkpoint"))?;
            assert_eq!(copied, signed, "{copy}");
        }
        assert!(are_kept(t, &sent.texts).await?, "lost");
        let acknowledged = sent.texts.iter().filter(|(_, acknowledged)| *acknowledged);
        let acknowledged = acknowledged.count() + sent.unsent.len();
        assert!(acknowledged > 60);
        eprintln!(
            "60 disks: {acknowledged} acknowledged, {} of them unsent",
            sent.unsent.len()
        );
        let open =
            "select count(*) from erasure where keys_gone_at is null or objects_gone_at is null";
        assert_eq!(t.count(open).await?, 0);
        assert_eq!(sent.unsent.len(), 59);
        for (event, key) in &sent.unsent {
            let found = t.keyring.find(*key).await;
            assert!(
                matches!(found, Err(Error::NoKey)),
                "a key that the ledger calls destroyed"
            );
            assert!(!t.keeps(event.json().as_bytes()).await?);
        }
        let kept = t
            .count("select count(*) from object where state = 'kept'")
            .await?;
        let files = t.objects()?.len();
        assert_eq!(i64::try_from(files)?, kept, "files that nobody knows");
        assert_eq!(t.opened_objects().await?.len(), files);
        Ok(())
    })
    .await;
}

/// Somebody deletes files of the keyring under a running service: it stops to use the keys in them before they are handed out.
#[tokio::test]
async fn spare_keys_that_are_missing_are_not_used() {
    run(async |t| {
        let keyring = keys::keyring_of(t.home.path(), Cipher::Sealed);
        let spare_keys = Keys::new(t.pool().clone(), t.clock.clone(), keyring.clone());
        spare_keys.supply().await?;
        let all = keyring.spare();
        let file = keyring.file_of(all[0]);
        fs::remove_file(t.home.path().join("keyring").join(&file))?;
        spare_keys.check_files().await?;
        let left = keyring.spare();
        assert_eq!(left.len(), all.len() - 64);
        assert!(left.iter().all(|id| keyring.file_of(*id) != file));
        Ok(())
    })
    .await;
}

/// Another replica's scrub has found the key missing, which this service still has in memory.
#[tokio::test]
async fn nothing_is_sealed_under_a_key_that_is_known_to_be_damaged() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.sends_text("one").await?;
        aoi.sends_text("two").await?;
        sqlx::query("update keyring_key set damaged_at = now() where subject is not null")
            .execute(&mut t.owner().await?)
            .await?;
        aoi.sends_text("three").await?;
        let sealed: Vec<Vec<u8>> =
            sqlx::query_scalar("select content from revision order by occurred_at, message_id")
                .fetch_all(t.pool())
                .await?;
        let keys: Vec<_> = sealed.iter().map(|document| key_of(document)).collect();
        assert_eq!(keys.len(), 3);
        assert_eq!(keys[0], keys[1]);
        assert_ne!(keys[1], keys[2]);
        Ok(())
    })
    .await;
}
