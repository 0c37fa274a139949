//! Wrapping keys and data keys: how documents are sealed and opened, and how data keys are wrapped.

use std::fmt;

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit, XChaCha20Poly1305,
    aead::{Aead, AeadInOut, Payload},
};
use rand::Rng;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Error, SealContext};

/// Length of a head in bytes.
pub const HEAD: usize = 1 + ID + NONCE + WRAPPED;

const ID: usize = 16;
const NONCE: usize = 24;
const WRAPPED: usize = 32 + TAG;
pub(super) const TAG: usize = 16;

/// Nonce of a document. The data key of a document is used once, so the nonce may be zero.
const ALONE: [u8; 12] = [0; 12];
/// Nonce of data that is stored beside an object. The nonces of the object's chunks begin with zeros, so no chunk has
/// this nonce.
const BESIDE: [u8; 12] = [0xff; 12];

const SEALED: u8 = 1;
const NULL: u8 = 0;

/// Whether values are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// Encrypted and authenticated. Every installation uses this.
    Sealed,
    /// Not encrypted, in the same form and length: to measure what sealing costs, and to prove that the tests that
    /// search for traces of erased content would find some. No setting selects it.
    Null,
}

/// A key that wraps data keys: a key of the keyring, or one that is derived from the secret key.
pub struct WrappingKey {
    id: Uuid,
    bytes: Zeroizing<[u8; 32]>,
    cipher: Cipher,
}

/// The key that seals one document or object.
pub struct DataKey {
    pub(super) bytes: Zeroizing<[u8; 32]>,
    pub(super) cipher: Cipher,
}

impl WrappingKey {
    pub(super) fn new(id: Uuid, bytes: Zeroizing<[u8; 32]>, cipher: Cipher) -> Self {
        Self { id, bytes, cipher }
    }

    /// The id of the key. It reveals nothing.
    pub fn id(&self) -> Uuid {
        self.id
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Seals a document in its context.
    ///
    /// # Errors
    /// [`Error::Unreadable`], only for documents of hundreds of gigabytes.
    pub fn seal(&self, context: SealContext<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let (key, head) = self.data_key(&[])?;
        let mut sealed = Vec::with_capacity(HEAD + plain.len() + TAG);
        sealed.extend_from_slice(&head);
        key.encrypt_into(&mut sealed, &ALONE, &context.bytes(), plain)?;
        Ok(sealed)
    }

    /// Opens a document that was sealed under this key in this context.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if it was altered, or was sealed under another key or in another context.
    pub fn open(&self, context: SealContext<'_>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (head, body) = sealed.split_at_checked(HEAD).ok_or(Error::Unreadable)?;
        self.unwrap(&[], head)?
            .decrypt(&ALONE, &context.bytes(), body)
    }

    /// Makes a random data key. Returns it with the head that contains it wrapped.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if the cipher refuses to wrap 32 bytes, which does not happen.
    pub fn new_data_key(&self) -> Result<(DataKey, Vec<u8>), Error> {
        self.data_key(&[])
    }

    /// Unwraps the data key in `head`.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if the head was altered, or is not under this key.
    pub fn open_data_key(&self, head: &[u8]) -> Result<DataKey, Error> {
        self.unwrap(&[], head)
    }

    /// Rewraps the data key in `head`, which is under `old`, under this key, and returns the new head. The sealed
    /// document itself stays as it is.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if the head was altered, or is not under `old`.
    pub fn rewrap(&self, old: &Self, head: &[u8]) -> Result<Vec<u8>, Error> {
        let key = old.unwrap(&[], head)?;
        self.wrap(&[], &key.bytes)
    }

    pub(super) fn data_key(&self, bound_to: &[u8]) -> Result<(DataKey, Vec<u8>), Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(bytes.as_mut_slice());
        let head = self.wrap(bound_to, &bytes)?;
        let cipher = self.cipher;
        Ok((DataKey { bytes, cipher }, head))
    }

    fn wrap(&self, bound_to: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, Error> {
        let mut head = Vec::with_capacity(HEAD);
        let mut nonce = [0; NONCE];
        match self.cipher {
            Cipher::Null => {
                head.push(NULL);
                head.extend_from_slice(self.id.as_bytes());
                head.extend_from_slice(&nonce);
                head.extend_from_slice(key);
                head.extend_from_slice(&[0; TAG]);
            }
            Cipher::Sealed => {
                rand::rng().fill_bytes(&mut nonce);
                head.push(SEALED);
                head.extend_from_slice(self.id.as_bytes());
                head.extend_from_slice(&nonce);
                let aad = [self.id.as_bytes(), bound_to].concat();
                let cipher = XChaCha20Poly1305::new((&*self.bytes).into());
                let wrapped = cipher
                    .encrypt(
                        (&nonce).into(),
                        Payload {
                            msg: key,
                            aad: &aad,
                        },
                    )
                    .map_err(|_| Error::Unreadable)?;
                head.extend_from_slice(&wrapped);
            }
        }
        Ok(head)
    }

    pub(super) fn unwrap(&self, bound_to: &[u8], head: &[u8]) -> Result<DataKey, Error> {
        if head.len() != HEAD || key_of(head) != Some(self.id) {
            return Err(Error::Unreadable);
        }
        let nonce = &head[1 + ID..1 + ID + NONCE];
        let wrapped = &head[1 + ID + NONCE..];
        let plain = match (head[0], self.cipher) {
            (NULL, Cipher::Null) => Zeroizing::new(wrapped[..32].to_vec()),
            (SEALED, _) => {
                let aad = [self.id.as_bytes(), bound_to].concat();
                let nonce = <[u8; NONCE]>::try_from(nonce).map_err(|_| Error::Unreadable)?;
                let cipher = XChaCha20Poly1305::new((&*self.bytes).into());
                let opened = cipher.decrypt(
                    (&nonce).into(),
                    Payload {
                        msg: wrapped,
                        aad: &aad,
                    },
                );
                Zeroizing::new(opened.map_err(|_| Error::Unreadable)?)
            }
            _ => return Err(Error::Unreadable),
        };
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(&plain);
        let cipher = if head[0] == NULL {
            Cipher::Null
        } else {
            Cipher::Sealed
        };
        Ok(DataKey { bytes, cipher })
    }
}

impl DataKey {
    /// Seals a few bytes that belong to the object of this key and are stored elsewhere. Call it at most once for each
    /// key, because the nonce is constant.
    ///
    /// # Errors
    /// [`Error::Unreadable`], only for hundreds of gigabytes.
    pub fn seal_beside(&self, context: SealContext<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut sealed = vec![];
        self.encrypt_into(&mut sealed, &BESIDE, &context.bytes(), plain)?;
        Ok(sealed)
    }

    /// Opens bytes that [`DataKey::seal_beside`] sealed in this context.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if they were altered, or were sealed with another key or in another context.
    pub fn open_beside(&self, context: SealContext<'_>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        self.decrypt(&BESIDE, &context.bytes(), sealed)
    }

    fn encrypt_into(
        &self,
        sealed: &mut Vec<u8>,
        nonce: &[u8; 12],
        aad: &[u8],
        plain: &[u8],
    ) -> Result<(), Error> {
        let start = sealed.len();
        sealed.extend_from_slice(plain);
        match self.cipher {
            Cipher::Null => sealed.extend_from_slice(&[0; TAG]),
            Cipher::Sealed => {
                let cipher = ChaCha20Poly1305::new((&*self.bytes).into());
                let tag = cipher
                    .encrypt_inout_detached(nonce.into(), aad, (&mut sealed[start..]).into())
                    .map_err(|_| Error::Unreadable)?;
                sealed.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    fn decrypt(&self, nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        match self.cipher {
            Cipher::Null => {
                let length = sealed.len().checked_sub(TAG).ok_or(Error::Unreadable)?;
                Ok(sealed[..length].to_vec())
            }
            Cipher::Sealed => ChaCha20Poly1305::new((&*self.bytes).into())
                .decrypt(nonce.into(), Payload { msg: sealed, aad })
                .map_err(|_| Error::Unreadable),
        }
    }
}

/// The id of the wrapping key that a document, or a head, is sealed under; `None` if `sealed` is too short.
pub fn key_of(sealed: &[u8]) -> Option<Uuid> {
    Uuid::from_slice(sealed.get(1..1 + ID)?).ok()
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappingKey({})", self.id)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> WrappingKey {
        WrappingKey::new(
            Uuid::new_v4(),
            Zeroizing::new(rand::random()),
            Cipher::Sealed,
        )
    }

    #[test]
    fn a_document_comes_back_from_its_place_alone() {
        let (key, here, there) = (key(), Uuid::new_v4(), Uuid::new_v4());
        let sealed = key.seal(SealContext::Event(here), b"said").unwrap();
        assert_eq!(sealed.len(), HEAD + 4 + TAG);
        assert_eq!(key_of(&sealed), Some(key.id()));
        assert_eq!(
            key.open(SealContext::Event(here), &sealed).unwrap(),
            b"said"
        );
        for elsewhere in [
            SealContext::Event(there),
            SealContext::Profile(here),
            SealContext::Message(here),
        ] {
            assert!(key.open(elsewhere, &sealed).is_err(), "{elsewhere:?}");
        }
        let other = WrappingKey::new(key.id(), Zeroizing::new(rand::random()), Cipher::Sealed);
        assert!(other.open(SealContext::Event(here), &sealed).is_err());
    }

    #[test]
    fn no_byte_of_a_document_can_be_altered() {
        let (key, id) = (key(), Uuid::new_v4());
        let sealed = key.seal(SealContext::Event(id), b"said").unwrap();
        for at in 0..sealed.len() {
            for bit in [1, 128] {
                let mut altered = sealed.clone();
                altered[at] ^= bit;
                assert!(
                    key.open(SealContext::Event(id), &altered).is_err(),
                    "byte {at}"
                );
            }
            assert!(key.open(SealContext::Event(id), &sealed[..at]).is_err());
        }
    }

    #[test]
    fn what_lies_beside_an_object_opens_with_its_key_alone_and_is_none_of_its_chunks() {
        let (data, _) = key().new_data_key().unwrap();
        let (other, _) = key().new_data_key().unwrap();
        let here = SealContext::Object("here");
        let sealed = data.seal_beside(here, b"colours").unwrap();
        assert_eq!(data.open_beside(here, &sealed).unwrap(), b"colours");
        assert!(
            data.open_beside(SealContext::Object("there"), &sealed)
                .is_err()
        );
        assert!(other.open_beside(here, &sealed).is_err());
        let mut chunk = super::super::stream::Sealer::new(&data, here);
        chunk.push(b"colours").unwrap();
        assert_ne!(
            chunk.finish().unwrap()[..7],
            sealed[..7],
            "another key stream"
        );
    }

    #[test]
    fn the_same_words_never_look_the_same() {
        let (key, id) = (key(), Uuid::new_v4());
        let one = key.seal(SealContext::Event(id), &[0; 64]).unwrap();
        let two = key.seal(SealContext::Event(id), &[0; 64]).unwrap();
        assert!(
            one[17..]
                .chunks(16)
                .zip(two[17..].chunks(16))
                .all(|(a, b)| a != b)
        );
    }

    #[test]
    fn under_a_new_key_the_old_one_opens_nothing_and_the_words_are_the_same() {
        let (old, new, id) = (key(), key(), Uuid::new_v4());
        let mut sealed = old.seal(SealContext::Event(id), b"said").unwrap();
        let head = new.rewrap(&old, &sealed[..HEAD]).unwrap();
        sealed[..HEAD].copy_from_slice(&head);
        assert_eq!(new.open(SealContext::Event(id), &sealed).unwrap(), b"said");
        assert!(old.open(SealContext::Event(id), &sealed).is_err());
        assert!(new.rewrap(&old, &head).is_err());
    }

    #[test]
    fn what_was_not_sealed_is_not_taken_for_sealed() {
        let id = Uuid::new_v4();
        let null = WrappingKey::new(Uuid::new_v4(), Zeroizing::new([7; 32]), Cipher::Null);
        let sealed = null.seal(SealContext::Event(id), b"said").unwrap();
        assert_eq!(null.open(SealContext::Event(id), &sealed).unwrap(), b"said");
        let real = WrappingKey::new(null.id(), Zeroizing::new([7; 32]), Cipher::Sealed);
        assert!(real.open(SealContext::Event(id), &sealed).is_err());
        assert_eq!(
            sealed.len(),
            real.seal(SealContext::Event(id), b"said").unwrap().len()
        );
    }
}
