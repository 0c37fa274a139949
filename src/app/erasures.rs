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
/// `public_key` is the trusted public key, or the path of a file with it. Without it an export or a receipt is checked
/// against the key that it contains itself.
///
/// # Errors
/// The ledger, the export, the receipt or the public key cannot be read, or the secret key is not that of the ledger.
pub async fn verify(
    storage: &StorageConfig,
    shown: Option<&Path>,
    public_key: Option<&Path>,
    say: &dyn Fn(&str),
) -> anyhow::Result<ExitCode> {
    let trusted = public_key.map(trusted_key).transpose()?;
    let trusted = trusted.as_deref();
    let now = Clock::system().now();
    let is_receipt = shown.is_some_and(|path| !path.is_dir());
    let verdict = match shown {
        Some(path) if is_receipt => receipt::verify(&read_text(path)?, trusted),
        Some(path) => export::verify(path, trusted, now.timestamp_millis()),
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
    let (line, code) = in_words(verdict, is_receipt);
    say(&line);
    Ok(ExitCode::from(code))
}

/// The public key in `given`, which is its text or the path of a file with it.
fn trusted_key(given: &Path) -> anyhow::Result<String> {
    if let Some(text) = given.to_str().map(str::trim)
        && Verifier::from_vkey(text).is_ok()
    {
        return Ok(text.to_owned());
    }
    let shown = given.display();
    let text = std::fs::read_to_string(given).with_context(|| {
        format!("--public-key {shown} is neither a public key nor a file that can be read")
    })?;
    let key = text.trim_end();
    let read = Verifier::from_vkey(key).ok();
    read.with_context(|| format!("{shown} is not a public key"))?;
    Ok(key.to_owned())
}

/// Reads a whole file; an error contains its path.
fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))
}

/// The line that is printed for a verdict, and the exit code.
fn in_words(verdict: Verdict, is_receipt: bool) -> (String, u8) {
    match verdict {
        Verdict::Sound { size, .. } if is_receipt => (
            format!(
                "sound: the record in this receipt is in the signed ledger of {}",
                counted(size)
            ),
            0,
        ),
        Verdict::Sound { size, records } => (format!("sound: {}", checked(size, records)), 0),
        Verdict::Tampered { seq, what } => {
            let which = seq.map_or(String::new(), |seq| format!(" record {seq}:"));
            (format!("TAMPERED:{which} {what}"), 1)
        }
        Verdict::Unreadable(what) => (format!("unreadable: {what}"), 2),
        Verdict::Unread { file, why } => (format!("unreadable: {file} cannot be read: {why}"), 2),
        Verdict::Stale {
            size,
            records,
            checkpointed_at,
        } => {
            let at = DateTime::from_timestamp_millis(checkpointed_at).unwrap_or_default();
            (
                format!(
                    "stale: {}, but the last signature is of {at}; what came later may be missing",
                    checked(size, records)
                ),
                3,
            )
        }
    }
}

/// Says how many of the ledger's `size` records were checked. An export of a period has fewer than the ledger.
fn checked(size: u64, records: u64) -> String {
    match records {
        all if all == size => format!("{all} of {size} records are as they were signed"),
        0 => format!(
            "the signature is valid; the ledger has {}, none of which is in this export",
            counted(size)
        ),
        some => format!(
            "the records in this export ({some} of the ledger's {size}) are as they were signed"
        ),
    }
}

fn counted(records: u64) -> String {
    match records {
        1 => "1 record".to_owned(),
        _ => format!("{records} records"),
    }
}

/// Parses a day.
///
/// # Errors
/// It has another form, or the calendar does not have it.
pub fn day(text: &str) -> anyhow::Result<NaiveDate> {
    let day: Option<NaiveDate> = text.parse().ok();
    day.context("this is not a day; write year, month and day in digits, for example 2026-11-20")
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
    let (records, size) = (read.records.len() as u64, read.leaves.len() as u64);
    let path = path.display();
    say(&format!(
        "{}{path}. Check: line-chat-archive erasures verify --export {path}",
        written_message(size, records)
    ));
    Ok(())
}

/// The beginning of the sentence that says what was written; the directory follows.
fn written_message(size: u64, records: u64) -> String {
    match records {
        0 if size > 0 => format!(
            "The ledger has {}, and none is of this period. A signed checkpoint without records is written to ",
            counted(size)
        ),
        _ => format!("{records} of {size} records written to "),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Signer;

    #[test]
    fn a_verdict_does_not_blame_records_that_were_not_shown() {
        let sound = |size, records| Verdict::Sound { size, records };
        for (verdict, is_receipt, words) in [
            (
                sound(3, 1),
                true,
                "sound: the record in this receipt is in the signed ledger of 3 records",
            ),
            (
                sound(1, 1),
                true,
                "sound: the record in this receipt is in the signed ledger of 1 record",
            ),
            (
                sound(8, 8),
                false,
                "sound: 8 of 8 records are as they were signed",
            ),
            (
                sound(8, 2),
                false,
                "sound: the records in this export (2 of the ledger's 8) are as they were signed",
            ),
            (
                sound(8, 0),
                false,
                "sound: the signature is valid; the ledger has 8 records, none of which is in this export",
            ),
        ] {
            assert_eq!(in_words(verdict, is_receipt), (words.to_owned(), 0));
        }
        assert!(written_message(3, 0).contains("3 records, and none is of this period"));
        assert!(written_message(0, 0).starts_with("0 of 0 records written"));
    }

    #[test]
    fn a_file_that_may_not_be_read_is_not_called_missing() {
        let verdict = Verdict::Unread {
            file: "proofs.json",
            why: std::io::ErrorKind::PermissionDenied,
        };
        let (words, code) = in_words(verdict, false);
        assert_eq!(
            words,
            "unreadable: proofs.json cannot be read: permission denied"
        );
        assert_eq!(code, 2);
    }

    #[test]
    fn a_public_key_is_given_as_a_file_or_as_its_text() {
        let key = Signer::from_seed("line-chat-archive/a", &[7; 32]).vkey();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("public-key");
        std::fs::write(&file, format!("{key}\n")).unwrap();
        assert_eq!(trusted_key(&file).unwrap(), key);
        assert_eq!(trusted_key(Path::new(&key)).unwrap(), key);
        let cut = trusted_key(Path::new(&key[..key.len() - 1])).unwrap_err();
        let cut = cut.to_string();
        assert!(cut.contains("neither a public key nor a file"), "{cut}");
    }

    #[test]
    fn a_day_of_another_form_is_refused_with_the_form() {
        assert_eq!(day("2026-11-20").unwrap().to_string(), "2026-11-20");
        for other in ["yesterday", "", "20.11.2026", "2026-02-30"] {
            let said = day(other).unwrap_err().to_string();
            assert!(said.contains("2026-11-20"), "{other}: {said}");
        }
    }
}
