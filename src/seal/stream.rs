//! Objects, sealed in chunks, so that a range can be opened without the rest, and chunks cannot be reordered or cut off
//! unnoticed.
//!
//! STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015) over ChaCha20-Poly1305: the nonce of each 64 KiB chunk contains
//! its number and whether it is the last chunk. The data key of an object seals that object only, so the prefix of the
//! nonce is zero.

use std::ops::Range;

use aead_stream::{NewStream, StreamBE32, StreamPrimitive};
use bytes::{Bytes, BytesMut};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, aead::Payload};
use futures_util::{Stream, TryStreamExt, stream};

use super::{
    Error, SealContext,
    cipher::{Cipher, DataKey, TAG},
};

/// Bytes in a chunk before it is sealed.
const CHUNK: usize = 64 * 1024;
const SEALED_CHUNK: usize = CHUNK + TAG;

/// Seals an object while its bytes arrive.
pub struct Sealer {
    chunks: Chunks,
    waiting: BytesMut,
    position: u32,
}

impl Sealer {
    /// A sealer for the object of `context`.
    pub fn new(key: &DataKey, context: SealContext<'_>) -> Self {
        Self {
            chunks: Chunks::new(key, context),
            waiting: BytesMut::new(),
            position: 0,
        }
    }

    /// Adds `bytes`. Returns the sealed chunks that are complete by now; empty if none is.
    ///
    /// # Errors
    /// [`Error::Unreadable`] after 256 TiB: the number of a chunk has 32 bits.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Bytes, Error> {
        self.waiting.extend_from_slice(bytes);
        let mut sealed = BytesMut::new();
        // A full chunk waits until more bytes arrive, because it may be the last one.
        while self.waiting.len() > CHUNK {
            let chunk = self.waiting.split_to(CHUNK);
            sealed.extend_from_slice(&self.chunks.seal(self.position, false, &chunk)?);
            self.position = self.position.checked_add(1).ok_or(Error::Unreadable)?;
        }
        Ok(sealed.freeze())
    }

    /// Seals and returns the last chunk, which may contain no bytes of the object.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if the cipher refuses a chunk of 64 KiB, which does not happen.
    pub fn finish(self) -> Result<Bytes, Error> {
        let last = self.chunks.seal(self.position, true, &self.waiting)?;
        Ok(last.into())
    }
}

/// The size in bytes before sealing of an object that has `sealed` bytes.
pub fn plain_size(sealed: u64) -> u64 {
    sealed.saturating_sub(count(sealed) * TAG as u64)
}

fn count(sealed: u64) -> u64 {
    sealed.div_ceil(SEALED_CHUNK as u64).max(1)
}

/// The range of content in the last chunk of an object of `sealed` bytes. To open it proves that the object is whole: its number
/// and its being the last one are authenticated.
pub fn last_chunk(sealed: u64) -> Range<u64> {
    let start = (count(sealed) - 1) * CHUNK as u64;
    start..plain_size(sealed).max(start)
}

/// The range of bytes to read from a sealed object of `sealed` bytes, to open the range `plain` of its content.
pub fn sealed_range(plain: &Range<u64>, sealed: u64) -> Range<u64> {
    let first = first_chunk(plain, sealed);
    let behind = plain.end.div_ceil(CHUNK as u64).max(first + 1);
    let at = |chunk: u64| (chunk * SEALED_CHUNK as u64).min(sealed);
    at(first)..at(behind)
}

/// The chunk that holds the first byte of `plain`, or the last chunk if `plain` is empty at the end.
fn first_chunk(plain: &Range<u64>, sealed: u64) -> u64 {
    (plain.start / CHUNK as u64).min(count(sealed) - 1)
}

/// Opens the range `plain` of an object of `sealed` bytes. `body` is the [`sealed_range`] of it.
///
/// The stream yields authenticated bytes only. It ends in an error if chunks were altered, cut off or reordered. An empty range
/// is opened too: an object of which nothing is left is not an empty file.
pub fn open<S, E>(
    key: &DataKey,
    context: SealContext<'_>,
    plain: Range<u64>,
    sealed: u64,
    body: S,
) -> impl Stream<Item = Result<Bytes, E>> + Send + use<S, E>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    E: From<Error> + Send,
{
    let first = first_chunk(&plain, sealed);
    let state = Opening {
        chunks: Chunks::new(key, context),
        body,
        read: BytesMut::new(),
        position: first,
        last: count(sealed) - 1,
        left: plain
            .end
            .min(plain_size(sealed))
            .saturating_sub(plain.start),
        skip: usize::try_from(plain.start - first * CHUNK as u64).unwrap_or(usize::MAX),
        ends: sealed == 0,
        opened: false,
    };
    stream::try_unfold(state, |mut state| async move {
        let chunk = state.next().await?;
        Ok(chunk.map(|chunk| (chunk, state)))
    })
}

struct Opening<S> {
    chunks: Chunks,
    body: S,
    read: BytesMut,
    position: u64,
    last: u64,
    left: u64,
    skip: usize,
    ends: bool,
    /// True once a chunk was opened.
    opened: bool,
}

impl<S> Opening<S> {
    async fn next<E>(&mut self) -> Result<Option<Bytes>, E>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: From<Error> + Send,
    {
        if self.left == 0 && self.opened {
            return Ok(None);
        }
        while self.read.len() < SEALED_CHUNK && !self.ends {
            match self.body.try_next().await? {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                None => self.ends = true,
            }
        }
        let length = self.read.len().min(SEALED_CHUNK);
        let sealed = self.read.split_to(length);
        let position = u32::try_from(self.position).map_err(|_| Error::Unreadable)?;
        let mut chunk = self
            .chunks
            .open(position, self.position == self.last, &sealed)?;
        self.position += 1;
        self.opened = true;
        if self.left == 0 {
            return Ok(None);
        }
        let mut chunk = Bytes::from(std::mem::take(&mut chunk));
        let skipped = chunk.split_to(self.skip.min(chunk.len()));
        self.skip -= skipped.len();
        chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        if chunk.is_empty() {
            return Err(Error::Unreadable.into());
        }
        self.left -= chunk.len() as u64;
        Ok(Some(chunk))
    }
}

struct Chunks {
    cipher: Cipher,
    stream: StreamBE32<ChaCha20Poly1305>,
    context: Vec<u8>,
}

impl Chunks {
    fn new(key: &DataKey, context: SealContext<'_>) -> Self {
        let cipher = ChaCha20Poly1305::new((&*key.bytes).into());
        Self {
            cipher: key.cipher,
            stream: StreamBE32::from_aead(cipher, &[0; 7].into()),
            context: context.bytes(),
        }
    }

    fn seal(&self, position: u32, last: bool, plain: &[u8]) -> Result<Vec<u8>, Error> {
        if self.cipher == Cipher::Null {
            return Ok([plain, &[0; TAG]].concat());
        }
        let payload = Payload {
            msg: plain,
            aad: &self.context,
        };
        let sealed = self.stream.encrypt(position, last, payload);
        sealed.map_err(|_| Error::Unreadable)
    }

    fn open(&self, position: u32, last: bool, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        if self.cipher == Cipher::Null {
            let length = sealed.len().checked_sub(TAG).ok_or(Error::Unreadable)?;
            return Ok(sealed[..length].to_vec());
        }
        let payload = Payload {
            msg: sealed,
            aad: &self.context,
        };
        let plain = self.stream.decrypt(position, last, payload);
        plain.map_err(|_| Error::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use zeroize::Zeroizing;

    use super::*;
    use crate::seal::WrappingKey;

    const HERE: SealContext<'_> = SealContext::Object("here");

    fn key() -> DataKey {
        let key = WrappingKey::new(Uuid::nil(), Zeroizing::new([1; 32]), Cipher::Sealed);
        key.new_data_key().unwrap().0
    }

    fn sealed(key: &DataKey, plain: &[u8], step: usize) -> Vec<u8> {
        let mut sealer = Sealer::new(key, HERE);
        let mut sealed = Vec::new();
        for bytes in plain.chunks(step) {
            sealed.extend_from_slice(&sealer.push(bytes).unwrap());
        }
        sealed.extend_from_slice(&sealer.finish().unwrap());
        sealed
    }

    async fn opened(
        key: &DataKey,
        context: SealContext<'_>,
        plain: Range<u64>,
        object: &[u8],
        step: usize,
    ) -> Result<Vec<u8>, Error> {
        let size = object.len() as u64;
        let range = sealed_range(&plain, size);
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        let pieces: Vec<Result<Bytes, Error>> = object[range]
            .chunks(step)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let body = open(key, context, plain, size, stream::iter(pieces));
        let chunks: Vec<Bytes> = Box::pin(body).try_collect().await?;
        Ok(chunks.concat())
    }

    #[tokio::test]
    async fn any_range_of_any_size_comes_back() {
        let key = key();
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7] {
            let plain: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            for step in [1000, CHUNK, 5 * CHUNK] {
                let object = sealed(&key, &plain, step);
                assert_eq!(plain_size(object.len() as u64), size as u64);
                let edges = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, size / 2, size];
                for from in edges.into_iter().filter(|from| *from <= size) {
                    for to in edges.into_iter().filter(|to| (from..=size).contains(to)) {
                        let range = from as u64..to as u64;
                        let read = opened(&key, HERE, range, &object, step).await.unwrap();
                        assert_eq!(read, plain[from..to], "{size}: {from}..{to}");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_cut_altered_swapped_or_elsewhere_is_not_opened() {
        let key = key();
        let plain = vec![7; 2 * CHUNK + 9];
        let object = sealed(&key, &plain, CHUNK);
        let all = 0..plain.len() as u64;
        let mut swapped = object.clone();
        let (one, rest) = swapped.split_at_mut(SEALED_CHUNK);
        one.swap_with_slice(&mut rest[..SEALED_CHUNK]);
        let mut altered = object.clone();
        altered[SEALED_CHUNK + 5] ^= 1;
        let longer = [&object[..], &object[2 * SEALED_CHUNK..]].concat();
        for wrong in [
            &object[..2 * SEALED_CHUNK],
            &object[..object.len() - 1],
            &swapped,
            &altered,
            &longer,
        ] {
            let range = 0..plain_size(wrong.len() as u64);
            assert!(opened(&key, HERE, range, wrong, CHUNK).await.is_err());
        }
        let elsewhere = opened(
            &key,
            SealContext::Object("there"),
            all.clone(),
            &object,
            CHUNK,
        );
        assert!(elsewhere.await.is_err());
        assert!(
            opened(&self::key(), HERE, all, &object, CHUNK)
                .await
                .is_err()
        );
        // Nothing is left of it, or as much as of an empty file.
        for cut in [0, TAG] {
            assert!(
                opened(&key, HERE, 0..0, &object[..cut], CHUNK)
                    .await
                    .is_err()
            );
        }
    }
}
