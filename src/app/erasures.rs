//! `erasures verify | export`: verifies the ledger, and exports it for an auditor.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::{Connection, PgConnection};

use super::{
    database::{self, Purpose},
    keys,
    privileges::Output,
    serve,
};
use crate::{
    clock::Clock,
    config::StorageConfig,
    erasure::copies::Copies,
    ledger::{
        Hash, Verdict, Verifier,
        export::{self, Export},
        receipt,
        tree::{Frontier, leaf_hash},
    },
    records::ledger,
};

/// Age of the newest checkpoint above which the ledger is stale: one is signed daily even if nothing was erased.
const CHECKPOINT_MAX_AGE: TimeDelta = TimeDelta::hours(26);
/// Age of an unsigned record above which the ledger is stale: new records are signed within a minute.
const SIGNING_LIMIT: TimeDelta = TimeDelta::minutes(10);

/// Verifies the ledger in the database, or, if `shown` is given, the directory of an export or the file of a receipt,
/// without network and database. Prints the verdict; the exit code is 0 sound, 1 tampered, 2 unreadable, 3 stale.
///
/// `public_key` is a file with the trusted public key. Without it an export or a receipt is checked against the key
/// that it contains itself.
///
/// # Errors
/// The ledger, the export, the receipt or the public key cannot be read, or the secret key is not that of the ledger.
pub async fn verify(
    storage: &StorageConfig,
    shown: Option<&Path>,
    public_key: Option<&Path>,
    say: &dyn Fn(&str),
) -> anyhow::Result<ExitCode> {
    let trusted = public_key.map(read_text).transpose()?;
    let trusted = trusted.as_deref().map(str::trim_end);
    if let (Some(path), Some(key)) = (public_key, trusted) {
        let read = Verifier::from_vkey(key).ok();
        read.with_context(|| format!("{} is not a public key", path.display()))?;
    }
    let now = Clock::system().now();
    let verdict = match shown {
        Some(path) if path.is_dir() => export::verify(path, trusted, now.timestamp_millis()),
        Some(path) => receipt::verify(&read_text(path)?, trusted),
        None => {
            database::with(storage, Purpose::Look, async |database| {
                live(storage, &mut database.connect().await?, now).await
            })
            .await?
        }
    };
    if shown.is_some() && trusted.is_none() {
        say(
            "Checked against the key it brings itself: that shows damage, not forgery. Give --public-key.",
        );
    }
    Ok(tell(verdict, say))
}

/// Reads a whole file; an error contains its path.
fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))
}

fn tell(verdict: Verdict, say: &dyn Fn(&str)) -> ExitCode {
    let (line, code) = match verdict {
        Verdict::Sound { size, records } => (
            format!("sound: {records} of {size} records are as they were signed"),
            0,
        ),
        Verdict::Tampered { seq, what } => {
            let which = seq.map_or(String::new(), |seq| format!(" record {seq}:"));
            (format!("TAMPERED:{which} {what}"), 1)
        }
        Verdict::Unreadable(what) => (format!("unreadable: {what}"), 2),
        Verdict::Stale {
            size,
            records,
            checkpointed_at,
        } => {
            let at = DateTime::from_timestamp_millis(checkpointed_at).unwrap_or_default();
            (
                format!(
                    "stale: {records} of {size} records are as they were signed, but the last signature is of {at}; \
                     what came later may be missing"
                ),
                3,
            )
        }
    };
    say(&line);
    ExitCode::from(code)
}

/// Verifies the ledger in the database: every leaf is the hash of its record, every checkpoint ever signed has a root
/// of this tree, and no copy has more records.
async fn live(
    storage: &StorageConfig,
    db: &mut PgConnection,
    now: DateTime<Utc>,
) -> anyhow::Result<Verdict> {
    let secret = keys::secret(storage)?;
    let verifier = Verifier::from_vkey(&keys::signer(&secret).vkey())?;
    // Read the copies first, then one snapshot of the database: a record that is sealed in between does not look like a
    // contradiction.
    let mut copies = serve::copies(storage).await?;
    copies.push(serve::bucket(storage).await?);
    let copy = Copies::new(copies, verifier.clone()).newest().await;
    let tampered = |seq, what| Ok(Verdict::Tampered { seq, what });
    if !keys::is_of(&secret, db).await? {
        // The database's mark alone does not prove that the secret key is the wrong one: the mark can be exchanged
        // together with the rest of the database.
        return match copy {
            Ok(Some(_)) => tampered(
                None,
                "a copy is signed with this secret key, and the database says that it belongs to another",
            ),
            // A copy that is signed with another key is an error here too.
            _ => bail!(keys::not_the_ledgers(storage)),
        };
    }
    let copy = copy?;
    let db = &mut *db
        .begin_with("begin isolation level repeatable read, read only")
        .await?;
    let size = ledger::size(db).await?;
    let checkpoints = ledger::checkpoints(db).await?;
    let mut roots: Vec<(u64, Hash)> = vec![];
    for checkpoint in &checkpoints {
        let Ok(head) = verifier.open(&checkpoint.note) else {
            return tampered(
                None,
                "a checkpoint is not signed with this installation's key",
            );
        };
        if i64::try_from(head.size) != Ok(checkpoint.size) || head.root[..] != checkpoint.root[..] {
            return tampered(None, "a checkpoint says another thing than its row");
        }
        roots.push((head.size, head.root));
    }
    if let Some(seq) = ledger::first_gap(db).await? {
        return tampered(Some(seq), "a record is missing, or its leaf is none");
    }
    if let Some((head, _)) = copy {
        if head.size > size {
            return tampered(
                Some(size),
                "a signed copy has records that the database lacks",
            );
        }
        roots.push((head.size, head.root));
    }
    roots.sort_unstable();
    if roots.last().map_or(0, |(signed, _)| *signed) != size {
        return tampered(None, "the newest checkpoint does not cover all records");
    }

    let mut tree = Frontier::new();
    let mut roots = roots.into_iter().peekable();
    loop {
        while let Some((_, root)) = roots.next_if(|(signed, _)| *signed == tree.size()) {
            if tree.root() != root {
                return tampered(None, "the tree is not the one that was signed");
            }
        }
        if tree.size() == size {
            break;
        }
        let from = tree.size();
        let records = ledger::records(db, from, size).await?;
        let leaves = ledger::leaves(db, from).await?;
        if records.is_empty() || records.len() != leaves.len() {
            return tampered(Some(from), "a record is missing");
        }
        for (record, leaf) in records.iter().zip(&leaves) {
            while let Some((_, root)) = roots.next_if(|(signed, _)| *signed == tree.size()) {
                if tree.root() != root {
                    return tampered(None, "the tree is not the one that was signed");
                }
            }
            if leaf_hash(record) != *leaf {
                return tampered(Some(tree.size()), "the record is not what was sealed");
            }
            tree.push(*leaf);
        }
    }
    let last = checkpoints.iter().map(|one| one.made_at).max();
    let waiting = ledger::pending_since(db).await?;
    let stale = last.is_none_or(|at| now - at > CHECKPOINT_MAX_AGE) && (size > 0 || last.is_some());
    if stale || waiting.is_some_and(|since| now - since > SIGNING_LIMIT) {
        return Ok(Verdict::Stale {
            size,
            records: size,
            checkpointed_at: last.unwrap_or_default().timestamp_millis(),
        });
    }
    Ok(Verdict::Sound {
        size,
        records: size,
    })
}

/// A period of days in UTC; both ends are inclusive.
#[derive(Debug, Clone, Copy, Default)]
pub struct Period {
    /// First day; `None`: from the first record.
    pub from: Option<NaiveDate>,
    /// Last day; `None`: to the newest signed record.
    pub to: Option<NaiveDate>,
}

/// Writes the ledger, or the records that were sealed in a period, into a directory that can be verified without this
/// archive.
///
/// # Errors
/// Nothing is signed yet, the period ends before it begins, `since` is not a checkpoint of this ledger, the secret key
/// is not that of the ledger, the ledger lacks records, or the directory has files in it or cannot be written.
pub async fn export(
    storage: &StorageConfig,
    out: &Path,
    period: Period,
    since: Option<&Path>,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    if let (Some(from), Some(to)) = (period.from, period.to) {
        ensure!(from <= to, "--from {from} is after --to {to}");
    }
    let earlier = since.map(read_text).transpose()?;
    let out = Output::open(storage, out)?;
    let (read, signer) = database::with(storage, Purpose::Look, async |database| {
        let mut db = database.connect().await?;
        let secret = keys::secret(storage)?;
        ensure!(
            keys::is_of(&secret, &mut db).await?,
            keys::not_the_ledgers(storage)
        );
        let signer = keys::signer(&secret);
        if let (Some(path), Some(note)) = (since, &earlier) {
            let checkpoint = Verifier::from_vkey(&signer.vkey())?.open(note);
            checkpoint.with_context(|| {
                format!("{} is not a checkpoint of this ledger", path.display())
            })?;
        }
        Ok((read(&mut db, period).await?, signer))
    })
    .await?;
    let written = export::write(
        &out.path,
        &Export {
            first: read.first,
            records: &read.records,
            leaves: &read.leaves,
            note: &read.newest.note,
            vkey: &signer.vkey(),
            checkpointed_at: read.newest.made_at.timestamp_millis(),
            earlier: earlier.as_deref(),
        },
    );
    let path = out.shown;
    written.with_context(|| format!("{}", path.display()))?;
    say(&format!(
        "{} of {} records written to {}. Check: line-chat-archive erasures verify --export {}",
        read.records.len(),
        read.leaves.len(),
        path.display(),
        path.display()
    ));
    Ok(())
}

/// The contents of an export.
struct Read {
    first: u64,
    records: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    newest: ledger::Checkpoint,
}

async fn read(db: &mut PgConnection, period: Period) -> anyhow::Result<Read> {
    let newest = ledger::newest_checkpoint(db).await?;
    let newest = newest.context("nothing is signed yet: the ledger is empty")?;
    let size = u64::try_from(newest.size)?;
    let mut leaves = vec![];
    while (leaves.len() as u64) < size {
        let more = ledger::leaves(db, leaves.len() as u64).await?;
        ensure!(
            !more.is_empty(),
            "the ledger lacks records that are signed: `erasures verify` says which"
        );
        leaves.extend(more);
    }
    leaves.truncate(usize::try_from(size)?);
    let midnight = |day: NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc();
    let from = period.from.map(midnight);
    let until = period.to.and_then(|day| day.succ_opt()).map(midnight);
    let (first, behind) = ledger::sealed_between(db, from, until).await?;
    let behind = behind.min(size);
    let mut records = vec![];
    while first + (records.len() as u64) < behind {
        let next = first + records.len() as u64;
        let more = ledger::records(db, next, behind).await?;
        ensure!(
            !more.is_empty(),
            "the ledger has a gap: `erasures verify` says where"
        );
        records.extend(more);
    }
    Ok(Read {
        first,
        records,
        leaves,
        newest,
    })
}
