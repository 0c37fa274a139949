//! The object store: objects are written once, read by range, and purged until they are confirmed gone.

mod access;
mod directory;
mod key;
mod s3;

use std::{
    io,
    ops::Range,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use url::Url;

use crate::marked::Marking;
pub use access::{Encryption, S3Settings};
use directory::Directory;
pub use key::{ObjectKey, Shard};
use s3::{MarkedS3, S3};

/// A failure of the object store. Its text contains neither the content of objects nor credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL names no directory or bucket that can be opened.
    #[error("the address has to be file:///an/absolute/directory or s3://bucket/prefix")]
    Address,
    /// A setting for the access to S3 is missing or invalid.
    #[error("{0}")]
    Access(&'static str),
    /// No object has this key, or it was purged while it was read.
    #[error("no such object")]
    NotFound,
    /// The object store returned other bytes, or another number of bytes, than were written.
    #[error("the object store returned different bytes than were written")]
    Corrupt,
    /// A file operation failed.
    #[error("the bucket's directory: {0}")]
    Io(#[from] io::Error),
    /// S3 rejected the credentials: unknown access key, wrong secret, or an expired token.
    #[error(
        "S3 refuses the access key: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION"
    )]
    BadCredentials,
    /// S3 has no bucket of this name at this endpoint and in this region.
    #[error(
        "S3 has no bucket of this name: check it in OBJECTS_URL, KEYRING_URL or LEDGER_COPIES, and AWS_ENDPOINT and AWS_REGION"
    )]
    NoBucket,
    /// The access key lacks the right for this operation.
    #[error("S3 denied permission to {0}: grant this right to the access key")]
    Refused(&'static str),
    /// The bucket lacks this mark.
    #[error(
        "the bucket has no mark of this archive: check name and prefix in OBJECTS_URL, KEYRING_URL or LEDGER_COPIES. If they are \
         right, write this line into its object archive/mark: {0}"
    )]
    Unmarked(String),
    /// S3 refused a step of a purge: a right is missing, or the bucket locks its objects.
    #[error(
        "purge refused: S3 refuses to {0}. Give the access key this right, and take object lock and retention off the bucket: what cannot be deleted cannot be kept here"
    )]
    PurgeRefused(&'static str),
    /// The bucket locks every object for a time, by a default retention of object lock.
    #[error(
        "the bucket locks every object for a time (a default retention of object lock): take that off, or choose another bucket, for what is unsent has to go at once"
    )]
    Locked,
    /// The object store did not answer in time.
    #[error("the object store does not answer")]
    Silent,
    /// The object was deleted several times, and is still there.
    #[error("an object is still there after it was deleted")]
    Remains,
    /// S3 refused a request whose signature time differs too much from its own clock.
    #[error("S3 refuses requests of this machine's clock: set the clock (S3 allows 15 minutes)")]
    Clock,
    /// S3 failed, or could not be reached: the operation, and the reason.
    #[error("S3 failed to {0}: {1}")]
    Trouble(&'static str, &'static str),
}

/// The bytes of an object, in pieces of at most 64 KiB.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// Keys in no particular order; a key may occur more than once.
pub type Keys = Pin<Box<dyn Stream<Item = Result<ObjectKey, Error>> + Send>>;

/// An object store. Clones share it.
#[derive(Clone, Debug)]
pub struct Objects {
    backend: Backend,
    place: Arc<str>,
    under_way: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
enum Backend {
    Directory(Directory),
    S3(Arc<MarkedS3>),
}

impl Objects {
    /// As [`Objects::open_with`], for a directory without a mark, which needs no [`S3Settings`] and is made if absent: for
    /// tests and the demo, whose files go at the end.
    pub async fn open(url: &Url) -> Result<Self, Error> {
        Self::open_with(url, &S3Settings::default(), Marking::MakeUnmarked).await
    }

    /// Opens the object store at `url`: `file:///dir`, an absolute directory, which is made and marked as `marking` says,
    /// or `s3://bucket/prefix`, an existing bucket, whose mark is an object beside the others. Sends no request to S3 if it
    /// needs no mark.
    pub async fn open_with(
        url: &Url,
        settings: &S3Settings,
        marking: Marking,
    ) -> Result<Self, Error> {
        let backend = match url.scheme() {
            "file" => {
                let root = url.to_file_path().map_err(|()| Error::Address)?;
                Backend::Directory(Directory::open(root, marking).await?)
            }
            "s3" => Backend::S3(Arc::new(
                MarkedS3::open(S3::open(url, settings)?, marking).await?,
            )),
            _ => return Err(Error::Address),
        };
        let path = url.to_file_path().ok();
        let path = path.map(|path| path.display().to_string());
        Ok(Self {
            backend,
            place: path.unwrap_or_else(|| url.to_string()).into(),
            under_way: Arc::default(),
        })
    }

    /// Its directory, or its bucket and prefix, for messages. It contains no credentials.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Checks whether [`Objects::open_with`] accepts the form of `url`. Has no side effects and uses no network.
    ///
    /// # Errors
    /// [`Error::Address`] if `url` has another form; [`Error::Access`] if a setting for S3 is missing or invalid.
    pub fn check_form(url: &Url, settings: &S3Settings) -> Result<(), Error> {
        match url.scheme() {
            "file" => url.to_file_path().map(drop).map_err(|()| Error::Address),
            "s3" => S3::check_form(url, settings),
            _ => Err(Error::Address),
        }
    }

    /// Begins to write `key`, which must be new. The object does not exist before [`Writer::finish`] is called.
    pub async fn put(&self, key: ObjectKey) -> Result<Writer, Error> {
        let inner = match &self.backend {
            Backend::Directory(directory) => BackendWriter::File(directory.put(key).await?),
            Backend::S3(s3) => BackendWriter::Upload(s3.put(key).await?),
        };
        Ok(Writer {
            inner,
            taken: Taken(Arc::clone(&self.under_way), 0),
        })
    }

    /// Returns the size of the whole object in bytes, and the bytes of `range`, cut to that size (`None`: all of them).
    ///
    /// If the object is purged while it is read, the body ends with [`Error::NotFound`]; from S3, after at most 2 MiB
    /// more.
    pub async fn get(
        &self,
        key: ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<(u64, Body), Error> {
        match &self.backend {
            Backend::Directory(directory) => directory.get(key, range).await,
            Backend::S3(s3) => s3.get(key, range).await,
        }
    }

    /// Deletes `key`, finished or half-written, with all its versions, and confirms that it is gone. Idempotent: a key
    /// that never existed counts as gone.
    pub async fn purge(&self, key: ObjectKey) -> Result<(), Error> {
        match &self.backend {
            Backend::Directory(directory) => directory.purge(key).await,
            Backend::S3(s3) => s3.purge(key).await,
        }
    }

    /// Writes a small value beside the objects, under `name`, which is `directory/name` of a-z, 0-9, `-` and `.`.
    /// Replaces an earlier value atomically.
    pub async fn write_named(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        match &self.backend {
            Backend::Directory(directory) => directory.write_named(name, bytes).await,
            Backend::S3(s3) => s3.write_named(name, bytes).await,
        }
    }

    /// Reads a value that [`Objects::write_named`] wrote; `None` if there is no such value.
    pub async fn read_named(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match &self.backend {
            Backend::Directory(directory) => directory.read_named(name).await,
            Backend::S3(s3) => s3.read_named(name).await,
        }
    }

    /// Deletes a value that [`Objects::write_named`] wrote, with all its versions, and confirms that it is gone.
    pub async fn purge_named(&self, name: &str) -> Result<(), Error> {
        match &self.backend {
            Backend::Directory(directory) => directory.purge_named(name).await,
            Backend::S3(s3) => s3.purge_named(name).await,
        }
    }

    /// Whether a finished object with this key exists.
    pub async fn has(&self, key: ObjectKey) -> Result<bool, Error> {
        match &self.backend {
            Backend::Directory(directory) => directory.has(key).await,
            Backend::S3(s3) => s3.has(key).await,
        }
    }

    /// Whether an object can be missing now and be there later: a directory can be moved aside with the files in it.
    ///
    /// Never in S3: a bucket with its mark has all of its objects. If one is missing there, its former versions are purged
    /// like any others.
    pub fn can_lose_objects(&self) -> bool {
        matches!(self.backend, Backend::Directory(_))
    }

    /// The keys of all finished objects in `shard`.
    pub fn list(&self, shard: Shard) -> Keys {
        match &self.backend {
            Backend::Directory(directory) => directory.list(shard, false),
            Backend::S3(s3) => s3.list(shard),
        }
    }

    /// The keys in `shard` of everything that a purge would delete: finished objects, half-written ones, former
    /// versions, delete markers.
    pub fn traces(&self, shard: Shard) -> Keys {
        match &self.backend {
            Backend::Directory(directory) => directory.list(shard, true),
            Backend::S3(s3) => s3.traces(shard),
        }
    }

    /// Bytes that writers of this process have accepted and not finished. Part of them may still be in memory.
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Acquire)
    }

    /// Writes, reads and purges a probe object. Succeeds only if the object store supports all operations that the
    /// service needs, and really deletes purged objects.
    pub async fn check(&self) -> Result<(), Error> {
        const PROBE: &[u8] = b"probe";
        let key = ObjectKey::new();
        if let Backend::S3(s3) = &self.backend {
            s3.check(key).await?;
        }
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

/// Writes one object. Dropped before [`Writer::finish`], it leaves no object; in S3 it may leave parts, which a purge
/// deletes.
#[derive(Debug)]
pub struct Writer {
    inner: BackendWriter,
    taken: Taken,
}

/// The bytes that a writer has added to [`Objects::under_way`]. Subtracts them when the writer ends.
#[derive(Debug)]
struct Taken(Arc<AtomicU64>, u64);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::AcqRel);
    }
}

#[derive(Debug)]
enum BackendWriter {
    File(directory::Writer),
    Upload(s3::Writer),
}

impl Writer {
    /// Adds `bytes`. After an error the writer cannot be used any more.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let size = bytes.len() as u64;
        match &mut self.inner {
            BackendWriter::File(file) => file.write(bytes).await?,
            BackendWriter::Upload(upload) => upload.write(bytes).await?,
        }
        self.taken.1 += size;
        self.taken.0.fetch_add(size, Ordering::AcqRel);
        Ok(())
    }

    /// Completes the object durably. After a purge of its key this fails, or creates an object that has to be purged
    /// again.
    pub async fn finish(self) -> Result<(), Error> {
        match self.inner {
            BackendWriter::File(file) => file.finish().await,
            BackendWriter::Upload(upload) => upload.finish().await,
        }
    }
}
