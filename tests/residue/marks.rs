//! Marks: random words that appear nowhere else, and that no compressor shortens.

/// 20 random characters of base32.
pub fn mark() -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let random: [u8; 20] = rand::random();
    random
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}

/// `count` marks.
pub fn marks(count: usize) -> Vec<String> {
    (0..count).map(|_| mark()).collect()
}
