//! Digests as text: base64 with padding, in its one canonical form.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::Hash;

pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub fn hash(text: &str) -> Option<Hash> {
    decode(text)?.try_into().ok()
}

pub fn from_hashes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| encode(hash)).collect()
}

/// `None` if one of the texts is not a digest.
pub fn to_hashes(texts: &[String]) -> Option<Vec<Hash>> {
    texts.iter().map(|text| hash(text)).collect()
}
