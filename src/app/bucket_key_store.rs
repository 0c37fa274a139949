//! The keyring in S3.

use std::io;

use futures_util::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use uuid::Uuid;

use crate::{
    objects::{self, Objects},
    seal::{Error, KeyStore},
};

/// A keyring in S3: each key is an object of its own, and is destroyed with all versions of the object.
#[derive(Debug)]
pub(super) struct BucketKeyStore(pub Objects);

/// How many keys are written or destroyed at the same time.
const PARALLEL_REQUESTS: usize = 16;

fn named(id: Uuid) -> String {
    format!("keys/{}", id.simple())
}

fn to_io_error(error: objects::Error) -> Error {
    Error::Io(io::Error::other(error))
}

impl KeyStore for BucketKeyStore {
    fn put<'a>(&'a self, keys: &'a [(Uuid, Vec<u8>)]) -> BoxFuture<'a, Result<(), Error>> {
        let bucket = &self.0;
        let written = stream::iter(keys).map(move |(id, key)| async move {
            let written = bucket.write_named(&named(*id), key.clone()).await;
            written.map_err(to_io_error)
        });
        Box::pin(written.buffer_unordered(PARALLEL_REQUESTS).try_collect())
    }

    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<u8>, Error>> {
        Box::pin(async move {
            let found = self.0.read_named(&named(id)).await;
            found.map_err(to_io_error)?.ok_or(Error::NoKey)
        })
    }

    fn name(&self, id: Uuid) -> String {
        named(id)
    }

    fn destroy<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), Error>> {
        let purged = stream::iter(ids).map(move |id| async move {
            let purged = self.0.purge_named(&named(*id)).await;
            purged.map_err(to_io_error)
        });
        Box::pin(purged.buffer_unordered(PARALLEL_REQUESTS).try_collect())
    }
}
