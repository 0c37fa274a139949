//! Signs the ledger: gives pending records their numbers and leaves, signs the head of the tree, and updates the
//! copies.
//!
//! Only one replica does this at a time, by an advisory lock that ends with the transaction. Pending records are taken
//! in the order of their ids, even if a record with a smaller id is not committed yet: records have their places in the
//! tree in the order in which they were added. Nothing is signed that does not continue the last signed checkpoint.

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

/// Why the ledger was not signed or not copied. The texts hold nothing of any record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// A copy could not be updated; the next call tries again.
    #[error(transparent)]
    Copy(#[from] copies::Error),
    /// The ledger in the database does not continue the ledger that was signed.
    #[error(
        "the ledger does not continue what was signed: nothing is signed until it does. `erasures verify` says where"
    )]
    Fork,
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
    /// The database fails, the ledger does not continue what was signed, or a copy cannot be updated. Either nothing
    /// was added and signed, or everything was and a copy is behind.
    pub async fn seal(&self) -> Result<usize, Error> {
        let mut tree = self.tree.lock().await;
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if !ledger::try_lock(&mut tx).await? {
            return Ok(0);
        }
        let last = ledger::newest_checkpoint(&mut tx).await?;
        let mut grown = caught_up(&mut tx, &tree, last.as_ref()).await?;
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
            ledger::keep_checkpoint(&mut tx, &made).await?;
        }
        tx.commit().await?;
        *tree = grown;
        if due || !self.copies.are_current() {
            let mut conn = self.pool.acquire().await?;
            self.copies.bring_up_to_date(&mut conn).await?;
        }
        Ok(count)
    }
}

fn is_due(last: &Checkpoint, tree: &Frontier, now: DateTime<Utc>) -> bool {
    u64::try_from(last.size) != Ok(tree.size()) || now - last.made_at >= HEARTBEAT
}

/// `tree`, extended by the leaves that the ledger has beyond it. [`Error::Fork`] if the result does not pass through
/// the last checkpoint.
async fn caught_up(
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
    let mut seen = last.is_none() || (tree.size() == signed && tree.root()[..] == *root);
    while tree.size() < size {
        for leaf in ledger::leaves(conn, tree.size()).await? {
            tree.push(leaf);
            seen |= tree.size() == signed && tree.root()[..] == *root;
        }
    }
    match seen {
        true => Ok(tree),
        false => Err(Error::Fork),
    }
}
