//! The keyring of a test, and functions that decrypt what was encrypted with it.

use std::{path::Path, sync::Arc};

use line_chat_archive::seal::{
    Cipher, DirectoryKeyStore, Keyring, SealContext, SecretKey, key_of, stream,
};

/// A keyring in `dir` with its secret key; another keyring in the same directory decrypts what this one encrypts.
pub fn keyring(dir: &Path) -> Keyring {
    keyring_of(dir, Cipher::Sealed)
}

/// The same with another cipher.
pub fn keyring_of(dir: &Path, cipher: Cipher) -> Keyring {
    let secret = secret(dir);
    let key_store = DirectoryKeyStore::open(&dir.join("keyring")).expect("a directory");
    Keyring::new(&secret, Arc::new(key_store), cipher)
}

/// The secret key in `dir`, created if absent.
pub fn secret(dir: &Path) -> SecretKey {
    SecretKey::load_or_make(&dir.join("secret.key")).expect("a secret key")
}

/// A document, decrypted; `None` if that fails.
pub async fn opened(keyring: &Keyring, context: SealContext<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
    let key = keyring.find(key_of(sealed)?).await.ok()?;
    key.open(context, sealed).ok()
}

/// An object's bytes, decrypted with the sealed data key of its row.
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
    let pieces: Vec<bytes::Bytes> =
        stream::open(&data_key, SealContext::Object(key), all, sealed, body)
            .try_collect()
            .await
            .ok()?;
    Some(pieces.concat())
}

/// The number of bytes in the bucket after `plain` bytes of an unfinished object: a chunk is written when the next one
/// begins.
pub fn written_of(plain: usize) -> usize {
    plain.saturating_sub(1) / 65_536 * 65_552
}

/// The number of bytes in the bucket for a finished object of `plain` bytes.
pub fn sealed_size(plain: usize) -> usize {
    plain + 16 * plain.div_ceil(65_536).max(1)
}
