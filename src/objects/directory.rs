//! Keeps objects as files of one directory: writes them beside their final path, syncs them, then renames them.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::{TryFutureExt, TryStreamExt, stream};

use super::{Body, Error, Keys, ObjectKey, Shard};
use crate::marked::{Here, MarkedDirectory, Marking, Reads, Threads};

/// Threads of the operations here.
static THREADS: Threads = Threads::new(128);

const CHUNK: u64 = 64 * 1024;
/// Extension of a half-written file. No key contains it.
const PART: &str = "part";

#[derive(Clone, Debug)]
pub(super) struct Directory {
    marked: MarkedDirectory,
    reads: Reads,
}

impl Directory {
    pub(super) async fn open(root: PathBuf, marking: Marking) -> Result<Self, Error> {
        blocking(move || {
            Ok(Self {
                marked: MarkedDirectory::open(&root, marking)?,
                reads: Reads::default(),
            })
        })
        .await
    }

    /// Does `work` in the directory, once it is proven to be in its place.
    async fn here<T: Send + 'static>(
        &self,
        work: impl FnOnce(Here) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let directory = self.marked.clone();
        blocking(move || work(directory.prove()?)).await
    }

    pub(super) async fn put(&self, key: ObjectKey) -> Result<Writer, Error> {
        let (directory, path) = (self.marked.clone(), path(key));
        self.here(move |here| {
            let part = path.with_extension(PART);
            let file = here.create(&part)?;
            Ok(Writer {
                file: Some(file),
                part: Part { here, path: part },
                path,
                directory,
            })
        })
        .await
    }

    pub(super) async fn get(
        &self,
        key: ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<(u64, Body), Error> {
        let (reads, path) = (self.reads.clone(), path(key));
        let permit = reads.enter(&path).await;
        self.here(move |here| {
            let _permit = permit;
            let mut file = open(&here, &path)?;
            let size = file.metadata()?.len();
            let range = range.unwrap_or(0..size);
            file.seek(SeekFrom::Start(range.start))?;
            let left = range.end.min(size).saturating_sub(range.start);
            let body = stream::try_unfold((file, left), move |(file, left)| {
                let (reads, path) = (reads.clone(), path.clone());
                async move {
                    if left == 0 {
                        return Ok(None);
                    }
                    let permit = reads.enter(&path).await;
                    blocking(move || {
                        let _permit = permit;
                        read_chunk(file, left).map(Some)
                    })
                    .await
                }
            });
            Ok((size, Box::pin(body) as Body))
        })
        .await
    }

    pub(super) async fn purge(&self, key: ObjectKey) -> Result<(), Error> {
        self.here(move |here| {
            let path = path(key);
            // The half-written file first: if a writer renames it in between, the second removal finds it at its final
            // path.
            let part = path.with_extension(PART);
            here.remove(&part)?;
            here.remove(&path)?;
            here.sync(path.parent().unwrap_or(Path::new("")))?;
            for gone in [&part, &path] {
                if here.has(gone)? {
                    return Err(Error::Io(ErrorKind::AlreadyExists.into()));
                }
            }
            Ok(())
        })
        .await
    }

    /// Keys in `shard` of finished objects; with `half_written`, of unfinished ones too.
    pub(super) fn list(&self, shard: Shard, half_written: bool) -> Keys {
        let directory = self.clone();
        let outers = async move {
            directory
                .here(move |here| {
                    let mut outers = here.names(Path::new(""))?;
                    outers.retain(|name| {
                        let name = name.as_encoded_bytes();
                        name.starts_with(shard.prefix().as_bytes())
                    });
                    let outers = outers.into_iter().map(move |name| Ok((here.clone(), name)));
                    Ok(stream::iter(outers.collect::<Vec<_>>()))
                })
                .await
        };
        let keys = outers
            .try_flatten_stream()
            .and_then(move |(here, outer)| async move {
                blocking(move || {
                    let mut keys = Vec::new();
                    let outer = PathBuf::from(outer);
                    for inner in here.names(&outer)? {
                        let inner = outer.join(inner);
                        for file in here.names(&inner)? {
                            let mut path = inner.join(file);
                            if half_written && path.extension().is_some_and(|end| end == PART) {
                                path.set_extension("");
                            }
                            keys.extend(path.to_str().and_then(ObjectKey::parse).map(Ok));
                        }
                    }
                    Ok(stream::iter(keys))
                })
                .await
            });
        Box::pin(keys.try_flatten())
    }

    pub(super) async fn has(&self, key: ObjectKey) -> Result<bool, Error> {
        self.here(move |here| Ok(here.has(&path(key))?)).await
    }

    pub(super) async fn write_named(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let path = PathBuf::from(name);
        self.here(move |here| Ok(here.write(&path, &bytes)?)).await
    }

    pub(super) async fn read_named(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = PathBuf::from(name);
        let read = self.here(move |here| {
            let mut bytes = vec![];
            open(&here, &path)?.read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn purge_named(&self, name: &str) -> Result<(), Error> {
        let path = PathBuf::from(name);
        self.here(move |here| {
            here.remove(&path)?;
            Ok(here.sync(path.parent().unwrap_or(Path::new("")))?)
        })
        .await
    }
}

fn path(key: ObjectKey) -> PathBuf {
    key.to_string().into()
}

/// Writes one file. Dropped before [`Writer::finish`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Writer {
    file: Option<File>,
    part: Part,
    path: PathBuf,
    directory: MarkedDirectory,
}

impl Writer {
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let mut file = self.file.take().ok_or(Error::NotFound)?;
        let file = blocking(move || {
            file.write_all(&bytes)?;
            Ok(file)
        })
        .await?;
        self.file = Some(file);
        Ok(())
    }

    /// Syncs the file, renames it, and syncs its directories. Fails after a purge of its key, and if the directory was
    /// taken away meanwhile.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        let file = self.file.take().ok_or(Error::NotFound)?;
        blocking(move || {
            file.sync_all()?;
            self.part.here.rename(&self.part.path, &self.path)?;
            self.directory.prove()?;
            Ok(())
        })
        .await
    }
}

/// A half-written file, removed on drop. After the rename there is no such file.
#[derive(Debug)]
struct Part {
    here: Here,
    path: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        // On this thread: it is rare and short, and nothing could wait for it on another thread.
        let _ = self.here.remove(&self.path);
    }
}

/// Opens a file to read. What is not a regular file was not written here.
fn open(here: &Here, path: &Path) -> Result<File, Error> {
    here.open(path).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => Error::Corrupt,
        _ => error.into(),
    })
}

fn read_chunk(mut file: File, left: u64) -> Result<(Bytes, (File, u64)), Error> {
    if file.metadata()?.nlink() == 0 {
        return Err(Error::NotFound);
    }
    let size = left.min(CHUNK);
    let mut chunk = vec![0; usize::try_from(size).unwrap_or_default()];
    file.read_exact(&mut chunk)?;
    Ok((chunk.into(), (file, left - size)))
}

/// Runs file operations on a blocking thread. In a directory that is in its place, a file that is not found is not there.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match THREADS.run(work).await? {
        Err(Error::Io(error)) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound),
        done => done,
    }
}

#[cfg(test)]
mod tests;
