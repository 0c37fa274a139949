//! The bucket: objects are written once, read by range, and purged until they are confirmed gone.

mod directory;
mod key;

use std::{io, ops::Range, pin::Pin};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use url::Url;

use directory::Directory;
pub use directory::Writer;
pub use key::ObjectKey;

/// What went wrong with the bucket. Says nothing of what the object holds.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address names no bucket that can be opened.
    #[error("objects are kept at file:///an/absolute/directory; this is another kind of address")]
    Address,
    /// No object has this key, or it was purged while it was read.
    #[error("no such object")]
    NotFound,
    /// The probe came back as something else than was written.
    #[error("the bucket gives back other bytes than were written")]
    Corrupt,
    /// The file system refused.
    #[error("the objects' directory: {0}")]
    Io(#[from] io::Error),
}

/// The bytes of an object, in pieces of at most 64 KiB.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// A bucket. Clones share it.
#[derive(Clone, Debug)]
pub struct Objects(Place);

#[derive(Clone, Debug)]
enum Place {
    Directory(Directory),
}

impl Objects {
    /// Opens the bucket at `url`: `file:///dir`, an absolute directory that is made if it does not exist.
    pub async fn open(url: &Url) -> Result<Self, Error> {
        if url.scheme() != "file" {
            return Err(Error::Address);
        }
        let root = url.to_file_path().map_err(|()| Error::Address)?;
        Ok(Self(Place::Directory(Directory::open(root).await?)))
    }

    /// Begins to write `key`, which must be new. There is no object before [`Writer::finish`] has returned.
    pub async fn put(&self, key: ObjectKey) -> Result<Writer, Error> {
        match &self.0 {
            Place::Directory(directory) => directory.put(key).await,
        }
    }

    /// Size of the whole object in bytes, and the bytes of `range`, cut to that size (`None`: all of them).
    ///
    /// Where the object is purged while it is read, the body ends with [`Error::NotFound`].
    pub async fn get(
        &self,
        key: ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<(u64, Body), Error> {
        match &self.0 {
            Place::Directory(directory) => directory.get(key, range).await,
        }
    }

    /// Deletes `key`, finished or half written, and confirms that it is gone. One that never was is gone as well.
    pub async fn purge(&self, key: ObjectKey) -> Result<(), Error> {
        match &self.0 {
            Place::Directory(directory) => directory.purge(key).await,
        }
    }

    /// Writes a small value under a name of its own, beside the objects, in place of what was there before: wholly, or
    /// not at all. A name has a-z, 0-9, `-` and `.`.
    pub async fn write_named(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        match &self.0 {
            Place::Directory(directory) => directory.write_named(name, bytes).await,
        }
    }

    /// Reads what [`Objects::write_named`] wrote; `None` if there is nothing.
    pub async fn read_named(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match &self.0 {
            Place::Directory(directory) => directory.read_named(name).await,
        }
    }

    /// The keys of all finished objects, in no order.
    pub async fn list(&self) -> Result<Vec<ObjectKey>, Error> {
        match &self.0 {
            Place::Directory(directory) => directory.list(false).await,
        }
    }

    /// The keys of whatever a purge would take: finished objects and half written ones.
    pub async fn traces(&self) -> Result<Vec<ObjectKey>, Error> {
        match &self.0 {
            Place::Directory(directory) => directory.list(true).await,
        }
    }

    /// Writes, reads and purges a probe: succeeds only if the bucket can do all that the service asks of it.
    pub async fn check(&self) -> Result<(), Error> {
        const PROBE: &[u8] = b"probe";
        let key = ObjectKey::new();
        let mut writer = self.put(key).await?;
        writer.write(Bytes::from_static(PROBE)).await?;
        writer.finish().await?;
        let (_, body) = self.get(key, None).await?;
        let read: Vec<Bytes> = body.try_collect().await?;
        self.purge(key).await?;
        if read.concat() == PROBE {
            Ok(())
        } else {
            Err(Error::Corrupt)
        }
    }
}
