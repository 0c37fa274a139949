//! `erasures verify | export`: verifies the ledger, and exports it for an auditor.

mod verify_database;

use std::{path::Path, process::ExitCode};

use anyhow::{Context, ensure};
use chrono::{DateTime, NaiveDate};
use sqlx::PgConnection;

use super::{
    database::{self, Purpose},
    keys,
    privileges::Output,
};
use crate::{
    clock::Clock,
    config::StorageConfig,
    ledger::{
        Hash, Verdict, Verifier,
        export::{self, Export},
        receipt,
    },
    records::ledger,
};

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
                verify_database::verify(storage, &mut database.connect().await?, now).await
            })
            .await?
        }
    };
    if shown.is_some() && trusted.is_none() {
        say(
            "Checked with the key in the file itself: this detects damage, not forgery. Use --public-key.",
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
            keys::matches_secret(&secret, &mut db).await?,
            keys::wrong_ledger_key_message(storage)
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
