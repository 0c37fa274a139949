//! The keyring: makes wrapping keys ahead of need, hands them out, finds them by their ids, and destroys them.

mod files;
mod mark;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    io::ErrorKind,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;

use super::{
    Attestation, Cipher, Error, KeyStore, SecretKey, WrappingKey, key_store::KEYS_PER_FILE,
};

pub use files::KeyFiles;

/// The most items under one key. After that, its subject (a conversation, contact or export) gets another key.
pub const COVERS: u32 = 4096;

/// Spare keys of a process: this many new conversations can begin at the same time without waiting for a file.
const SPARE: usize = 1024;

/// How long the key store may be silent when a key is read.
const READ_TIMEOUT: Duration = Duration::from_secs(8);

/// Keys that one process keeps in memory: this many that are in use, and this many that were read.
const REMEMBERED: usize = 100_000;

/// The keyring of an installation. Clones share their state.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    key_store: Arc<dyn KeyStore>,
    master: WrappingKey,
    secrets: WrappingKey,
    attestation: Attestation,
    attested: Uuid,
    cipher: Cipher,
    state: Mutex<State>,
    wanted: Notify,
    made: Notify,
    failing: AtomicBool,
}

#[derive(Default)]
struct State {
    spare: VecDeque<Arc<WrappingKey>>,
    current: HashMap<Uuid, Current>,
    /// From the id of a current key to the subject that it belongs to.
    subjects: HashMap<Uuid, Uuid>,
    found: HashMap<Uuid, Arc<WrappingKey>>,
}

struct Current {
    key: Arc<WrappingKey>,
    used: u32,
    claimed: bool,
}

/// A key to seal items of one subject under.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The key.
    pub key: Arc<WrappingKey>,
    /// False if the database does not know yet to which subject the key belongs. Then the transaction that seals must
    /// also write that.
    pub claimed: bool,
}

impl Keyring {
    /// The keyring in `key_store`, wrapped by `secret`.
    pub fn new(secret: &SecretKey, key_store: Arc<dyn KeyStore>, cipher: Cipher) -> Self {
        let derived = |label| WrappingKey::new(Uuid::nil(), secret.derive(label), cipher);
        Self(Arc::new(Inner {
            key_store,
            master: derived("keyring"),
            secrets: derived("channel secrets"),
            attestation: Attestation::new(secret),
            attested: mark::id(secret),
            cipher,
            state: Mutex::default(),
            wanted: Notify::new(),
            made: Notify::new(),
            failing: AtomicBool::new(false),
        }))
    }

    /// The key for channel secrets and access tokens. It is not part of the keyring: it is derived from the secret key,
    /// and so always available.
    pub fn secrets(&self) -> &WrappingKey {
        &self.0.secrets
    }

    /// Computes and verifies the codes of operators, sessions, setup links and channels.
    pub fn attestation(&self) -> &Attestation {
        &self.0.attestation
    }

    /// A key for `items` more items of `subject`, a conversation, contact or export. `None` if no spare key is left;
    /// more keys are then being made.
    pub fn take(&self, subject: Uuid, items: u32) -> Option<Taken> {
        let mut state = self.state();
        if let Some(current) = state.current.get_mut(&subject)
            && current.used.saturating_add(items) <= COVERS
        {
            current.used += items;
            let (key, claimed) = (Arc::clone(&current.key), current.claimed);
            return Some(Taken { key, claimed });
        }
        let key = state.spare.pop_front();
        if state.spare.len() < SPARE / 2 {
            self.0.wanted.notify_one();
        }
        let key = key?;
        if state.current.len() >= REMEMBERED {
            // Each subject in use gets another key soon. Documents under the old keys stay sealed under them.
            state.current.clear();
            state.subjects.clear();
        }
        let current = Current {
            key: Arc::clone(&key),
            used: items,
            claimed: false,
        };
        state.subjects.insert(key.id(), subject);
        if let Some(full) = state.current.insert(subject, current) {
            state.subjects.remove(&full.key.id());
        }
        Some(Taken {
            key,
            claimed: false,
        })
    }

    /// True if `subject` has a key with room for another item, and the database knows whose key it is.
    pub fn has(&self, subject: Uuid) -> bool {
        let state = self.state();
        let current = state.current.get(&subject);
        current.is_some_and(|current| current.claimed && current.used < COVERS)
    }

    /// Notes that the database knows that `key` belongs to `subject`.
    pub fn claimed(&self, subject: Uuid, key: Uuid) {
        if let Some(current) = self.state().current.get_mut(&subject)
            && current.key.id() == key
        {
            current.claimed = true;
        }
    }

    /// Removes these keys from memory: nothing more is sealed under them, and no document is opened by them from
    /// memory.
    pub fn forget(&self, keys: &[Uuid]) {
        let mut state = self.state();
        for key in keys {
            match state.subjects.remove(key) {
                Some(subject) => drop(state.current.remove(&subject)),
                None => state.spare.retain(|spare| spare.id() != *key),
            }
            state.found.remove(key);
        }
    }

    /// A key of each of up to `limit` files whose keys may be handed out, chosen at random, with the file's name.
    pub fn some_files(&self, limit: usize) -> Vec<(String, Uuid)> {
        let state = self.state();
        let used = state.subjects.keys().copied();
        let ids: Vec<Uuid> = used.chain(state.spare.iter().map(|key| key.id())).collect();
        drop(state);
        let files: HashMap<String, Uuid> =
            ids.into_iter().map(|id| (self.file_of(id), id)).collect();
        files.into_iter().take(limit).collect()
    }

    /// Removes the keys of a file from memory.
    pub fn forget_file(&self, file: &str) {
        let state = self.state();
        let used = state.subjects.keys().copied();
        let ids = used.chain(state.spare.iter().map(|key| key.id()));
        let ids: Vec<Uuid> = ids.filter(|id| self.file_of(*id) == file).collect();
        drop(state);
        self.forget(&ids);
    }

    /// Removes from memory the keys that were read from the key store, so that keys destroyed by another replica do not
    /// stay in memory.
    pub fn forget_found(&self) {
        self.state().found.clear();
    }

    /// Finds a key by its id, in memory or in the key store.
    ///
    /// # Errors
    /// [`Error::NoKey`] if it was destroyed, [`Error::Unreadable`] if the secret key is another, [`Error::Io`] if the
    /// key store cannot be reached.
    pub async fn find(&self, id: Uuid) -> Result<Arc<WrappingKey>, Error> {
        if let Some(key) = self.state().found.get(&id) {
            return Ok(Arc::clone(key));
        }
        let read = self.read(id).await;
        if read.as_ref().is_err_and(Error::is_permanent) {
            // It may still be in memory, to be sealed under.
            self.forget(&[id]);
        }
        let key = Arc::new(read?);
        let mut state = self.state();
        if state.found.len() >= REMEMBERED {
            state.found.clear();
        }
        state.found.insert(id, Arc::clone(&key));
        Ok(key)
    }

    /// Reads a key from the key store, although it may be in memory: whether it is still there, and whole.
    ///
    /// # Errors
    /// As [`Keyring::find`]; [`Error::Damaged`] if its file is too short.
    pub async fn verify(&self, id: Uuid) -> Result<(), Error> {
        self.read(id).await.map(drop)
    }

    async fn read(&self, id: Uuid) -> Result<WrappingKey, Error> {
        let head = timeout(READ_TIMEOUT, self.0.key_store.get(id)).await;
        let head = head.unwrap_or_else(|_| Err(Error::Io(ErrorKind::TimedOut.into())))?;
        let key = self.0.master.unwrap(id.as_bytes(), &head)?;
        Ok(WrappingKey::new(id, key.bytes, self.0.cipher))
    }

    /// Finds keys by their ids, 16 at a time. Keys that were destroyed or cannot be read are missing in the result.
    ///
    /// # Errors
    /// [`Error::Io`] if the key store cannot be reached.
    pub async fn find_all(
        &self,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<HashMap<Uuid, Arc<WrappingKey>>, Error> {
        let ids: HashSet<Uuid> = ids.into_iter().collect();
        let found = stream::iter(ids).map(|id| async move { (id, self.find(id).await) });
        let mut found = pin!(found.buffer_unordered(16));
        let mut keys = HashMap::new();
        // Ends with the first key that does not come: a person may be waiting.
        while let Some((id, key)) = found.next().await {
            match key {
                Ok(key) => drop(keys.insert(id, key)),
                Err(error) if error.is_permanent() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(keys)
    }

    /// Waits until keys have to be made.
    pub async fn wanted(&self) {
        self.0.wanted.notified().await;
    }

    /// As [`Keyring::take`], but waits for keys that are being made.
    pub async fn take_soon(&self, subject: Uuid, items: u32) -> Taken {
        loop {
            let made = self.0.made.notified();
            tokio::pin!(made);
            made.as_mut().enable();
            match self.take(subject, items) {
                Some(taken) => return taken,
                None => made.await,
            }
        }
    }

    /// Ids for keys to be made, enough to fill up the spare keys. Their rows must be inserted before [`Keyring::make`].
    pub fn new_ids(&self) -> Vec<Uuid> {
        let missing = SPARE.saturating_sub(self.state().spare.len());
        (0..missing.div_ceil(usize::from(KEYS_PER_FILE)))
            .flat_map(|_| {
                let mut base = *Uuid::new_v4().as_bytes();
                base[15] &= !(KEYS_PER_FILE - 1);
                (0..KEYS_PER_FILE).map(move |slot| {
                    let mut id = base;
                    id[15] |= slot;
                    Uuid::from_bytes(id)
                })
            })
            .collect()
    }

    /// Makes keys and stores them in the key store. From then on they are spare keys that can be handed out.
    ///
    /// # Errors
    /// [`Error::Io`] if the key store cannot be written. Then no key of these is handed out.
    pub async fn make(&self, ids: &[Uuid]) -> Result<(), Error> {
        let (mut keys, mut heads) = (Vec::new(), Vec::new());
        for id in ids {
            let (key, head) = self.0.master.data_key(id.as_bytes())?;
            keys.push(Arc::new(WrappingKey::new(*id, key.bytes, self.0.cipher)));
            heads.push((*id, head));
        }
        let put = self.0.key_store.put(&heads).await;
        self.0.failing.store(put.is_err(), Ordering::Relaxed);
        put?;
        self.state().spare.extend(keys);
        self.0.made.notify_waiters();
        Ok(())
    }

    /// True while keys cannot be made.
    pub fn is_failing(&self) -> bool {
        self.0.failing.load(Ordering::Relaxed)
    }

    /// Takes over a spare key that another process left behind.
    ///
    /// # Errors
    /// As [`Keyring::find`].
    pub async fn adopt(&self, id: Uuid) -> Result<(), Error> {
        let key = Arc::new(self.read(id).await?);
        self.state().spare.push_back(key);
        self.0.made.notify_waiters();
        Ok(())
    }

    /// True if a key for a new subject is left.
    pub fn has_spare(&self) -> bool {
        !self.state().spare.is_empty()
    }

    /// Ids of the spare keys of this process.
    pub fn spare(&self) -> Vec<Uuid> {
        self.state().spare.iter().map(|key| key.id()).collect()
    }

    /// Destroys keys and confirms that they are gone.
    ///
    /// # Errors
    /// [`Error::Io`] if the key store fails. Then some of the keys may still be there.
    pub async fn destroy(&self, ids: &[Uuid]) -> Result<(), Error> {
        self.forget(ids);
        self.0.key_store.destroy(ids).await?;
        self.forget(ids);
        Ok(())
    }

    /// Makes, finds and destroys a key: succeeds only if the key store can do everything that the keyring needs.
    ///
    /// # Errors
    /// The first of these steps that fails; [`Error::Unreadable`] if another key is read than was written, or if the
    /// key can still be read after it was destroyed.
    pub async fn check(&self) -> Result<(), Error> {
        let id = Uuid::new_v4();
        let (key, head) = self.0.master.data_key(id.as_bytes())?;
        self.0.key_store.put(&[(id, head)]).await?;
        let same = self.read(id).await?.bytes() == &*key.bytes;
        self.0.key_store.destroy(&[id]).await?;
        match self.read(id).await {
            Err(Error::NoKey) if same => Ok(()),
            Err(Error::NoKey) | Ok(_) => Err(Error::Unreadable),
            Err(error) => Err(error),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics in the middle of a change under this lock, so the state of a poisoned lock is consistent.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(redacted)")
    }
}

#[cfg(test)]
mod tests;
