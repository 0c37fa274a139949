//! The check of an export, once its files are read.

use super::{Proofs, STALE_MS};
use crate::ledger::{Checkpoint, Error, Hash, Verdict, Verifier, text, tree};

/// The content of an export's files.
#[derive(Debug, Clone)]
pub struct Parts {
    pub records: Vec<Vec<u8>>,
    /// The leaf hashes of `records`, one for each.
    pub leaves: Vec<Hash>,
    pub note: String,
    pub key: String,
    pub proofs: Proofs,
}

/// The checkpoint in `note`, and the verifier that opened it. `key` came with the note; it must equal `trusted` if that
/// is given.
pub fn open(
    note: &str,
    key: &str,
    trusted: Option<&str>,
) -> Result<(Checkpoint, Verifier), Verdict> {
    if trusted.is_some_and(|trusted| trusted.trim() != key) {
        return tampered("it is signed with another key than the trusted one");
    }
    let Ok(verifier) = Verifier::from_vkey(key) else {
        return tampered("not a valid Ed25519 public key");
    };
    match verifier.open(note) {
        Ok(checkpoint) => Ok((checkpoint, verifier)),
        Err(Error::Note) => tampered("the checkpoint is malformed"),
        Err(_) => tampered("the checkpoint is not signed with the public key"),
    }
}

/// The whole check of an export, except for `records.csv`.
pub fn check(parts: &Parts, trusted: Option<&str>, kept: Option<&str>, now_ms: i64) -> Verdict {
    match checked(parts, trusted, kept) {
        Err(verdict) => verdict,
        Ok((checkpoint, earlier)) => {
            let extends = earlier.map(|earlier| earlier.size);
            let (size, records) = (checkpoint.size, parts.records.len() as u64);
            let checkpointed_at = parts.proofs.checkpointed_at;
            if now_ms.saturating_sub(checkpointed_at) > STALE_MS {
                return Verdict::Stale {
                    size,
                    records,
                    extends,
                    checkpointed_at,
                };
            }
            Verdict::Sound {
                size,
                records,
                extends,
            }
        }
    }
}

/// Checks everything but the age. Returns the export's checkpoint, and the earlier one that it was proven to extend.
fn checked(
    parts: &Parts,
    trusted: Option<&str>,
    kept: Option<&str>,
) -> Result<(Checkpoint, Option<Checkpoint>), Verdict> {
    let (checkpoint, verifier) = open(&parts.note, &parts.key, trusted)?;
    if parts.proofs.size != checkpoint.size {
        return tampered("the checkpoint is not the one the export was written with");
    }
    match &parts.proofs.inclusion {
        None => whole(parts, &checkpoint)?,
        Some(proofs) => period(parts, proofs, &checkpoint)?,
    }
    let earlier = match &parts.proofs.consistency {
        None => None,
        Some(consistency) => {
            let Ok(earlier) = verifier.open(&consistency.checkpoint) else {
                return tampered("the earlier checkpoint is not signed with the public key");
            };
            let proof = text::to_hashes(&consistency.proof);
            if !proof.is_some_and(|proof| grew(&earlier, &checkpoint, &proof)) {
                return tampered("the ledger does not extend the earlier checkpoint");
            }
            Some(earlier)
        }
    };
    if let Some(kept) = kept {
        let Ok(kept) = verifier.open(kept) else {
            return Err(Verdict::Unreadable(
                "the checkpoint that was kept is not signed with this key",
            ));
        };
        still_holds(parts, &kept, &checkpoint, earlier.as_ref())?;
    }
    Ok((checkpoint, earlier))
}

/// Checks an export of all records: the leaves must give the signed root. Each record must match its leaf, which
/// identifies an altered record.
fn whole(parts: &Parts, checkpoint: &Checkpoint) -> Result<(), Verdict> {
    if parts.proofs.first != 0 {
        return Err(Verdict::Unreadable("proofs.json has no inclusion proofs"));
    }
    if parts.leaves.len() as u64 != checkpoint.size {
        return tampered("there are not as many leaves as the checkpoint covers");
    }
    if tree::root_of(&parts.leaves) != checkpoint.root {
        return tampered("the leaves do not give the root that was signed");
    }
    each_is_its_leaf(parts)
}

/// Checks an export of a period: each record must be in the tree, at its number.
fn period(parts: &Parts, proofs: &[Vec<String>], checkpoint: &Checkpoint) -> Result<(), Verdict> {
    each_is_its_leaf(parts)?;
    if proofs.len() != parts.leaves.len() {
        return tampered("there are not as many inclusion proofs as records");
    }
    for ((place, leaf), proof) in (0..).zip(&parts.leaves).zip(proofs) {
        let seq = parts.proofs.first.saturating_add(place);
        let proof = text::to_hashes(proof);
        let is_in = proof.is_some_and(|proof| {
            tree::verify_inclusion(leaf, seq, checkpoint.size, &proof, &checkpoint.root)
        });
        if !is_in {
            return Err(Verdict::Tampered {
                seq: Some(seq),
                what: "a record is not in the tree that was signed",
            });
        }
    }
    Ok(())
}

fn each_is_its_leaf(parts: &Parts) -> Result<(), Verdict> {
    let (records, leaves) = (&parts.records, &parts.leaves);
    let same = records
        .iter()
        .zip(leaves)
        .take_while(|(record, leaf)| tree::leaf_hash(record) == **leaf)
        .count();
    let what = match (same < records.len(), same < leaves.len()) {
        (false, false) => return Ok(()),
        (true, true) => "a record does not match its signed leaf",
        (true, false) => "there are more records than leaves",
        (false, true) => "records are missing at the end",
    };
    Err(Verdict::Tampered {
        seq: Some(parts.proofs.first.saturating_add(same as u64)),
        what,
    })
}

fn grew(old: &Checkpoint, new: &Checkpoint, proof: &[Hash]) -> bool {
    tree::verify_consistency(old.size, new.size, &old.root, &new.root, proof)
}

fn still_holds(
    parts: &Parts,
    kept: &Checkpoint,
    now: &Checkpoint,
    earlier: Option<&Checkpoint>,
) -> Result<(), Verdict> {
    if kept.size > now.size {
        return tampered("the ledger is shorter than when the kept checkpoint was signed");
    }
    let before = if kept.size == now.size {
        now.root
    } else if parts.proofs.inclusion.is_none() {
        // In range: `whole` has checked that there are `now.size` leaves, so `kept.size` fits `usize` on 32-bit
        // machines too.
        tree::root_of(&parts.leaves[..usize::try_from(kept.size).unwrap_or(usize::MAX)])
    } else if let Some(earlier) = earlier.filter(|earlier| earlier.size == kept.size) {
        earlier.root
    } else {
        return Err(Verdict::Unreadable(
            "the export has no proof from the checkpoint that was kept",
        ));
    };
    if before == kept.root {
        Ok(())
    } else {
        tampered("the ledger's history differs from the kept checkpoint")
    }
}

fn tampered<T>(what: &'static str) -> Result<T, Verdict> {
    Err(Verdict::Tampered { seq: None, what })
}
