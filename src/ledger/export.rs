//! An export: a directory that proves the ledger, or a period of it, to an auditor who has neither archive nor
//! database.
//!
//! | file | content |
//! |---|---|
//! | `records.ndjson` | the records, each line exactly the bytes that were hashed |
//! | `records.csv` | the same for a spreadsheet |
//! | `leaves` | the digest of each record, so that an altered record can be named |
//! | `checkpoint` | the tree's size and root, signed |
//! | `public-key` | the key it is signed with, to compare with a trusted copy |
//! | `proofs.json` | the positions of the records in the tree, and their proofs ([`Proofs`]) |

mod check;
mod table;

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::{Error, Hash, Verdict, text, tree};
pub(super) use check::{Parts, check, open};
pub use table::escape_formula;

/// Age in ms beyond which a checkpoint is stale: one is signed daily even without new records, and may be two hours
/// late.
pub(super) const STALE_MS: i64 = 26 * 60 * 60 * 1000;

/// The input of [`write()`].
pub struct Export<'a> {
    /// Number of the first record, counted from 0.
    pub first: u64,
    /// The bytes of the records, without a gap in their numbers.
    pub records: &'a [Vec<u8>],
    /// All leaves that the checkpoint covers: not only those of `records`.
    pub leaves: &'a [Hash],
    /// The newest checkpoint, as a signed note.
    pub note: &'a str,
    /// The public key of the checkpoint, as [`Signer::vkey`](super::Signer::vkey) writes it.
    pub vkey: &'a str,
    /// When the checkpoint was signed, in ms since 1970.
    pub checkpointed_at: i64,
    /// An earlier checkpoint, which the recipient has: the export then proves that the ledger has only grown since.
    pub earlier: Option<&'a str>,
}

/// `proofs.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proofs {
    /// Number of the first record in the export.
    pub first: u64,
    /// Number of records that the checkpoint covers.
    pub size: u64,
    /// When the checkpoint was signed, in ms since 1970. The checkpoint format has no time, so this one is not signed:
    /// it reveals an outdated export, not a forged one. The newest signed time is the last record's `at`.
    pub checkpointed_at: i64,
    /// One inclusion proof for each record; `None` if the export has all records, because they give the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusion: Option<Vec<Vec<String>>>,
    /// Proves that the ledger has only grown since an earlier checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Consistency {
    pub checkpoint: String,
    pub proof: Vec<String>,
}

/// Writes an export into the directory `dir`, and creates the directory if it is missing.
///
/// # Errors
/// [`Error::Export`] if the export would fail its own check, [`Error::Io`] if it cannot be written; and the errors of
/// [`Verifier`](super::Verifier) if there is an earlier checkpoint and the key does not open it.
pub fn write(dir: &Path, export: &Export<'_>) -> Result<(), Error> {
    let parts = parts(export)?;
    let table = table::of(export.first, export.records)
        .ok_or(Error::Export("a record is not of a known form"))?;
    // An export that fails its own check is not written.
    let now = export.checkpointed_at;
    if !matches!(check(&parts, None, None, now), Verdict::Sound { .. }) {
        return Err(Error::Export("records, leaves and checkpoint differ"));
    }
    let proofs = serde_json::to_vec(&parts.proofs).map_err(io::Error::from)?;
    fs::create_dir_all(dir)?;
    fs::write(dir.join("records.ndjson"), lines(&parts.records))?;
    fs::write(dir.join("records.csv"), table)?;
    fs::write(dir.join("leaves"), lines(&text::from_hashes(&parts.leaves)))?;
    fs::write(dir.join("checkpoint"), &parts.note)?;
    fs::write(dir.join("public-key"), format!("{}\n", parts.key))?;
    fs::write(dir.join("proofs.json"), proofs)?;
    Ok(())
}

/// The content of the files of `export`.
pub(super) fn parts(export: &Export<'_>) -> Result<Parts, Error> {
    let outside = Error::Export("records beyond the checkpoint");
    let size = export.leaves.len();
    let Ok(first) = usize::try_from(export.first) else {
        return Err(outside);
    };
    let Some(leaves) = first
        .checked_add(export.records.len())
        .and_then(|end| export.leaves.get(first..end))
    else {
        return Err(outside);
    };
    let whole = leaves.len() == size;
    let levels = tree::Levels::new(export.leaves);
    let inclusion = (!whole).then(|| {
        let proofs = (first..first + leaves.len()).map(|seq| levels.inclusion(seq));
        proofs.map(|proof| text::from_hashes(&proof)).collect()
    });
    let consistency = match export.earlier {
        None => None,
        Some(note) => {
            let earlier = super::Verifier::from_vkey(export.vkey)?.open(note)?;
            let old = usize::try_from(earlier.size).map_err(|_| Error::Note)?;
            Some(Consistency {
                checkpoint: note.to_owned(),
                proof: text::from_hashes(&levels.consistency(old)),
            })
        }
    };
    Ok(Parts {
        records: export.records.to_vec(),
        leaves: leaves.to_vec(),
        note: export.note.to_owned(),
        key: export.vkey.to_owned(),
        proofs: Proofs {
            first: export.first,
            size: size as u64,
            checkpointed_at: export.checkpointed_at,
            inclusion,
            consistency,
        },
    })
}

/// Checks the export in `dir`, offline.
///
/// `trusted_key` is the ledger's public key, obtained from elsewhere. Without it the export is checked only against its
/// own key, which detects damage but not forgery. `now_ms` is the present time in ms since 1970.
///
/// [`Verdict::Sound`] with fewer `records` than `size` is a period: its records are unaltered, and the ledger has
/// others.
pub fn verify(dir: &Path, trusted_key: Option<&str>, now_ms: i64) -> Verdict {
    verify_files(dir, trusted_key, None, now_ms)
}

/// As [`verify`], and checks that the ledger still has all records that it had when `kept` was signed. `kept` is an
/// earlier checkpoint that a third party kept. This detects manipulations that the right key has signed: another
/// history, and records left off at the end.
///
/// An export of a period has this proof only if it was written with `kept` as [`Export::earlier`].
pub fn verify_since(dir: &Path, trusted_key: Option<&str>, kept: &str, now_ms: i64) -> Verdict {
    verify_files(dir, trusted_key, Some(kept), now_ms)
}

fn verify_files(dir: &Path, trusted: Option<&str>, kept: Option<&str>, now_ms: i64) -> Verdict {
    let parts = match read(dir) {
        Ok(parts) => parts,
        Err(verdict) => return verdict,
    };
    let verdict = check(&parts, trusted, kept, now_ms);
    if !matches!(verdict, Verdict::Sound { .. } | Verdict::Stale { .. }) {
        return verdict;
    }
    // People read the copy for spreadsheets, so it is compared with the records.
    let Some(table) = table::of(parts.proofs.first, &parts.records) else {
        return Verdict::Unreadable("a record has a format that this version does not support");
    };
    match fs::read(dir.join("records.csv")) {
        Err(error) => unread("records.csv", "records.csv is missing", &error),
        Ok(bytes) if bytes != table => Verdict::Tampered {
            seq: None,
            what: "records.csv does not match records.ndjson",
        },
        Ok(_) => verdict,
    }
}

/// The verdict for the file `file` that could not be read; `missing` says that it is not there.
fn unread(file: &'static str, missing: &'static str, error: &io::Error) -> Verdict {
    match error.kind() {
        io::ErrorKind::NotFound => Verdict::Unreadable(missing),
        why => Verdict::Unread { file, why },
    }
}

fn read(dir: &Path) -> Result<Parts, Verdict> {
    let file = |name: &'static str, missing| {
        fs::read(dir.join(name)).map_err(|error| unread(name, missing, &error))
    };
    let text = |bytes: Vec<u8>, what| {
        String::from_utf8(bytes).map_err(|_| Verdict::Tampered { seq: None, what })
    };
    let proofs = file("proofs.json", "proofs.json is missing")?;
    let proofs: Proofs = serde_json::from_slice(&proofs)
        .map_err(|_| Verdict::Unreadable("proofs.json is malformed"))?;
    let records = file("records.ndjson", "records.ndjson is missing")?;
    let mut records: Vec<Vec<u8>> = records
        .split(|byte| *byte == b'\n')
        .map(Vec::from)
        .collect();
    if records.pop().is_some_and(|rest| !rest.is_empty()) {
        return Err(Verdict::Tampered {
            seq: Some(proofs.first.saturating_add(records.len() as u64)),
            what: "records.ndjson ends within a record",
        });
    }
    let leaves = text(
        file("leaves", "leaves is missing")?,
        "leaves is not UTF-8 text",
    )?;
    let leaves: Vec<String> = leaves.lines().map(String::from).collect();
    let leaves = text::to_hashes(&leaves).ok_or(Verdict::Tampered {
        seq: None,
        what: "leaves has a line that is not a digest",
    })?;
    let key = text(
        file("public-key", "public-key is missing")?,
        "public-key is not UTF-8 text",
    )?;
    Ok(Parts {
        records,
        leaves,
        note: text(
            file("checkpoint", "checkpoint is missing")?,
            "checkpoint is not UTF-8 text",
        )?,
        key: key.strip_suffix('\n').unwrap_or(&key).to_owned(),
        proofs,
    })
}

fn lines(items: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        bytes.extend_from_slice(item.as_ref());
        bytes.push(b'\n');
    }
    bytes
}
