//! Objects as files of one directory: written beside their place, synced, then renamed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::stream;
use tokio::task::spawn_blocking;

use super::{Body, Error, ObjectKey};

const CHUNK: u64 = 64 * 1024;
/// Where values with names of their own lie; no key begins like that.
const NAMED: &str = "ledger";
/// Ending of a half written object. It is no part of any key.
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
            // The part first: a writer that renames it in between is found at its final place.
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

    /// Keys of finished objects, or of whatever a purge would take. One may come twice.
    pub(super) async fn list(&self, unfinished: bool) -> Result<Vec<ObjectKey>, Error> {
        let root = Arc::clone(&self.root);
        blocking(move || {
            let mut keys = Vec::new();
            for outer in fs::read_dir(&root)? {
                for inner in directory(&outer?.path())? {
                    for file in directory(&inner?.path())? {
                        let mut path = file?.path();
                        if unfinished && path.extension().is_some_and(|end| end == PART) {
                            path.set_extension("");
                        }
                        let text = path.strip_prefix(&root).ok().and_then(Path::to_str);
                        keys.extend(text.and_then(ObjectKey::parse));
                    }
                }
            }
            Ok(keys)
        })
        .await
    }

    pub(super) async fn write_named(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let (root, path) = (Arc::clone(&self.root), self.root.join(NAMED).join(name));
        blocking(move || {
            let directory = root.join(NAMED);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)?;
            let mut part = tempfile::NamedTempFile::new_in(&directory)?;
            part.write_all(&bytes)?;
            part.as_file().sync_all()?;
            part.persist(&path).map_err(|error| error.error)?;
            sync(&directory)?;
            sync(&root)?;
            Ok(())
        })
        .await
    }

    pub(super) async fn read_named(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.root.join(NAMED).join(name);
        match blocking(move || Ok(fs::read(path)?)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn path(&self, key: ObjectKey) -> PathBuf {
        self.root.join(key.to_string())
    }
}

/// Writes one object. Dropped before [`Writer::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Writer {
    file: Option<File>,
    part: Part,
    path: PathBuf,
    root: Arc<Path>,
}

impl Writer {
    /// Adds `bytes`. After an error the writer is of no more use.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let mut file = self.file.take().ok_or(Error::NotFound)?;
        let file = blocking(move || {
            file.write_all(&bytes)?;
            Ok(file)
        })
        .await?;
        self.file = Some(file);
        Ok(())
    }

    /// Makes the object: synced, renamed, its directories synced. After a purge of its key this fails.
    pub async fn finish(mut self) -> Result<(), Error> {
        let file = self.file.take().ok_or(Error::NotFound)?;
        blocking(move || {
            file.sync_all()?;
            fs::rename(&self.part.0, &self.path)?;
            // Another writer may have made a directory and not have synced it yet, so all are, each time.
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

/// A half written file, removed on drop. After the rename there is none to remove.
#[derive(Debug)]
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // In place, not on another thread: rare, short, and nobody could wait for it there.
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

/// Entries of `path`; none where it is not a directory.
fn directory(path: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>> + use<>> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match spawn_blocking(work).await {
        Ok(Err(Error::Io(error))) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound),
        Ok(done) => done,
        Err(_) => Err(Error::Io(io::Error::other("the file work was cut off"))),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;
    use url::Url;

    use super::*;
    use crate::objects::Objects;

    async fn bucket() -> (tempfile::TempDir, Objects) {
        let dir = tempfile::tempdir().unwrap();
        let url = Url::from_directory_path(dir.path().join("objects")).unwrap();
        let objects = Objects::open(&url).await.unwrap();
        (dir, objects)
    }

    /// Every file below `dir`, finished or not.
    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => found.extend(files(&path)),
                false => found.push(path),
            }
        }
        found
    }

    async fn write(objects: &Objects, bytes: &[u8]) -> ObjectKey {
        let key = ObjectKey::new();
        let mut writer = objects.put(key).await.unwrap();
        for chunk in bytes.chunks(100_000) {
            writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        writer.finish().await.unwrap();
        key
    }

    async fn read(objects: &Objects, key: ObjectKey, range: Option<Range<u64>>) -> (u64, Vec<u8>) {
        let (size, body) = objects.get(key, range).await.unwrap();
        let chunks: Vec<Bytes> = body.try_collect().await.unwrap();
        assert!(chunks.iter().all(|chunk| chunk.len() as u64 <= CHUNK));
        (size, chunks.concat())
    }

    #[tokio::test]
    async fn what_was_written_is_read_whole_and_by_range() {
        let (_dir, objects) = bucket().await;
        let bytes: Vec<u8> = (0..250_000_u32).map(|n| (n % 251) as u8).collect();
        let key = write(&objects, &bytes).await;

        assert_eq!(read(&objects, key, None).await, (250_000, bytes.clone()));
        for (range, part) in [
            (0..1, &bytes[..1]),
            (65_535..65_537, &bytes[65_535..65_537]),
            (100_000..230_000, &bytes[100_000..230_000]),
            (249_999..900_000, &bytes[249_999..]),
            (250_000..250_001, &[][..]),
            (900_000..900_001, &[][..]),
        ] {
            let name = format!("{range:?}");
            assert_eq!(
                read(&objects, key, Some(range)).await,
                (250_000, part.to_vec()),
                "{name}"
            );
        }
        assert_eq!(objects.list().await.unwrap(), [key]);
    }

    #[tokio::test]
    async fn a_half_written_object_is_none_and_leaves_no_file() {
        let (dir, objects) = bucket().await;
        let key = ObjectKey::new();
        let mut writer = objects.put(key).await.unwrap();
        writer.write(Bytes::from_static(b"half")).await.unwrap();
        assert!(matches!(objects.get(key, None).await, Err(Error::NotFound)));
        assert_eq!(objects.list().await.unwrap(), []);
        assert_eq!(files(dir.path()).len(), 1);

        drop(writer);
        assert!(files(dir.path()).is_empty());
    }

    #[tokio::test]
    async fn a_purge_takes_the_object_and_a_write_under_way() {
        let (dir, objects) = bucket().await;
        let kept = write(&objects, b"kept").await;
        let key = write(&objects, b"gone").await;
        let mut writer = objects.put(ObjectKey::new()).await.unwrap();
        writer.write(Bytes::from_static(b"half")).await.unwrap();
        let half = ObjectKey::parse(
            writer
                .path
                .strip_prefix(&*writer.root)
                .unwrap()
                .to_str()
                .unwrap(),
        )
        .unwrap();

        objects.purge(key).await.unwrap();
        objects.purge(half).await.unwrap();
        objects.purge(ObjectKey::new()).await.unwrap();
        assert_eq!(objects.list().await.unwrap(), [kept]);
        assert_eq!(files(dir.path()).len(), 1);

        writer.write(Bytes::from_static(b"more")).await.unwrap();
        assert!(matches!(writer.finish().await, Err(Error::NotFound)));
        assert_eq!(files(dir.path()).len(), 1);
    }

    #[tokio::test]
    async fn a_purge_ends_a_reading_under_way() {
        let (_dir, objects) = bucket().await;
        let key = write(&objects, &vec![7; 300_000]).await;
        let (_, mut body) = objects.get(key, None).await.unwrap();
        assert!(body.try_next().await.unwrap().is_some());
        objects.purge(key).await.unwrap();
        assert!(matches!(body.try_next().await, Err(Error::NotFound)));
    }

    #[tokio::test]
    async fn a_key_is_written_once() {
        let (_dir, objects) = bucket().await;
        let key = ObjectKey::new();
        let first = objects.put(key).await.unwrap();
        assert!(objects.put(key).await.is_err());
        first.finish().await.unwrap();
        assert_eq!(read(&objects, key, None).await, (0, Vec::new()));
    }

    #[tokio::test]
    async fn the_probe_tells_a_sound_bucket_from_a_broken_one() {
        let (dir, objects) = bucket().await;
        objects.check().await.unwrap();
        assert!(files(dir.path()).is_empty());

        fs::remove_dir_all(dir.path().join("objects")).unwrap();
        fs::write(dir.path().join("objects"), b"no directory").unwrap();
        assert!(objects.check().await.is_err());
    }

    #[tokio::test]
    async fn only_an_absolute_directory_is_opened() {
        for address in [
            "https://example.com/x",
            "s3://bucket/prefix",
            "file://host/dir",
        ] {
            let opened = Objects::open(&Url::parse(address).unwrap()).await;
            assert!(matches!(opened, Err(Error::Address)), "{address}");
        }
    }
}
