//! An object that is in use, read and decrypted for a response.

use std::{ops::Range, pin::Pin, time::Duration};

use actix_web::web;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream as stream_of};
use tokio::time::timeout;

use crate::{
    objects::{self, ObjectKey},
    records::{self, scrubs},
    seal::{self, DataKey, SealContext, key_of, stream},
    web::{Error, Remedy, Shared, detached},
};

/// How long the object store may be silent before a file is given up.
const OBJECTS_TIMEOUT: Duration = Duration::from_secs(10);

/// The plaintext of an object.
pub(super) type Body = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// An error in reading an object that is in use.
struct ReadError(Error);

impl From<objects::Error> for ReadError {
    fn from(error: objects::Error) -> Self {
        Self(match error {
            objects::Error::NotFound | objects::Error::Corrupt => Error::Damaged(Remedy::Checked),
            _ => Error::Unavailable("objects"),
        })
    }
}

impl From<seal::Error> for ReadError {
    fn from(error: seal::Error) -> Self {
        Self(match error {
            seal::Error::Unreadable => Error::Damaged(Remedy::Checked),
            error => error.into(),
        })
    }
}

impl From<seal::Error> for Error {
    fn from(error: seal::Error) -> Self {
        match error {
            seal::Error::NoKey | seal::Error::Damaged(_) => Self::KeyLost,
            seal::Error::Unreadable => Self::Internal("sealed"),
            _ => Self::Unavailable("keyring"),
        }
    }
}

/// An object with its data key.
pub(super) struct Object {
    key: ObjectKey,
    text: String,
    data_key: DataKey,
    /// Bytes of plaintext.
    pub(super) size: u64,
    sealed: u64,
}

impl Object {
    /// Finds an object that is in use. `all`: also one of a message that is withheld.
    pub(super) async fn find(
        shared: &web::Data<Shared>,
        key: &str,
        all: bool,
    ) -> Result<Self, Error> {
        let text = key.to_owned();
        let key = ObjectKey::parse(key).ok_or(Error::Internal("key"))?;
        let data_key = find_data_key(shared, &text, all).await?;
        let (sealed, _) = in_time(shared.objects.get(key, Some(0..0))).await?;
        Ok(Self {
            key,
            text,
            data_key,
            size: stream::plain_size(sealed),
            sealed,
        })
    }

    /// Checks that the object has its full length, before the first byte of the response: only its last chunk is sealed as the
    /// last one.
    pub(super) async fn check_last_chunk(&self, shared: &Shared) -> Result<(), Error> {
        let mut chunk = self.read(shared, stream::last_chunk(self.sealed)).await?;
        while chunk.try_next().await?.is_some() {}
        Ok(())
    }

    /// The bytes of `part`.
    pub(super) async fn read(&self, shared: &Shared, part: Range<u64>) -> Result<Body, Error> {
        let range = stream::sealed_range(&part, self.sealed);
        let (_, body) = in_time(shared.objects.get(self.key, Some(range))).await?;
        let body = body.map_err(ReadError::from);
        let context = SealContext::Object(&self.text);
        let plain = stream::open(&self.data_key, context, part, self.sealed, body);
        let plain = Box::pin(plain.map_err(|ReadError(error)| error));
        Ok(Box::pin(stream_of::try_unfold(plain, |mut plain| async {
            let next = timeout(OBJECTS_TIMEOUT, plain.try_next()).await;
            let next = next.map_err(|_| Error::Unavailable("objects"))??;
            Ok(next.map(|bytes| (bytes, plain)))
        })))
    }
}

/// Finds the data key of an object that is in use.
async fn find_data_key(shared: &web::Data<Shared>, key: &str, all: bool) -> Result<DataKey, Error> {
    let mut tried = None;
    loop {
        let head = head(shared, key, all).await?.ok_or(Error::NotFound)?;
        let wrapping = key_of(&head).ok_or(Error::Internal("sealed"))?;
        match shared.keyring.find(wrapping).await {
            Ok(found) => return Ok(found.open_data_key(&head)?),
            // An erasure destroys a key only after it has rewrapped what is still in use: then the row names another key now.
            Err(error) if error.is_permanent() => {
                if tried == Some(wrapping) {
                    return Err(Error::KeyLost);
                }
                tried = Some(wrapping);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The head of an object that is in use; `None` if it is not. `all`: as in [`Object::find`].
pub(super) async fn head(
    shared: &web::Data<Shared>,
    key: &str,
    all: bool,
) -> Result<Option<Vec<u8>>, Error> {
    let (shared, key) = (shared.clone(), key.to_owned());
    detached(async move {
        let mut conn = shared.pool.acquire().await?;
        Ok(match all {
            true => records::objects::head(&mut conn, &key).await?,
            false => records::objects::head_in_sight(&mut conn, &key).await?,
        })
    })
    .await
}

/// Notes that an object in use was found missing or damaged: the worker reads it too, and fetches it again.
pub(super) async fn suspect(shared: &web::Data<Shared>, key: String) {
    let shared = shared.clone();
    let noted = detached(async move {
        let mut conn = shared.pool.acquire().await?;
        Ok(scrubs::suspect(&mut conn, &key, shared.clock.now()).await?)
    });
    // If this fails, the scrub finds it.
    let _ = noted.await;
}

/// Waits for the object store, at most [`OBJECTS_TIMEOUT`].
async fn in_time<T>(answer: impl Future<Output = Result<T, objects::Error>>) -> Result<T, Error> {
    match timeout(OBJECTS_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| ReadError::from(error).0),
        Err(_) => Err(Error::Unavailable("objects")),
    }
}
