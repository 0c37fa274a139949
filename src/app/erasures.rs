//! `erasures verify | export`: verifies the ledger, and exports it for an auditor.

mod verdict;
mod verify_database;

use std::{path::Path, process::ExitCode};

use anyhow::{Context, bail, ensure};
use chrono::NaiveDate;
use sqlx::PgConnection;

use self::verdict::{in_words, pending_message};
use super::{
    counted::counted,
    database::{self, Purpose},
    keys,
    privileges::Output,
};
use crate::{
    clock::Clock,
    config::StorageConfig,
    ledger::{
        Hash, Verifier,
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
    let (verdict, pending) = match shown {
        Some(path) if is_receipt => (receipt::verify(&read_text(path)?, trusted), 0),
        Some(path) => (export::verify(path, trusted, now.timestamp_millis()), 0),
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
    if let Some(line) = pending_message(pending) {
        say(&line);
    }
    let (line, code) = in_words(verdict, is_receipt);
    say(&line);
    Ok(ExitCode::from(code))
}

/// The public key in `given`, which is its text or the path of a file with it.
fn trusted_key(given: &Path) -> anyhow::Result<String> {
    let text = given.to_str().map(str::trim);
    if let Some(text) = text
        && Verifier::from_vkey(text).is_ok()
    {
        return Ok(text.to_owned());
    }
    let shown = given.display();
    let text = match std::fs::read_to_string(given) {
        Err(_) if text.is_some_and(looks_like_key) => bail!(
            "--public-key {shown} is mistyped: a character of this public key is wrong or missing. Copy it whole, or name a \
             file with it"
        ),
        read => read.with_context(|| {
            format!("--public-key {shown} is neither a public key nor a file that can be read")
        })?,
    };
    let key = text.trim_end();
    let read = Verifier::from_vkey(key).ok();
    read.with_context(|| format!("{shown} is not a public key"))?;
    Ok(key.to_owned())
}

/// Whether a text that is not a valid public key was meant to be one: `<name>+<8 hexadecimal digits>+<key>`.
fn looks_like_key(text: &str) -> bool {
    let has_name = text.starts_with("line-chat-archive/") && text.contains('+');
    let hash = text.split('+').nth(1).unwrap_or_default();
    has_name || hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads a whole file; an error contains its path.
fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))
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
            counted(size, "record")
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
    fn a_public_key_is_given_as_a_file_or_as_its_text() {
        let key = Signer::from_seed("line-chat-archive/a", &[7; 32]).vkey();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("public-key");
        std::fs::write(&file, format!("{key}\n")).unwrap();
        assert_eq!(trusted_key(&file).unwrap(), key);
        assert_eq!(trusted_key(Path::new(&key)).unwrap(), key);
        let (short, other) = (&key[..key.len() - 1], key.replacen('/', "_", 1));
        for (given, words) in [
            (short, "is mistyped"),
            (&key[1..], "is mistyped"),
            (other.as_str(), "is mistyped"),
            ("line-chat-archive/key", "neither a public key nor a file"),
            ("no/such+file", "neither a public key nor a file"),
        ] {
            let refused = trusted_key(Path::new(given)).unwrap_err().to_string();
            assert!(refused.contains(words), "{given}: {refused}");
        }
    }

    #[test]
    fn an_export_without_records_says_why() {
        assert!(written_message(3, 0).contains("3 records, and none is of this period"));
        assert!(written_message(0, 0).starts_with("0 of 0 records written"));
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
