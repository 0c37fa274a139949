//! Signs the ledger: assigns sequence numbers and leaf hashes to pending records, signs the head of the tree, and
//! updates the copies.
//!
//! Only one replica does this at a time, by an advisory lock that ends with the transaction. Pending records are taken
//! in the order of their ids. A record with a smaller id that commits later gets a later position in the tree. Nothing
//! is signed that does not extend the last signed checkpoint.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Mutex;

use super::copies::{self, Copies};
use crate::{
    clock::Clock,
    ledger::{
        Hash, Signer,
        tree::{Frontier, leaf_hash},
    },
    records::ledger::{self, Checkpoint},
};

/// Records added to the tree in one transaction.
const BATCH_RECORDS: i64 = 10_000;

/// A checkpoint is signed at least this often, even if nothing was erased, so that a period without erasures can be
/// seen as well.
const HEARTBEAT: TimeDelta = TimeDelta::hours(24);

/// Why the ledger was not signed or not copied. The messages contain no data of a record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// A copy could not be updated; the next call tries again.
    #[error(transparent)]
    Copy(#[from] copies::Error),
    /// The ledger in the database does not extend the last signed checkpoint.
    #[error(
        "the ledger does not extend the last signed checkpoint, so no checkpoint is signed. Run `erasures verify` \
         to find the difference"
    )]
    Fork,
}

impl Error {
    /// True if the database lacks records that were signed, or has others: it was restored from a backup while the service
    /// ran, or altered.
    pub fn is_contradiction(&self) -> bool {
        match self {
            Self::Fork => true,
            Self::Copy(error) => error.is_contradiction(),
            Self::Database(_) => false,
        }
    }
}

/// Signs the ledger. Clones share their state.
#[derive(Clone)]
pub struct LedgerSigner {
    pool: PgPool,
    clock: Clock,
    signer: Arc<Signer>,
    copies: Copies,
    tree: Arc<Mutex<Frontier>>,
}

impl LedgerSigner {
    /// Takes the database pool, the clock, the ledger's signing key and the copies.
    pub fn new(pool: PgPool, clock: Clock, signer: Arc<Signer>, copies: Copies) -> Self {
        Self {
            pool,
            clock,
            signer,
            copies,
            tree: Arc::default(),
        }
    }

    /// Adds pending records to the tree, signs a checkpoint if the tree has grown or 24 hours have passed, and updates
    /// the copies. Returns how many records were added; 0 if another replica holds the lock.
    ///
    /// # Errors
    /// The database fails, the ledger does not extend the last signed checkpoint, or a copy cannot be updated. Records
    /// are added and signed in one transaction. If only a copy fails, the records were added and signed.
    pub async fn append_and_sign(&self) -> Result<usize, Error> {
        let mut tree = self.tree.lock().await;
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if !ledger::try_lock(&mut tx).await? {
            return Ok(0);
        }
        let last = ledger::newest_checkpoint(&mut tx).await?;
        let mut grown = extend_and_check(&mut tx, &tree, last.as_ref()).await?;
        // These leaves are committed: keep them even if the rest of this call fails.
        *tree = grown.clone();

        let pending = ledger::pending(&mut tx, BATCH_RECORDS).await?;
        let count = pending.len();
        let (ids, records): (Vec<i64>, Vec<Vec<u8>>) = pending.into_iter().unzip();
        let leaves: Vec<Hash> = records.iter().map(|record| leaf_hash(record)).collect();
        if count > 0 {
            ledger::append(&mut tx, grown.size(), &records, &leaves, Some(&ids), now).await?;
            leaves.iter().for_each(|leaf| grown.push(*leaf));
        }
        let due = last.as_ref().is_none_or(|last| is_due(last, &grown, now));
        if due {
            let root = grown.root();
            let made = Checkpoint {
                size: i64::try_from(grown.size()).unwrap_or(i64::MAX),
                root: root.to_vec(),
                note: self.signer.checkpoint(grown.size(), &root),
                made_at: now,
            };
            ledger::insert_checkpoint(&mut tx, &made).await?;
        }
        tx.commit().await?;
        *tree = grown;
        if due || !self.copies.are_current() {
            self.copy().await?;
        }
        Ok(count)
    }

    /// Updates the copies, unless another replica does so now: then the next call looks again. A slower replica would otherwise
    /// write an older file of records over a newer one, or take a newer checkpoint for one that the database has lost.
    async fn copy(&self) -> Result<(), Error> {
        let mut conn = self.pool.acquire().await?;
        // The lock ends with the connection, also if this future is dropped.
        conn.close_on_drop();
        match ledger::try_lock_copies(&mut conn).await? {
            true => Ok(self.copies.bring_up_to_date(&mut conn).await?),
            false => {
                self.copies.are_outdated();
                Ok(())
            }
        }
    }
}

fn is_due(last: &Checkpoint, tree: &Frontier, now: DateTime<Utc>) -> bool {
    u64::try_from(last.size) != Ok(tree.size()) || now - last.made_at >= HEARTBEAT
}

/// Returns `tree` with the ledger's newer leaves added. [`Error::Fork`] if the ledger is smaller than `tree` or the
/// last checkpoint, or if the root at the size of the last checkpoint differs from the signed one.
async fn extend_and_check(
    conn: &mut PgConnection,
    tree: &Frontier,
    last: Option<&Checkpoint>,
) -> Result<Frontier, Error> {
    let size = ledger::size(conn).await?;
    let (signed, root) = match last {
        Some(last) => (u64::try_from(last.size).unwrap_or(u64::MAX), &last.root[..]),
        None => (0, &[][..]),
    };
    let known = tree.size();
    if size < known || size < signed {
        return Err(Error::Fork);
    }
    let mut tree = if signed < known {
        Frontier::new()
    } else {
        tree.clone()
    };
    let mut checkpoint_matches =
        last.is_none() || (tree.size() == signed && tree.root()[..] == *root);
    while tree.size() < size {
        for leaf in ledger::leaves(conn, tree.size()).await? {
            tree.push(leaf);
            checkpoint_matches |= tree.size() == signed && tree.root()[..] == *root;
        }
    }
    match checkpoint_matches {
        true => Ok(tree),
        false => Err(Error::Fork),
    }
}
