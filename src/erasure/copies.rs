//! Copies of the ledger outside the database. If records are removed from the ledger, or the database is restored from
//! a backup, the copies contradict it.
//!
//! A copy consists of the newest checkpoint and the records that it covers, 1,000 in each file. Records hold no
//! content.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::PgConnection;
use tokio::time::timeout;

use crate::{
    ledger::{
        Verifier,
        tree::{Frontier, leaf_hash},
    },
    objects::{self, Objects},
    records::ledger,
    watchdog,
};

/// Records in one file.
const RECORDS_PER_FILE: u64 = 1000;

/// Limit for one read or write. Half of the time that the lock of the copies outlives a lost connection: a write that
/// takes longer could come after one of another replica.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Name of the object that holds the newest checkpoint.
const CHECKPOINT: &str = "ledger/checkpoint";

/// Why a copy could not be read or updated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The object store of the copy at this place failed, or did not answer in time.
    #[error("the copy of the ledger at {0} cannot be read or written: {1}")]
    Objects(String, #[source] objects::Error),
    /// The copy is not signed with this installation's key, or is incomplete.
    #[error(
        "the copy of the ledger at {0} is damaged, or belongs to another archive. If it is damaged, remove its directory `ledger`: the copy is then written anew"
    )]
    Damaged(String),
    /// The copy was signed over other records than those in the database.
    #[error(
        "a copy of the ledger contradicts the database: the database lost signed records or was altered. Run `erasures verify` to find the difference"
    )]
    Forked,
    /// The copy covers more records than the database has.
    #[error(
        "a copy of the ledger has records that the database lacks. The database was restored from a backup. Restart the service"
    )]
    Ahead,
}

impl Error {
    /// True if the database lacks records that were signed: it may show messages that were erased.
    pub fn is_contradiction(&self) -> bool {
        matches!(self, Self::Forked | Self::Ahead)
    }
}

/// The object stores that hold copies of the ledger. Clones share their state.
#[derive(Clone, Debug)]
pub struct Copies {
    backends: Arc<[Objects]>,
    verifier: Arc<Verifier>,
    current: Arc<AtomicBool>,
}

/// The newest signed checkpoint of a copy.
#[derive(Debug, Clone)]
pub struct CopiedCheckpoint {
    /// Number of records that it covers.
    pub size: u64,
    /// Root hash of the tree of these records.
    pub root: crate::ledger::Hash,
    /// The signed note (C2SP tlog-checkpoint).
    pub note: String,
}

impl Copies {
    /// The copies in the object store and in the `others`. Their checkpoints are signed with the key of `verifier`.
    pub fn new(objects: Objects, others: Vec<Objects>, verifier: Verifier) -> Self {
        Self {
            backends: std::iter::once(objects).chain(others).collect(),
            verifier: Arc::new(verifier),
            current: Arc::default(),
        }
    }

    /// True if the last update brought the copies in all backends to the newest checkpoint.
    pub fn are_current(&self) -> bool {
        self.current.load(Ordering::Relaxed)
    }

    /// Notes that the copies have to be updated.
    pub fn are_outdated(&self) {
        self.current.store(false, Ordering::Relaxed);
    }

    /// Writes to every backend what its copy lacks: first the records, then the checkpoint that covers them.
    ///
    /// # Errors
    /// The database or an object store fails, or a copy is damaged or contradicts the database. The first error is
    /// returned after all backends were tried.
    pub async fn bring_up_to_date(&self, conn: &mut PgConnection) -> Result<(), Error> {
        self.are_outdated();
        let Some(newest) = ledger::newest_checkpoint(conn).await? else {
            return Ok(());
        };
        let size = u64::try_from(newest.size).unwrap_or_default();
        let mut result = Ok(());
        for backend in self.backends.iter() {
            let done = self.update(conn, backend, size, &newest.note).await;
            // A contradiction is graver than a copy that is away.
            result = match done {
                Err(error) if result.is_ok() || error.is_contradiction() => Err(error),
                _ => result,
            };
        }
        self.current.store(result.is_ok(), Ordering::Relaxed);
        result
    }

    async fn update(
        &self,
        conn: &mut PgConnection,
        backend: &Objects,
        size: u64,
        note: &str,
    ) -> Result<(), Error> {
        let copied = self.checkpoint(backend).await?;
        let copied_records = match &copied {
            Some(copied) if copied.note == note => return Ok(()),
            Some(copied) if copied.size > size => {
                // Perhaps another replica has signed and copied since: the lock ends with the connection.
                let newest = ledger::newest_checkpoint(conn)
                    .await?
                    .map(|newest| newest.size);
                return match newest.and_then(|size| u64::try_from(size).ok()) >= Some(copied.size) {
                    true => Ok(()),
                    false => Err(Error::Ahead),
                };
            }
            // This database signed and kept every checkpoint that was copied. If it lacks one, it lost records and must
            // not go on.
            Some(copied) if !ledger::has_signed(conn, copied.size, &copied.root).await? => {
                return Err(Error::Forked);
            }
            Some(copied) => copied.size,
            None => 0,
        };
        for file in copied_records / RECORDS_PER_FILE..size.div_ceil(RECORDS_PER_FILE) {
            let (from, until) = (
                file * RECORDS_PER_FILE,
                ((file + 1) * RECORDS_PER_FILE).min(size),
            );
            if until <= copied_records {
                continue;
            }
            let records = ledger::records(conn, from, until).await?;
            if records.len() as u64 != until - from {
                // The database was restored since its checkpoint was read. The copy may be the one that has the rest.
                return Err(Error::Forked);
            }
            let mut lines = Vec::new();
            for record in records {
                lines.extend_from_slice(&record);
                lines.push(b'\n');
            }
            write(backend, &name(file), lines).await?;
        }
        write(backend, CHECKPOINT, note.as_bytes().to_vec()).await
    }

    async fn checkpoint(&self, backend: &Objects) -> Result<Option<CopiedCheckpoint>, Error> {
        let Some(bytes) = read(backend, CHECKPOINT).await? else {
            return Ok(None);
        };
        let note = String::from_utf8(bytes).map_err(|_| damaged(backend))?;
        let checkpoint = self.verifier.open(&note).map_err(|_| damaged(backend))?;
        Ok(Some(CopiedCheckpoint {
            size: checkpoint.size,
            root: checkpoint.root,
            note,
        }))
    }

    /// Reads all records of every copy, and compares them with its checkpoint.
    ///
    /// # Errors
    /// A backend cannot be read, or its copy is damaged.
    pub async fn verify(&self) -> Result<(), Error> {
        for backend in self.backends.iter() {
            if let Some(copied) = self.checkpoint(backend).await? {
                Self::verify_records(backend, &copied).await?;
            }
        }
        Ok(())
    }

    /// Reads all records of the copy in `backend`, and compares them with its checkpoint.
    ///
    /// # Errors
    /// The backend cannot be read, or the copy is damaged.
    pub async fn verify_records(backend: &Objects, copied: &CopiedCheckpoint) -> Result<(), Error> {
        let mut tree = Frontier::new();
        while tree.size() < copied.size {
            let until = (tree.size() + RECORDS_PER_FILE).min(copied.size);
            for record in Self::records(backend, tree.size(), until).await? {
                tree.push(leaf_hash(&record));
            }
        }
        match tree.root() == copied.root {
            true => Ok(()),
            false => Err(damaged(backend)),
        }
    }

    /// The checkpoints of all copies, the newest first, each with its backend, and the error of a copy that is damaged.
    ///
    /// # Errors
    /// A backend cannot be read.
    pub async fn sound(&self) -> Result<(Vec<(CopiedCheckpoint, Objects)>, Option<Error>), Error> {
        let (mut sound, mut damaged) = (vec![], None);
        for backend in self.backends.iter() {
            match self.checkpoint(backend).await {
                Ok(copied) => sound.extend(copied.map(|copied| (copied, backend.clone()))),
                Err(error @ Error::Damaged(_)) => damaged = Some(error),
                Err(error) => return Err(error),
            }
        }
        sound.sort_by_key(|(copied, _)| std::cmp::Reverse(copied.size));
        Ok((sound, damaged))
    }

    /// The records of the copy in `backend`, from number `from` up to, but without, `until`.
    ///
    /// # Errors
    /// The backend cannot be read, or a file is missing or too short.
    pub async fn records(backend: &Objects, from: u64, until: u64) -> Result<Vec<Vec<u8>>, Error> {
        let mut records = Vec::new();
        for file in from / RECORDS_PER_FILE..until.div_ceil(RECORDS_PER_FILE) {
            let bytes = read(backend, &name(file)).await?;
            let bytes = bytes.ok_or_else(|| damaged(backend))?;
            let lines = bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            let numbered = (file * RECORDS_PER_FILE..).zip(lines);
            let wanted = numbered.filter(|(seq, _)| (from..until).contains(seq));
            records.extend(wanted.map(|(_, line)| line.to_vec()));
            watchdog::progress();
        }
        match records.len() as u64 == until - from {
            true => Ok(records),
            false => Err(damaged(backend)),
        }
    }
}

async fn write(backend: &Objects, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
    let written = timeout(TIMEOUT, backend.write_named(name, bytes)).await;
    let written = written.unwrap_or(Err(objects::Error::Silent));
    // A new copy of a large ledger takes long.
    watchdog::progress();
    written.map_err(|error| Error::Objects(backend.place().to_owned(), error))
}

async fn read(backend: &Objects, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let read = timeout(TIMEOUT, backend.read_named(name)).await;
    watchdog::progress();
    read.unwrap_or(Err(objects::Error::Silent))
        .map_err(|error| match error {
            // Something that is not a file is in its place.
            objects::Error::Corrupt => damaged(backend),
            error => Error::Objects(backend.place().to_owned(), error),
        })
}

fn damaged(copy: &Objects) -> Error {
    Error::Damaged(copy.place().to_owned())
}

fn name(file: u64) -> String {
    format!("ledger/records-{file:09}.ndjson")
}
