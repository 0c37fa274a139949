//! The ledger's one sealer: gives pending records their numbers and leaves, signs the tree, and puts copies elsewhere.
//!
//! One at a time over all replicas, by a lock that ends with the transaction. Records are taken in the order of their
//! numbers whatever is still uncommitted before them: their place in the tree is the order they were sealed in. Nothing
//! is signed that does not continue what was signed last.

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

/// Records sealed in one transaction.
const MANY: i64 = 10_000;

/// Silence has to be seen: a checkpoint is signed that often even if nothing was erased.
const HEARTBEAT: TimeDelta = TimeDelta::hours(24);

/// Why nothing was sealed. Says nothing of any record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// A copy could not be written; it is tried again.
    #[error(transparent)]
    Copy(#[from] copies::Error),
    /// The ledger in the database is not the one that was signed.
    #[error(
        "the ledger does not continue what was signed: nothing is signed until it does. `erasures verify` says where"
    )]
    Fork,
}

/// The sealer. Clones are the same.
#[derive(Clone)]
pub struct Sealer {
    pool: PgPool,
    clock: Clock,
    signer: Arc<Signer>,
    copies: Copies,
    tree: Arc<Mutex<Frontier>>,
}

impl Sealer {
    /// Takes its handles.
    pub fn new(pool: PgPool, clock: Clock, signer: Arc<Signer>, copies: Copies) -> Self {
        Self {
            pool,
            clock,
            signer,
            copies,
            tree: Arc::default(),
        }
    }

    /// Seals what is pending, signs if there is news or a day has passed, and brings the copies up to date. Returns how
    /// many records were sealed; none if another replica is at it.
    ///
    /// # Errors
    /// Nothing is sealed then; or all is, and a copy is behind.
    pub async fn seal(&self) -> Result<usize, Error> {
        let mut tree = self.tree.lock().await;
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if !ledger::try_lock(&mut tx).await? {
            return Ok(0);
        }
        let last = ledger::newest_checkpoint(&mut tx).await?;
        let mut grown = caught_up(&mut tx, &tree, last.as_ref()).await?;
        // What is committed already is known, whatever becomes of the rest.
        *tree = grown.clone();

        let pending = ledger::pending(&mut tx, MANY).await?;
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

/// `tree` with what the ledger has more, if that goes through the last checkpoint.
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
