//! Keeps objects as files of one directory: writes them beside their final path, syncs them, then renames them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{TryFutureExt, TryStreamExt, stream};
use tokio::task::spawn_blocking;

use super::{Body, Error, Keys, ObjectKey, Shard};

const CHUNK: u64 = 64 * 1024;
/// Extension of a half-written file. No key contains it.
const PART: &str = "part";

#[derive(Clone, Debug)]
pub(super) struct Directory {
    root: Arc<Path>,
}

impl Directory {
    pub(super) async fn open(root: PathBuf) -> Result<Self, Error> {
        let made = root.clone();
        blocking(move || {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(made)
                .map_err(Error::Io)
        })
        .await?;
        Ok(Self { root: root.into() })
    }

    pub(super) async fn put(&self, key: ObjectKey) -> Result<Writer, Error> {
        let path = self.path(key);
        let root = Arc::clone(&self.root);
        blocking(move || {
            let shard = path.parent().unwrap_or(&root);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(shard)?;
            let part = path.with_extension(PART);
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&part)?;
            Ok(Writer {
                file: Some(file),
                part: Part(part),
                path,
                root,
            })
        })
        .await
    }

    pub(super) async fn get(
        &self,
        key: ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<(u64, Body), Error> {
        let path = self.path(key);
        blocking(move || {
            let mut file = File::open(path)?;
            let size = file.metadata()?.len();
            let range = range.unwrap_or(0..size);
            file.seek(SeekFrom::Start(range.start))?;
            let left = range.end.min(size).saturating_sub(range.start);
            let body = stream::try_unfold((file, left), |(file, left)| async move {
                match left {
                    0 => Ok(None),
                    _ => blocking(move || read_chunk(file, left)).await.map(Some),
                }
            });
            Ok((size, Box::pin(body) as Body))
        })
        .await
    }

    pub(super) async fn purge(&self, key: ObjectKey) -> Result<(), Error> {
        let path = self.path(key);
        blocking(move || {
            // The half-written file first: if a writer renames it in between, the second removal finds it at its final
            // path.
            let part = path.with_extension(PART);
            remove(&part)?;
            remove(&path)?;
            match path.parent() {
                Some(shard) if shard.exists() => sync(shard)?,
                _ => {}
            }
            for gone in [&part, &path] {
                if fs::symlink_metadata(gone).is_ok() {
                    return Err(Error::Io(ErrorKind::AlreadyExists.into()));
                }
            }
            Ok(())
        })
        .await
    }

    /// Keys in `shard` of finished objects; with `half_written`, of unfinished ones too.
    pub(super) fn list(&self, shard: Shard, half_written: bool) -> Keys {
        let root = Arc::clone(&self.root);
        let outers = blocking(move || {
            let outers = fs::read_dir(&root)?.map(|outer| Ok(outer?.path()));
            let outers: Vec<PathBuf> = outers.collect::<io::Result<_>>()?;
            let within = |outer: &PathBuf| {
                let name = outer.file_name().unwrap_or_default();
                name.as_encoded_bytes()
                    .starts_with(shard.prefix().as_bytes())
            };
            let outers = outers.into_iter().filter(within).map(Ok::<_, Error>);
            Ok(stream::iter(outers.collect::<Vec<_>>()))
        });
        let root = Arc::clone(&self.root);
        let keys = outers.try_flatten_stream().and_then(move |outer| {
            let root = Arc::clone(&root);
            blocking(move || {
                let mut keys = Vec::new();
                for inner in directory(&outer)? {
                    for file in directory(&inner?.path())? {
                        let mut path = file?.path();
                        if half_written && path.extension().is_some_and(|end| end == PART) {
                            path.set_extension("");
                        }
                        let text = path.strip_prefix(&root).ok().and_then(Path::to_str);
                        keys.extend(text.and_then(ObjectKey::parse).map(Ok));
                    }
                }
                Ok(stream::iter(keys))
            })
        });
        Box::pin(keys.try_flatten())
    }

    pub(super) async fn has(&self, key: ObjectKey) -> Result<bool, Error> {
        let path = self.path(key);
        blocking(move || Ok(path.try_exists()?)).await
    }

    pub(super) async fn write_named(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let (root, path) = (Arc::clone(&self.root), self.root.join(name));
        blocking(move || {
            let directory = path.parent().unwrap_or(&root);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            let mut part = tempfile::NamedTempFile::new_in(directory)?;
            part.write_all(&bytes)?;
            part.as_file().sync_all()?;
            part.persist(&path).map_err(|error| error.error)?;
            sync(directory)?;
            sync(&root)?;
            Ok(())
        })
        .await
    }

    pub(super) async fn read_named(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.root.join(name);
        match blocking(move || Ok(fs::read(path)?)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn purge_named(&self, name: &str) -> Result<(), Error> {
        let path = self.root.join(name);
        blocking(move || {
            remove(&path)?;
            match path.parent() {
                Some(directory) if directory.exists() => Ok(sync(directory)?),
                _ => Ok(()),
            }
        })
        .await
    }

    fn path(&self, key: ObjectKey) -> PathBuf {
        self.root.join(key.to_string())
    }
}

/// Writes one file. Dropped before [`Writer::finish`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Writer {
    file: Option<File>,
    part: Part,
    path: PathBuf,
    root: Arc<Path>,
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

    /// Syncs the file, renames it, and syncs its directories. Fails after a purge of its key.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        let file = self.file.take().ok_or(Error::NotFound)?;
        blocking(move || {
            file.sync_all()?;
            fs::rename(&self.part.0, &self.path)?;
            // Another writer may have created a directory and not synced it yet, so each writer syncs all of them.
            for made in self.path.ancestors().skip(1) {
                sync(made)?;
                if *made == *self.root {
                    break;
                }
            }
            Ok(())
        })
        .await
    }
}

/// A half-written file, removed on drop. After the rename there is no such file.
#[derive(Debug)]
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // On this thread: it is rare and short, and nothing could wait for it on another thread.
        let _ = fs::remove_file(&self.0);
    }
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

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Entries of `path`; empty if `path` is not a directory.
fn directory(path: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>> + use<>> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

/// Runs file operations on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match spawn_blocking(work).await {
        Ok(Err(Error::Io(error))) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound),
        Ok(done) => done,
        Err(_) => Err(Error::Io(io::Error::other(
            "the file operation was interrupted",
        ))),
    }
}

#[cfg(test)]
mod tests;
