//! The life of the wrapping keys: made ahead of need, and destroyed after something that they sealed was erased
//! (crypto-shredding).
//!
//! An erasure marks the keys that the erased content was sealed under. A marked key is soon *closed*: nothing new is
//! sealed under it. Then a barrier waits until every transaction that found the key open has ended. After the barrier
//! the documents that survive are rewrapped under another key, up to 500 at a time and without waiting for a locked
//! row. Then the key is destroyed and confirmed gone, and its row is deleted. All steps are idempotent: they can stop
//! at any point, and any replica can repeat them.

use std::{collections::HashMap, io::ErrorKind, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    clock::Clock,
    records::{
        failure::Internal,
        keys::{self, Closed},
        rewraps::{self, TABLES, Table},
        wrapping,
    },
    seal::{self, HEAD, KeyFiles, Keyring, WrappingKey, key_of},
    watchdog,
};

/// Lease of a process on its spare keys. The process renews it long before it ends.
const SPARE_LEASE: TimeDelta = TimeDelta::hours(1);

/// A key is closed only after it has been in use for at least this long, so that a conversation from which something is
/// erased every second changes its key only once a minute. With the time for the work itself, the key is still
/// destroyed within a minute of the erasure.
const MIN_USE: TimeDelta = TimeDelta::seconds(50);

/// Keys destroyed in one batch, so that each file of the keyring is synced once for all keys of the batch in it.
const BATCH_KEYS: i64 = 500;

/// Files of the keyring that one check reads. In S3 each is a request.
const FILES_CHECKED: usize = 64;

/// Number of spare keys of other processes that may fail to be read when they are taken over: as many as two files hold.
const MOST_FAILURES: usize = 128;

/// Keys that are looked for, or destroyed, at the same time.
const AT_ONCE: usize = 64;

/// How long the rewrapping of survivors waits for spare keys that are being made.
const KEY_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes and destroys keys. Clones share everything.
#[derive(Clone, Debug)]
pub struct Keys {
    pool: PgPool,
    clock: Clock,
    keyring: Keyring,
}

impl Keys {
    /// Takes the database pool, the clock and the keyring.
    pub fn new(pool: PgPool, clock: Clock, keyring: Keyring) -> Self {
        Self {
            pool,
            clock,
            keyring,
        }
    }

    /// Waits until there are too few spare keys.
    pub async fn wanted(&self) {
        self.keyring.wanted().await;
    }

    /// Fills up the spare keys: first with those that another process has left behind, then with new ones. The row of
    /// each key is inserted before the key is made.
    ///
    /// # Errors
    /// The database or the keyring fails. Then there are fewer spare keys.
    pub async fn supply(&self) -> Result<(), Internal> {
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        let missing = self.keyring.new_ids().len();
        let limit = i64::try_from(missing).unwrap_or(i64::MAX);
        let left = keys::adopt(&mut conn, limit, now, now + SPARE_LEASE).await?;
        let (mut damaged, mut failures) = (vec![], 0);
        for id in left {
            match self.keyring.adopt(id).await {
                Ok(()) => {}
                // The process ended after it inserted the row and before it made the key.
                Err(seal::Error::NoKey) => keys::gone(&mut conn, &[id], now).await?,
                // Nothing was sealed under it yet.
                Err(seal::Error::Unreadable | seal::Error::Damaged(_)) => {
                    damaged.push(id);
                    // Of a file that was cut nothing may be left to destroy.
                    let _ = self.keyring.destroy(&[id]).await;
                    keys::gone(&mut conn, &[id], now).await?;
                }
                // On a disk that hangs, each of them would take as long.
                Err(seal::Error::Io(error)) if error.kind() == ErrorKind::TimedOut => {
                    return Err(seal::Error::Io(error).into());
                }
                // One file that cannot be read does not keep the service from starting; a keyring that is away does.
                Err(error) => {
                    failures += 1;
                    if failures > MOST_FAILURES {
                        return Err(error.into());
                    }
                    damaged.push(id);
                }
            }
            watchdog::progress();
        }
        if let Some(KeyFiles { files, names }) = self.keyring.files_of(&damaged) {
            tracing::error!(
                files,
                names,
                "files of the keyring are damaged, or cannot be read: their spare keys are not used"
            );
        }
        let ids = self.keyring.new_ids();
        keys::announce(&mut conn, &ids, now, now + SPARE_LEASE).await?;
        drop(conn);
        if let Err(error) = self.keyring.make(&ids).await {
            // Some of the keys may exist, but none was used.
            let mut conn = self.pool.acquire().await?;
            keys::withdraw(&mut conn, &ids).await?;
            return Err(error.into());
        }
        Ok(())
    }

    /// Renews the lease on the spare keys of this process. The process no longer uses keys whose lease it has lost.
    ///
    /// # Errors
    /// The database fails.
    pub async fn hold(&self) -> Result<(), Internal> {
        self.hold_until(self.clock.now() + SPARE_LEASE).await
    }

    /// Reads one key of each of some files of the keyring whose keys this process hands out. If a file is missing or damaged, the
    /// process seals nothing more under its keys: what it sealed under them could not be read after a restart.
    ///
    /// # Errors
    /// The keyring cannot be reached.
    pub async fn check_files(&self) -> Result<(), Internal> {
        let (mut damaged, mut checked) = (vec![], Ok(()));
        for (file, id) in self.keyring.some_files(FILES_CHECKED) {
            match self.keyring.verify(id).await {
                Ok(()) => {}
                Err(error) if error.is_permanent() => {
                    damaged.push(id);
                    self.keyring.forget_file(&file);
                }
                Err(error) => {
                    checked = Err(error.into());
                    break;
                }
            }
            watchdog::progress();
        }
        if let Some(KeyFiles { files, names }) = self.keyring.files_of(&damaged) {
            tracing::error!(
                files,
                names,
                "files of the keyring are missing or damaged: nothing more is sealed under their keys"
            );
        }
        checked
    }

    /// Ends the lease on the spare keys, so that the next process can adopt them.
    ///
    /// # Errors
    /// The database fails. Then the lease ends by itself within an hour.
    pub async fn release_spare_keys(&self) -> Result<(), Internal> {
        self.hold_until(self.clock.now()).await
    }

    async fn hold_until(&self, until: DateTime<Utc>) -> Result<(), Internal> {
        let spare = self.keyring.spare();
        let mut conn = self.pool.acquire().await?;
        let held = keys::hold(&mut conn, &spare, until).await?;
        let lost = spare.into_iter().filter(|id| !held.contains(id));
        self.keyring.forget(&lost.collect::<Vec<_>>());
        Ok(())
    }

    /// Removes from memory the keys that were read from the key store, so that keys destroyed by another replica do not
    /// stay in memory.
    pub fn forget_found(&self) {
        self.keyring.forget_found();
    }

    /// Closes the marked keys that are due, rewraps what survives under other keys, and destroys the closed keys.
    /// Returns how many keys were destroyed. Keys that still have a document whose row another transaction has locked
    /// are destroyed in a later call.
    ///
    /// # Errors
    /// A key cannot be read or destroyed: the last such error is returned after all other keys were tried. The database
    /// fails, or no spare key is available: this ends the call at once.
    pub async fn shred(&self) -> Result<usize, Internal> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let closing = keys::close(&mut tx, now, now - MIN_USE).await?;
        tx.commit().await?;
        self.keyring.forget(&closing);

        let mut conn = self.pool.acquire().await?;
        keys::complete_stale_erasures(&mut conn, now).await?;
        // Only keys closed up to `now`: another replica may close later ones after this replica's barrier.
        let before = now + TimeDelta::microseconds(1);
        let closed = keys::closed(&mut conn, BATCH_KEYS, before, Uuid::new_v4()).await?;
        drop(conn);
        if closed.is_empty() {
            return Ok(0);
        }
        let mut tx = self.pool.begin().await?;
        keys::barrier(&mut tx).await?;
        tx.commit().await?;
        self.destroy(&closed).await
    }

    async fn destroy(&self, closed: &[Closed]) -> Result<usize, Internal> {
        let (mut readable, mut missing, mut unreadable, mut failed) =
            (HashMap::new(), vec![], vec![], None);
        let keyring = &self.keyring;
        let found = stream::iter(closed.to_vec())
            .map(|key| async move { (key, keyring.find(key.id).await) });
        let found: Vec<_> = found
            .buffer_unordered(AT_ONCE)
            .inspect(|_| watchdog::progress())
            .collect()
            .await;
        for (key, found) in found {
            match found {
                Ok(found) => drop(readable.insert(key.id, (found, key.subject))),
                Err(seal::Error::NoKey) => missing.push(key.id),
                Err(error) if error.is_permanent() => unreadable.push((key.id, error)),
                Err(error) => failed = Some(error.into()),
            }
        }
        for table in TABLES {
            self.rewrap_survivors(&readable, table).await?;
        }
        let ids: Vec<Uuid> = readable.keys().copied().collect();
        let mut conn = self.pool.acquire().await?;
        // These keys still have documents: a row was locked by another transaction, or a document could not be opened.
        let held = rewraps::in_use(&mut conn, &ids).await?;
        // Read after the look into the keyring: another replica may have destroyed a key since the rows were read.
        let lost = keys::lost_if_missing(&mut conn, &missing).await?;
        if let Some(KeyFiles { files, names }) = self.keyring.files_of(&lost) {
            tracing::error!(
                keys = lost.len(),
                files,
                names,
                "keys that are to be destroyed are missing in the keyring, and were not destroyed: their files were lost. The erasures wait until they are put back"
            );
            failed = Some(seal::Error::NoKey.into());
        }
        missing.retain(|id| !lost.contains(id));
        self.report_unreadable(&mut conn, &missing).await?;
        let damaged: Vec<Uuid> = unreadable.iter().map(|(id, _)| *id).collect();
        let given_up = keys::given_up(&mut conn, &damaged).await?;
        for (id, error) in unreadable {
            if !given_up.contains(&id) {
                failed = Some(error.into());
            }
        }
        let mut to_destroy = missing;
        to_destroy.extend_from_slice(&given_up);
        to_destroy.extend(ids.into_iter().filter(|id| !held.contains(id)));
        keys::begin_to_destroy(&mut conn, &to_destroy, self.clock.now()).await?;
        drop(conn);
        let gone = self.destroy_each(&to_destroy, &given_up, &mut failed).await;
        self.note_still_there(to_destroy.iter().filter(|id| !gone.contains(id)))
            .await?;
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        keys::gone(&mut tx, &gone, now).await?;
        tx.commit().await?;
        failed.map_or(Ok(gone.len()), Err)
    }

    /// Takes the note that they are about to be destroyed back from keys that can still be read: if such a key is missing later, it
    /// was lost.
    async fn note_still_there(&self, left: impl Iterator<Item = &Uuid>) -> Result<(), Internal> {
        let mut there = vec![];
        for id in left {
            if self.keyring.verify(*id).await.is_ok() {
                there.push(*id);
            }
        }
        if !there.is_empty() {
            let mut conn = self.pool.acquire().await?;
            keys::are_still_there(&mut conn, &there).await?;
        }
        Ok(())
    }

    /// Logs the keys of `missing` that documents are still sealed under. This happens after a restore: the key was destroyed after
    /// the backup was made. These documents are lost, and the pages say so where they would show them.
    async fn report_unreadable(
        &self,
        conn: &mut PgConnection,
        missing: &[Uuid],
    ) -> Result<(), Internal> {
        for key in rewraps::in_use(conn, missing).await? {
            tracing::warn!(
                %key,
                "a key is not in the keyring: it was destroyed after the backup of this database was made, or this is another keyring. Documents that are still sealed under it cannot be read"
            );
        }
        Ok(())
    }

    /// Destroys keys, together if that succeeds, else each on its own, so that a key that cannot be destroyed does not stop the
    /// others. Of those that were given up, nothing may be left to destroy. Returns those that are gone.
    async fn destroy_each(
        &self,
        to_destroy: &[Uuid],
        given_up: &[Uuid],
        failed: &mut Option<Internal>,
    ) -> Vec<Uuid> {
        let mut gone = vec![];
        for batch in to_destroy.chunks(AT_ONCE) {
            if self.keyring.destroy(batch).await.is_ok() {
                gone.extend_from_slice(batch);
            } else {
                for id in batch {
                    match self.keyring.destroy(&[*id]).await {
                        Ok(()) => gone.push(*id),
                        Err(seal::Error::Damaged(_)) if given_up.contains(id) => gone.push(*id),
                        Err(error) => *failed = Some(error.into()),
                    }
                }
            }
            watchdog::progress();
        }
        gone
    }

    /// Rewraps the documents under these keys under other keys of the same subjects. Skips documents whose rows are
    /// locked by another transaction, and documents that cannot be opened.
    async fn rewrap_survivors(
        &self,
        old: &HashMap<Uuid, (Arc<WrappingKey>, Uuid)>,
        table: Table,
    ) -> Result<(), Internal> {
        let ids: Vec<Uuid> = old.keys().copied().collect();
        let mut unreadable = vec![];
        loop {
            let now = self.clock.now();
            let mut tx = self.pool.begin().await?;
            let survivors = rewraps::survivors(&mut tx, table, &ids, &unreadable).await?;
            if survivors.is_empty() {
                return Ok(());
            }
            let mut found = vec![];
            let mut items = HashMap::new();
            for survivor in survivors {
                let key = key_of(&survivor.head).and_then(|id| old.get(&id));
                let (key, subject) = key.ok_or(seal::Error::Unreadable)?;
                *items.entry(*subject).or_default() += 1;
                found.push((survivor, key, subject));
            }
            let new = wrapping::obtain(&mut tx, &self.keyring, &items, KEY_TIMEOUT, now).await?;
            let new = new.ok_or(Internal::NoSpareKey)?;
            let (mut rows, mut heads) = (vec![], vec![]);
            for (survivor, key, subject) in found {
                let to = new.get(subject).ok_or(Internal::NoSpareKey)?;
                let Ok(head) = to.key.rewrap(key, &survivor.head) else {
                    tracing::error!(key = %key.id(), table = ?table, "a document cannot be opened by its key");
                    unreadable.push(survivor.row);
                    continue;
                };
                debug_assert_eq!(head.len(), HEAD, "as long as the one it replaces");
                rows.push(survivor.row);
                heads.push(head);
            }
            rewraps::rewrap(&mut tx, table, &rows, &heads).await?;
            tx.commit().await?;
            wrapping::settle(&self.keyring, &new);
        }
    }
}
