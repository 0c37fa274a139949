//! Storage of the keyring: a directory of its own, or anything else that stores small values and deletes them for good.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{Error, HEAD};
use crate::marked::{Here, MarkedDirectory, Marking, Reads, Threads};

/// Number of keys that are made together. Their ids differ in the last six bits only.
pub(super) const KEYS_PER_FILE: u8 = 64;

/// Threads of the operations here.
static THREADS: Threads = Threads::new(64);

/// Storage for wrapped keys of [`HEAD`] bytes each.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// Stores new keys. They are durable once this has succeeded.
    fn put<'a>(&'a self, keys: &'a [(Uuid, Vec<u8>)]) -> BoxFuture<'a, Result<(), Error>>;

    /// Reads one key; [`Error::NoKey`] if it is not there.
    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<u8>, Error>>;

    /// The name of the file or object that holds a key, for messages.
    fn name(&self, id: Uuid) -> String;

    /// Destroys keys and confirms that they are gone. After an error, some of them may be gone. A key that never
    /// existed counts as gone.
    fn destroy<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), Error>>;
}

/// A directory of key files. Keys that were made together share one file, each in its own slot, so that 64 keys cost
/// one sync. A key is destroyed by overwriting its slot with zeros, synced. The file is deleted with its last key.
#[derive(Clone, Debug)]
pub struct DirectoryKeyStore {
    directory: MarkedDirectory,
    reads: Reads,
}

impl DirectoryKeyStore {
    /// As [`DirectoryKeyStore::open_with`], without a mark; the directory is made if absent. For tests and the demo,
    /// whose files go at the end.
    ///
    /// # Errors
    /// The directory cannot be made or opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with(path, Marking::MakeUnmarked)
    }

    /// Opens the directory, which is made and marked as `marking` says.
    ///
    /// # Errors
    /// The directory cannot be made or opened, or lacks its mark.
    pub fn open_with(path: &Path, marking: Marking) -> Result<Self, Error> {
        Ok(Self {
            directory: MarkedDirectory::open(path, marking)?,
            reads: Reads::default(),
        })
    }
}

/// The file and the slot of a key.
fn place(id: Uuid) -> (PathBuf, u64) {
    let mut bytes = *id.as_bytes();
    let slot = bytes[15] % KEYS_PER_FILE;
    bytes[15] -= slot;
    let name = Uuid::from_bytes(bytes).simple().to_string();
    (Path::new(&name[..2]).join(&name), u64::from(slot))
}

impl KeyStore for DirectoryKeyStore {
    fn put<'a>(&'a self, keys: &'a [(Uuid, Vec<u8>)]) -> BoxFuture<'a, Result<(), Error>> {
        let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        for (id, key) in keys {
            let (path, slot) = place(*id);
            let file = files
                .entry(path)
                .or_insert_with(|| vec![0; HEAD * usize::from(KEYS_PER_FILE)]);
            let at = HEAD * usize::try_from(slot).unwrap_or_default();
            file[at..at + HEAD].copy_from_slice(key);
        }
        let directory = self.directory.clone();
        Box::pin(blocking(move || {
            let here = directory.prove()?;
            for (path, bytes) in files {
                here.write(&path, &bytes)?;
            }
            // Keys that are in a directory that was taken away meanwhile are not handed out.
            directory.prove()?;
            Ok(())
        }))
    }

    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<u8>, Error>> {
        let directory = self.directory.clone();
        let (path, slot) = place(id);
        Box::pin(async move {
            let permit = self.reads.enter(&path).await;
            blocking(move || {
                let _permit = permit;
                let here = directory.prove()?;
                let mut key = vec![0; HEAD];
                let mut file = here.open(&path).map_err(|error| in_words(error, &path))?;
                file.seek(SeekFrom::Start(slot * HEAD as u64))?;
                file.read_exact(&mut key)
                    .map_err(|error| match error.kind() {
                        ErrorKind::UnexpectedEof => Error::Damaged(path.display().to_string()),
                        _ => error.into(),
                    })?;
                match key.iter().all(|byte| *byte == 0) {
                    true => Err(Error::NoKey),
                    false => Ok(key),
                }
            })
            .await
        })
    }

    fn name(&self, id: Uuid) -> String {
        place(id).0.display().to_string()
    }

    fn destroy<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), Error>> {
        let mut files: BTreeMap<PathBuf, Vec<u64>> = BTreeMap::new();
        for (path, slot) in ids.iter().map(|id| place(*id)) {
            files.entry(path).or_default().push(slot);
        }
        let directory = self.directory.clone();
        Box::pin(blocking(move || {
            let here = directory.prove()?;
            for (path, slots) in files {
                match zero(&here, &path, &slots) {
                    // A file that is not in the proven directory was removed with its last key.
                    Err(Error::NoKey) => {}
                    done => done?,
                }
            }
            Ok(())
        }))
    }
}

/// In a proven directory, a file that is not there holds no key any more.
fn in_words(error: io::Error, path: &Path) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::NoKey,
        ErrorKind::InvalidData => Error::Damaged(path.display().to_string()),
        _ => error.into(),
    }
}

/// Overwrites keys of a file with zeros, in place, and reads them back to check. Deletes the file if all its keys are
/// zeros. A file that was cut stays as long as it is: keys that are missing in it were not destroyed, and may be restored.
fn zero(here: &Here, path: &Path, slots: &[u64]) -> Result<(), Error> {
    let file = here
        .open_to_change(path)
        .map_err(|error| in_words(error, path))?;
    let whole = HEAD * usize::from(KEYS_PER_FILE);
    let size = usize::try_from(file.metadata()?.len()).map_or(whole, |size| size.min(whole));
    let key = |slot: u64| {
        let start = usize::try_from(slot).map_or(size, |slot| (slot * HEAD).min(size));
        start..(start + HEAD).min(size)
    };
    for slot in slots {
        file.write_all_at(&[0; HEAD][..key(*slot).len()], slot * HEAD as u64)?;
    }
    file.sync_data()?;
    let mut all = vec![0; size];
    file.read_exact_at(&mut all, 0)?;
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    if !slots.iter().all(|slot| is_zero(&all[key(*slot)])) {
        let error = io::Error::other("a key is still there after it was overwritten");
        return Err(error.into());
    }
    if slots.iter().any(|slot| key(*slot).len() < HEAD) {
        return Err(Error::Damaged(path.display().to_string()));
    }
    if size == whole && is_zero(&all) {
        here.remove(path)?;
        if let Some(parent) = path.parent() {
            here.sync(parent)?;
        }
    }
    Ok(())
}

/// As [`Threads::run`].
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    THREADS.run(work).await?
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn together() -> Vec<(Uuid, Vec<u8>)> {
        let mut base = *Uuid::new_v4().as_bytes();
        base[15] &= !(KEYS_PER_FILE - 1);
        (0..KEYS_PER_FILE)
            .map(|slot| {
                let mut id = base;
                id[15] |= slot;
                (Uuid::from_bytes(id), vec![slot + 1; HEAD])
            })
            .collect()
    }

    fn files(root: &Path) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for shard in fs::read_dir(root).unwrap() {
            let shard = shard.unwrap().path();
            if !shard.is_dir() {
                continue;
            }
            for file in fs::read_dir(shard).unwrap() {
                found.push(fs::read(file.unwrap().path()).unwrap());
            }
        }
        found
    }

    #[tokio::test]
    async fn a_destroyed_key_is_overwritten_and_its_neighbours_stay() {
        let dir = tempfile::tempdir().unwrap();
        let key_store = DirectoryKeyStore::open(dir.path()).unwrap();
        let keys = together();
        key_store.put(&keys).await.unwrap();
        assert_eq!(files(dir.path()).len(), 1);
        let (gone, bytes) = &keys[7];
        assert_eq!(key_store.get(*gone).await.unwrap(), *bytes);
        key_store.destroy(&[*gone]).await.unwrap();
        key_store.destroy(&[*gone]).await.unwrap();
        assert!(matches!(key_store.get(*gone).await, Err(Error::NoKey)));
        let file = files(dir.path()).concat();
        assert!(!file.windows(HEAD).any(|window| window == &bytes[..]));
        for (id, bytes) in keys.iter().filter(|(id, _)| id != gone) {
            assert_eq!(key_store.get(*id).await.unwrap(), *bytes);
        }
    }

    #[tokio::test]
    async fn while_its_disk_is_away_no_key_is_said_to_be_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (root, away) = (dir.path().join("keyring"), dir.path().join("away"));
        let key_store = DirectoryKeyStore::open(&root).unwrap();
        let keys = together();
        key_store.put(&keys).await.unwrap();
        fs::rename(&root, &away).unwrap();
        fs::create_dir(&root).unwrap();
        assert!(matches!(
            key_store.destroy(&[keys[0].0]).await,
            Err(Error::Io(_))
        ));
        assert!(matches!(key_store.get(keys[0].0).await, Err(Error::Io(_))));
        fs::remove_dir(&root).unwrap();
        fs::rename(&away, &root).unwrap();
        assert_eq!(key_store.get(keys[0].0).await.unwrap(), keys[0].1);
    }

    #[tokio::test]
    async fn a_file_that_was_cut_is_damaged_and_not_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        let key_store = DirectoryKeyStore::open(dir.path()).unwrap();
        let keys = together();
        key_store.put(&keys).await.unwrap();
        let file = dir.path().join(key_store.name(keys[0].0));
        let whole = fs::read(&file).unwrap();
        let cut = HEAD * 10 + 5;
        fs::write(&file, &whole[..cut]).unwrap();
        for (slot, (id, bytes)) in keys.iter().enumerate() {
            match key_store.get(*id).await {
                Ok(found) => assert!(slot < 10 && found == *bytes),
                Err(Error::Damaged(name)) => assert!(slot >= 10 && file.ends_with(name)),
                Err(error) => panic!("{error}"),
            }
        }
        let ids: Vec<Uuid> = [3, 10, 50].map(|slot| keys[slot].0).to_vec();
        key_store.destroy(&ids[..1]).await.unwrap();
        for id in &ids[1..] {
            let destroyed = key_store.destroy(&[*id]).await;
            assert!(
                matches!(destroyed, Err(Error::Damaged(_))),
                "it may come back"
            );
        }
        let left = fs::read(&file).unwrap();
        assert_eq!(left.len(), cut, "the missing keys may be restored");
        assert_eq!(
            left[HEAD * 10..],
            [0; 5],
            "of a cut key too nothing is left"
        );
        assert!(matches!(key_store.get(ids[0]).await, Err(Error::NoKey)));
        assert_eq!(key_store.get(keys[2].0).await.unwrap(), keys[2].1);
    }

    #[tokio::test]
    async fn with_its_last_key_a_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let key_store = DirectoryKeyStore::open(dir.path()).unwrap();
        let keys = together();
        key_store.put(&keys).await.unwrap();
        let (some, others) = keys.split_at(5);
        for part in [some, others] {
            let ids: Vec<Uuid> = part.iter().map(|(id, _)| *id).collect();
            assert_eq!(files(dir.path()).len(), 1);
            key_store.destroy(&ids).await.unwrap();
        }
        assert!(files(dir.path()).is_empty());
        assert!(matches!(key_store.get(keys[0].0).await, Err(Error::NoKey)));
        key_store.destroy(&[keys[0].0]).await.unwrap();
    }
}
