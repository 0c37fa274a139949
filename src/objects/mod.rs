//! The bucket: objects are written once, read by range, and purged until they are confirmed gone.

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

pub use access::{Access, Encryption};
use directory::Directory;
pub use key::{ObjectKey, Shard};
use s3::S3;

/// What went wrong with the bucket. Says nothing of what the object holds, nor of any key to the bucket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address names no bucket that can be opened.
    #[error("the address has to be file:///an/absolute/directory or s3://bucket/prefix")]
    Address,
    /// Something that S3 is reached with is missing, or cannot be.
    #[error("{0}")]
    Access(&'static str),
    /// No object has this key, or it was purged while it was read.
    #[error("no such object")]
    NotFound,
    /// Other bytes, or another number of them, than were written.
    #[error("the bucket gives back other bytes than were written")]
    Corrupt,
    /// The file system refused.
    #[error("the bucket's directory: {0}")]
    Io(#[from] io::Error),
    /// S3 knows the access key not, or its secret is another.
    #[error(
        "S3 refuses the access key: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION"
    )]
    Stranger,
    /// S3 knows no such bucket.
    #[error(
        "S3 has no bucket of this name: check it in OBJECTS_URL, KEYRING_URL or LEDGER_COPIES, and AWS_ENDPOINT and AWS_REGION"
    )]
    NoBucket,
    /// The access key may not do this.
    #[error("S3 refuses to {0}: give the access key this right")]
    Refused(&'static str),
    /// What is to be gone cannot be made to go: a right is missing, or the bucket locks what it holds.
    #[error(
        "purge refused: S3 refuses to {0}. Give the access key this right, and take object lock and retention off the bucket: what cannot be deleted cannot be kept here"
    )]
    PurgeRefused(&'static str),
    /// The bucket keeps every object for a time by itself.
    #[error(
        "the bucket locks every object for a time (a default retention of object lock): take that off, or choose another bucket, for what is unsent has to go at once"
    )]
    Locked,
    /// It was deleted time and again, and is still there.
    #[error("an object is still there after it was deleted")]
    Remains,
    /// S3 refuses what is signed at another time than its own.
    #[error("S3 refuses requests of this machine's clock: set the clock (S3 allows 15 minutes)")]
    Clock,
    /// S3 failed, or could not be reached.
    #[error("S3 failed to {0}: {1}")]
    Trouble(&'static str, &'static str),
}

/// The bytes of an object, in pieces of at most 64 KiB.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// Keys, in no order; one may come more than once.
pub type Keys = Pin<Box<dyn Stream<Item = Result<ObjectKey, Error>> + Send>>;

/// A bucket. Clones share it.
#[derive(Clone, Debug)]
pub struct Objects {
    place: Place,
    under_way: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
enum Place {
    Directory(Directory),
    S3(Arc<S3>),
}

impl Objects {
    /// As [`Objects::open_with`], for a directory, which needs no access.
    pub async fn open(url: &Url) -> Result<Self, Error> {
        Self::open_with(url, &Access::default()).await
    }

    /// Opens the bucket at `url`: `file:///dir`, an absolute directory that is made if it does not exist, or
    /// `s3://bucket/prefix`, a bucket that exists, reached with `access`. S3 is not asked before the first use.
    pub async fn open_with(url: &Url, access: &Access) -> Result<Self, Error> {
        let place = match url.scheme() {
            "file" => {
                let root = url.to_file_path().map_err(|()| Error::Address)?;
                Place::Directory(Directory::open(root).await?)
            }
            "s3" => Place::S3(Arc::new(S3::open(url, access)?)),
            _ => return Err(Error::Address),
        };
        Ok(Self {
            place,
            under_way: Arc::default(),
        })
    }

    /// Looks whether [`Objects::open_with`] could open `url` by its form. Has no side effects and uses no network.
    ///
    /// # Errors
    /// It is another kind of address, or something that S3 is reached with is missing.
    pub fn check_form(url: &Url, access: &Access) -> Result<(), Error> {
        match url.scheme() {
            "file" => url.to_file_path().map(drop).map_err(|()| Error::Address),
            "s3" => S3::check_form(url, access),
            _ => Err(Error::Address),
        }
    }

    /// Begins to write `key`, which must be new. There is no object before [`Writer::finish`] is called.
    pub async fn put(&self, key: ObjectKey) -> Result<Writer, Error> {
        let way = match &self.place {
            Place::Directory(directory) => Way::File(directory.put(key).await?),
            Place::S3(s3) => Way::Upload(s3.put(key).await?),
        };
        Ok(Writer {
            way,
            taken: Taken(Arc::clone(&self.under_way), 0),
        })
    }

    /// Size of the whole object in bytes, and the bytes of `range`, cut to that size (`None`: all of them).
    ///
    /// Where the object is purged while it is read, the body ends with [`Error::NotFound`], from S3 after at most
    /// 2 MiB more.
    pub async fn get(
        &self,
        key: ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<(u64, Body), Error> {
        match &self.place {
            Place::Directory(directory) => directory.get(key, range).await,
            Place::S3(s3) => s3.get(key, range).await,
        }
    }

    /// Deletes `key`, finished or half written, with all its versions, and confirms that it is gone. One that never
    /// was is gone as well.
    pub async fn purge(&self, key: ObjectKey) -> Result<(), Error> {
        match &self.place {
            Place::Directory(directory) => directory.purge(key).await,
            Place::S3(s3) => s3.purge(key).await,
        }
    }

    /// Writes a small value under a name of its own, `directory/name` of a-z, 0-9, `-` and `.`, beside the objects and in
    /// place of what was there before: wholly, or not at all.
    pub async fn write_named(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        match &self.place {
            Place::Directory(directory) => directory.write_named(name, bytes).await,
            Place::S3(s3) => s3.write_named(name, bytes).await,
        }
    }

    /// Reads what [`Objects::write_named`] wrote; `None` if there is nothing.
    pub async fn read_named(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match &self.place {
            Place::Directory(directory) => directory.read_named(name).await,
            Place::S3(s3) => s3.read_named(name).await,
        }
    }

    /// Deletes what [`Objects::write_named`] wrote, with all its versions, and confirms that it is gone.
    pub async fn purge_named(&self, name: &str) -> Result<(), Error> {
        match &self.place {
            Place::Directory(directory) => directory.purge_named(name).await,
            Place::S3(s3) => s3.purge_named(name).await,
        }
    }

    /// Whether there is a finished object of this key.
    pub async fn has(&self, key: ObjectKey) -> Result<bool, Error> {
        match &self.place {
            Place::Directory(directory) => directory.has(key).await,
            Place::S3(s3) => s3.has(key).await,
        }
    }

    /// The keys of all finished objects in `shard`.
    pub fn list(&self, shard: Shard) -> Keys {
        match &self.place {
            Place::Directory(directory) => directory.list(shard, false),
            Place::S3(s3) => s3.list(shard),
        }
    }

    /// The keys in `shard` of whatever a purge would take: finished objects, half written ones, former versions,
    /// delete markers.
    pub fn traces(&self, shard: Shard) -> Keys {
        match &self.place {
            Place::Directory(directory) => directory.list(shard, true),
            Place::S3(s3) => s3.traces(shard),
        }
    }

    /// Bytes that writers of this process have taken and not finished: what is on its way, half of it perhaps in memory.
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Acquire)
    }

    /// Writes, reads and purges a probe: succeeds only if the bucket can do all that the service asks of it, and
    /// forgets what it is told to forget.
    pub async fn check(&self) -> Result<(), Error> {
        const PROBE: &[u8] = b"probe";
        let key = ObjectKey::new();
        if let Place::S3(s3) = &self.place {
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
/// takes.
#[derive(Debug)]
pub struct Writer {
    way: Way,
    taken: Taken,
}

/// What a writer has added to [`Objects::under_way`], until it ends.
#[derive(Debug)]
struct Taken(Arc<AtomicU64>, u64);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::AcqRel);
    }
}

#[derive(Debug)]
enum Way {
    File(directory::Writer),
    Upload(s3::Writer),
}

impl Writer {
    /// Adds `bytes`. After an error the writer is of no more use.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let size = bytes.len() as u64;
        match &mut self.way {
            Way::File(file) => file.write(bytes).await?,
            Way::Upload(upload) => upload.write(bytes).await?,
        }
        self.taken.1 += size;
        self.taken.0.fetch_add(size, Ordering::AcqRel);
        Ok(())
    }

    /// Makes the object, to stay. After a purge of its key this fails, or makes an object that has to be purged anew.
    pub async fn finish(self) -> Result<(), Error> {
        match self.way {
            Way::File(file) => file.finish().await,
            Way::Upload(upload) => upload.finish().await,
        }
    }
}
