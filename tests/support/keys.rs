//! The keyring of a test's world, and what is sealed under it, opened.

use std::{path::Path, sync::Arc};

use line_chat_archive::seal::{Cipher, Directory, Keyring, Place, SecretKey, key_of, stream};

/// A keyring in `dir`, with the secret key there; another one in the same place opens what this one has sealed.
pub fn keyring(dir: &Path) -> Keyring {
    let secret = secret(dir);
    let shelf = Directory::open(&dir.join("keyring")).expect("a directory");
    Keyring::new(&secret, Arc::new(shelf), Cipher::Sealed)
}

/// The secret key of that place.
pub fn secret(dir: &Path) -> SecretKey {
    SecretKey::load_or_make(&dir.join("secret.key")).expect("a secret key")
}

/// A document, opened; `None` if it cannot be.
pub async fn opened(keyring: &Keyring, place: Place<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
    let key = keyring.find(key_of(sealed)?).await.ok()?;
    key.open(place, sealed).ok()
}

/// An object's bytes, opened with the head in its row.
pub async fn opened_object(
    keyring: &Keyring,
    key: &str,
    head: &[u8],
    bytes: Vec<u8>,
) -> Option<Vec<u8>> {
    use futures_util::{TryStreamExt, stream as streams};
    let wrapping = keyring.find(key_of(head)?).await.ok()?;
    let data_key = wrapping.open_data_key(head).ok()?;
    let sealed = bytes.len() as u64;
    let body = streams::iter([Ok::<_, line_chat_archive::seal::Error>(bytes.into())]);
    let all = 0..stream::plain_size(sealed);
    let pieces: Vec<bytes::Bytes> = stream::open(&data_key, Place::Object(key), all, sealed, body)
        .try_collect()
        .await
        .ok()?;
    Some(pieces.concat())
}

/// Bytes in the bucket once `plain` bytes of an object have come and it is not finished: a chunk is written when the next
/// one begins.
pub fn written_of(plain: usize) -> usize {
    plain.saturating_sub(1) / 65_536 * 65_552
}

/// Bytes in the bucket of a finished object of `plain` bytes.
pub fn sealed_size(plain: usize) -> usize {
    plain + 16 * plain.div_ceil(65_536).max(1)
}
