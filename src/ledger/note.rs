//! Checkpoints: the tree's size and root, signed. The format is C2SP's signed-note and tlog-checkpoint with Ed25519, so
//! that the tools of transparency logs can read checkpoints and witnesses can add signatures.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::{Error, Hash, text};

/// The algorithm's number in the public key and in the key hash: Ed25519.
const ED25519: u8 = 1;
/// The longest note that is read, in bytes: more than a checkpoint with a hundred witnesses has.
const LONGEST: usize = 16 * 1024;

type KeyHash = [u8; 4];

/// The content of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The ledger's name.
    pub origin: String,
    /// Number of records.
    pub size: u64,
    /// Root hash of the tree of these records.
    pub root: Hash,
}

/// Signs checkpoints.
pub struct Signer {
    name: String,
    key: SigningKey,
}

impl Signer {
    /// A signer for the ledger named `origin`, with the key of `seed`. Whitespace, control characters and `+`, which a
    /// key's name must not have, become `-`; so does an empty name.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Self {
        let mut name: String = origin
            .chars()
            .map(|c| if may_be_in_name(c) { c } else { '-' })
            .collect();
        if name.is_empty() {
            name.push('-');
        }
        Self {
            name,
            key: SigningKey::from_bytes(seed),
        }
    }

    /// A signed checkpoint. The caller must ensure that the tree has only grown since the last one.
    pub fn checkpoint(&self, size: u64, root: &Hash) -> String {
        self.sign(&format!("{}\n{size}\n{}\n", self.name, text::encode(root)))
    }

    /// A signed note: `body`, which must end in a newline, with its signature.
    pub(super) fn sign(&self, body: &str) -> String {
        let key = self.key.verifying_key();
        let mut signature = key_hash(&self.name, &key).to_vec();
        signature.extend_from_slice(&self.key.sign(body.as_bytes()).to_bytes());
        format!(
            "{body}\n\u{2014} {} {}\n",
            self.name,
            text::encode(&signature)
        )
    }

    /// The public key as text, for [`Verifier::from_vkey`].
    pub fn vkey(&self) -> String {
        let key = self.key.verifying_key();
        let hash = u32::from_be_bytes(key_hash(&self.name, &key));
        let mut typed = vec![ED25519];
        typed.extend_from_slice(key.as_bytes());
        format!("{}+{hash:08x}+{}", self.name, text::encode(&typed))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Verifies and parses checkpoints that one key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    hash: KeyHash,
    key: VerifyingKey,
}

impl Verifier {
    /// Reads a public key as [`Signer::vkey`] writes it.
    ///
    /// # Errors
    /// [`Error::Key`] if `vkey` is not exactly of that form.
    pub fn from_vkey(vkey: &str) -> Result<Self, Error> {
        // The key's base64 may contain a `+` too.
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(hash), Some(typed)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::Key);
        };
        let typed = text::decode(typed).ok_or(Error::Key)?;
        let Some((&ED25519, key)) = typed.split_first() else {
            return Err(Error::Key);
        };
        let key = key.try_into().map_err(|_| Error::Key)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| Error::Key)?;
        let expected = key_hash(name, &key);
        if !is_name(name) || format!("{:08x}", u32::from_be_bytes(expected)) != hash {
            return Err(Error::Key);
        }
        Ok(Self {
            name: name.to_owned(),
            hash: expected,
            key,
        })
    }

    /// The checkpoint in `note`, if this key signed it. Signatures of other keys, such as witnesses, are ignored.
    ///
    /// # Errors
    /// [`Error::Note`] if `note` is not a signed checkpoint of this ledger, [`Error::Signature`] if this key did not
    /// sign it.
    pub fn open(&self, note: &str) -> Result<Checkpoint, Error> {
        let body = self.signed(note)?;
        let mut lines = body.strip_suffix('\n').ok_or(Error::Note)?.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(Error::Note);
        };
        let digits = size.bytes().all(|byte| byte.is_ascii_digit());
        if origin != self.name || !digits || size.len() > 1 && size.starts_with('0') {
            return Err(Error::Note);
        }
        Ok(Checkpoint {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| Error::Note)?,
            root: text::hash(root).ok_or(Error::Note)?,
        })
    }

    /// The signed text of `note`, with its last newline, if this key signed it.
    pub(super) fn signed<'a>(&self, note: &'a str) -> Result<&'a str, Error> {
        if note.len() > LONGEST || note.chars().any(|c| c != '\n' && c.is_control()) {
            return Err(Error::Note);
        }
        let end = note.rfind("\n\n").ok_or(Error::Note)? + 1;
        let (body, signatures) = (&note[..end], &note[end + 1..]);
        let signatures = signatures.strip_suffix('\n').ok_or(Error::Note)?;
        let mut ours = None;
        for line in signatures.split('\n') {
            let line = line.strip_prefix("\u{2014} ").ok_or(Error::Note)?;
            let (name, signature) = line.split_once(' ').ok_or(Error::Note)?;
            let signature = text::decode(signature).ok_or(Error::Note)?;
            let (hash, signature) = signature.split_first_chunk().ok_or(Error::Note)?;
            if !is_name(name) || signature.is_empty() {
                return Err(Error::Note);
            }
            if name == self.name && *hash == self.hash {
                // No signer writes two signatures of the same key.
                if ours.replace(signature.to_vec()).is_some() {
                    return Err(Error::Note);
                }
            }
        }
        let ours = ours.ok_or(Error::Signature)?;
        let ours = Signature::from_slice(&ours).map_err(|_| Error::Signature)?;
        self.key
            .verify_strict(body.as_bytes(), &ours)
            .map_err(|_| Error::Signature)?;
        Ok(body)
    }
}

fn key_hash(name: &str, key: &VerifyingKey) -> KeyHash {
    let digest: Hash = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(key.as_bytes())
        .finalize()
        .into();
    [digest[0], digest[1], digest[2], digest[3]]
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(may_be_in_name)
}

fn may_be_in_name(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && c != '+'
}
