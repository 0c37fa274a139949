//! Verifies the ledger in the database, without an export.

use std::{iter::Peekable, vec::IntoIter};

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection, PgConnection};

use crate::{
    app::{database::Purpose, keys, stores::Stores},
    config::StorageConfig,
    ledger::{
        Hash, Verdict, Verifier,
        tree::{Frontier, leaf_hash},
    },
    records::ledger,
};

/// Age of the newest checkpoint above which the ledger is stale: one is signed daily even if nothing was erased.
const CHECKPOINT_MAX_AGE: TimeDelta = TimeDelta::hours(26);
/// Age of an unsigned record above which the ledger is stale: new records are signed within a minute.
const SIGNING_LIMIT: TimeDelta = TimeDelta::minutes(10);

/// Verifies the ledger: every leaf is the hash of its record, every checkpoint ever signed has a root of this tree,
/// no copy has more records, and every copy has all records that it was signed over. Also returns how many records wait
/// for their signature; they are not part of the verdict.
pub(super) async fn verify(
    storage: &StorageConfig,
    db: &mut PgConnection,
    now: DateTime<Utc>,
) -> anyhow::Result<(Verdict, i64)> {
    let secret = keys::secret(storage)?;
    let verifier = Verifier::from_vkey(&keys::signer(&secret).vkey())?;
    // Read the copies first, then one snapshot of the database, so that a record signed between the two reads does not
    // look like a contradiction.
    let stores = Stores::open_in_time(storage, db, Purpose::Look)
        .await
        .context("the object store or a copy of the ledger cannot be opened")?;
    let copies = stores.ledger_copies(verifier.clone());
    let copied = copies.sound().await;
    if !keys::matches_secret(&secret, db).await? {
        // The key's fingerprint in the database alone does not prove that the secret key is the wrong one: it can be
        // exchanged together with the rest of the database.
        return match copied {
            Ok((sound, _)) if !sound.is_empty() => {
                let what =
                    "a copy is signed with this secret key, but the database names another key";
                Ok((tampered(None, what), 0))
            }
            // A copy that is signed with another key is an error here too.
            _ => bail!(keys::wrong_ledger_key_message(storage)),
        };
    }
    let (sound, damaged) = copied?;
    let signed: Vec<SignedRoot> = sound
        .iter()
        .map(|(copied, _)| (copied.size, copied.root))
        .collect();
    let mut snapshot = db
        .begin_with("begin isolation level repeatable read, read only")
        .await?;
    let verdict = verify_snapshot(&mut snapshot, &verifier, signed, now).await?;
    let (pending, _) = ledger::backlog(&mut snapshot).await?;
    drop(snapshot);
    // After the database: that it was tampered with is graver than a damaged copy.
    if !matches!(verdict, Verdict::Tampered { .. }) {
        damaged.map_or(Ok(()), Err)?;
        copies.verify().await?;
    }
    Ok((verdict, pending))
}

fn tampered(seq: Option<u64>, what: &'static str) -> Verdict {
    Verdict::Tampered { seq, what }
}

/// Size and root hash of a tree, as they were signed.
type SignedRoot = (u64, Hash);

/// Verifies one snapshot of the ledger in the database. `copies` are the checkpoints of all copies.
async fn verify_snapshot(
    db: &mut PgConnection,
    verifier: &Verifier,
    copies: Vec<SignedRoot>,
    now: DateTime<Utc>,
) -> anyhow::Result<Verdict> {
    let size = ledger::size(db).await?;
    let checkpoints = ledger::checkpoints(db).await?;
    let mut roots = match signed_roots(&checkpoints, verifier) {
        Ok(roots) => roots,
        Err(verdict) => return Ok(verdict),
    };
    if let Some(seq) = ledger::first_gap(db).await? {
        return Ok(tampered(
            Some(seq),
            "a record is missing, or its leaf is not a valid hash",
        ));
    }
    if copies.iter().any(|(copied, _)| *copied > size) {
        return Ok(tampered(
            Some(size),
            "a signed copy has records that the database lacks",
        ));
    }
    roots.extend(copies);
    roots.sort_unstable();
    if roots.last().map_or(0, |(signed, _)| *signed) != size {
        return Ok(tampered(
            None,
            "the newest checkpoint and the ledger have different sizes",
        ));
    }
    if let Some(verdict) = contradiction(db, size, roots).await? {
        return Ok(verdict);
    }
    sound_or_stale(db, size, &checkpoints, now).await
}

/// Verifies the signatures of checkpoints.
fn signed_roots(
    checkpoints: &[ledger::Checkpoint],
    verifier: &Verifier,
) -> Result<Vec<SignedRoot>, Verdict> {
    let mut roots = vec![];
    for checkpoint in checkpoints {
        let Ok(head) = verifier.open(&checkpoint.note) else {
            return Err(tampered(
                None,
                "a checkpoint is not signed with this installation's key",
            ));
        };
        if i64::try_from(head.size) != Ok(checkpoint.size) || head.root[..] != checkpoint.root[..] {
            return Err(tampered(
                None,
                "a checkpoint's signed text differs from its row",
            ));
        }
        roots.push((head.size, head.root));
    }
    Ok(roots)
}

/// Compares every record with its leaf, and the tree with `roots`, which are sorted. `None` if all of them match.
async fn contradiction(
    db: &mut PgConnection,
    size: u64,
    roots: Vec<SignedRoot>,
) -> sqlx::Result<Option<Verdict>> {
    let mut verified = VerifiedTree {
        tree: Frontier::new(),
        roots: roots.into_iter().peekable(),
    };
    loop {
        if let Err(verdict) = verified.check_root() {
            return Ok(Some(verdict));
        }
        let from = verified.tree.size();
        if from == size {
            return Ok(None);
        }
        let records = ledger::records(db, from, size).await?;
        let leaves = ledger::leaves(db, from).await?;
        if records.is_empty() || records.len() != leaves.len() {
            return Ok(Some(tampered(Some(from), "a record is missing")));
        }
        if let Err(verdict) = verified.append(&records, &leaves) {
            return Ok(Some(verdict));
        }
    }
}

/// The tree over the records that were verified, and the signed roots of larger trees.
struct VerifiedTree {
    tree: Frontier,
    roots: Peekable<IntoIter<SignedRoot>>,
}

impl VerifiedTree {
    /// Compares the root with those that were signed for a tree of this size.
    fn check_root(&mut self) -> Result<(), Verdict> {
        let size = self.tree.size();
        while let Some((_, root)) = self.roots.next_if(|(signed, _)| *signed == size) {
            if self.tree.root() != root {
                return Err(tampered(None, "the tree is not the one that was signed"));
            }
        }
        Ok(())
    }

    fn append(&mut self, records: &[Vec<u8>], leaves: &[Hash]) -> Result<(), Verdict> {
        for (record, leaf) in records.iter().zip(leaves) {
            self.check_root()?;
            if leaf_hash(record) != *leaf {
                let seq = self.tree.size();
                return Err(tampered(
                    Some(seq),
                    "the record does not match its leaf hash",
                ));
            }
            self.tree.push(*leaf);
        }
        Ok(())
    }
}

/// The verdict on a ledger without contradictions.
async fn sound_or_stale(
    db: &mut PgConnection,
    size: u64,
    checkpoints: &[ledger::Checkpoint],
    now: DateTime<Utc>,
) -> anyhow::Result<Verdict> {
    let last = checkpoints.iter().map(|one| one.made_at).max();
    let (_, waiting) = ledger::backlog(db).await?;
    let stale = last.is_none_or(|at| now - at > CHECKPOINT_MAX_AGE) && (size > 0 || last.is_some());
    if stale || waiting.is_some_and(|since| now - since > SIGNING_LIMIT) {
        return Ok(Verdict::Stale {
            size,
            records: size,
            extends: None,
            checkpointed_at: last.unwrap_or_default().timestamp_millis(),
        });
    }
    Ok(Verdict::Sound {
        size,
        records: size,
        extends: None,
    })
}
