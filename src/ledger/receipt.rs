//! A receipt: one record with everything needed to check it, for a recipient whom the other records do not concern.

use serde::{Deserialize, Serialize};

use super::{Hash, Verdict, export, text, tree};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Receipt {
    /// The record's bytes, as text: exactly what was hashed.
    record: String,
    seq: u64,
    size: u64,
    proof: Vec<String>,
    checkpoint: String,
    public_key: String,
}

/// A receipt as JSON text: proves that `record` is number `seq` (from 0) of the `size` records under the checkpoint
/// `note`.
pub fn write(record: &[u8], seq: u64, size: u64, proof: &[Hash], note: &str, vkey: &str) -> String {
    let receipt = Receipt {
        // Records are JSON, hence UTF-8.
        record: String::from_utf8_lossy(record).into_owned(),
        seq,
        size,
        proof: text::from_hashes(proof),
        checkpoint: note.to_owned(),
        public_key: vkey.to_owned(),
    };
    #[expect(
        clippy::expect_used,
        reason = "strings and numbers into memory: neither JSON nor a string refuses them"
    )]
    serde_json::to_string_pretty(&receipt).expect("a receipt is JSON")
}

/// Checks a receipt, offline; `trusted_key` as for [`export::verify`]. A receipt does not become stale: it is about one
/// record, not about later ones.
pub fn verify(receipt: &str, trusted_key: Option<&str>) -> Verdict {
    let Ok(receipt) = serde_json::from_str::<Receipt>(receipt) else {
        return Verdict::Unreadable("not a receipt");
    };
    let checkpoint = match export::open(&receipt.checkpoint, &receipt.public_key, trusted_key) {
        Ok((checkpoint, _)) => checkpoint,
        Err(verdict) => return verdict,
    };
    let (size, root) = (checkpoint.size, checkpoint.root);
    let leaf = tree::leaf_hash(receipt.record.as_bytes());
    let proof = text::to_hashes(&receipt.proof);
    let is_in = receipt.size == size
        && proof
            .is_some_and(|proof| tree::verify_inclusion(&leaf, receipt.seq, size, &proof, &root));
    if is_in {
        Verdict::Sound {
            size,
            records: 1,
            extends: None,
        }
    } else {
        Verdict::Tampered {
            seq: Some(receipt.seq),
            what: "the record is not in the tree that was signed",
        }
    }
}
