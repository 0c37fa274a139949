//! The life of the keyring's keys: made ahead of need, and destroyed with what was erased under them.
//!
//! A key that something was erased under is *closed*: nothing new is sealed under it. Behind a barrier that every
//! transaction which found it open has passed, what survives under it is given to another key, a few hundred documents at
//! a time and never waiting for a row; then it is destroyed, confirmed gone, and forgotten. All of it can stop anywhere
//! and be done again, by any replica.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    clock::Clock,
    records::{
        keys::{self, Closed},
        rewraps::{self, TABLES, Table},
    },
    seal::{self, HEAD, Keyring, WrappingKey, key_of},
};

/// Spare keys are a process's own for so long; it says so again long before.
const HELD: TimeDelta = TimeDelta::hours(1);

/// A key is in use for so long at least before it is closed: a conversation that is erased from every second changes
/// its key once a minute. With the time to do it, this keeps within a minute of the erasure.
const USED: TimeDelta = TimeDelta::seconds(50);

/// Keys destroyed in one go, so that a file of the keyring is synced once for all of them that lie in it.
const MANY: i64 = 500;

/// How long survivors wait for spare keys that are being made.
const PATIENCE: Duration = Duration::from_secs(2);

/// What failed on our side. Says nothing of what is sealed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] seal::Error),
    /// Survivors have to wait for spare keys.
    #[error("no key was at hand")]
    NoSpare,
}

/// Makes and destroys keys. Clones share everything.
#[derive(Clone, Debug)]
pub struct Keys {
    pool: PgPool,
    clock: Clock,
    keyring: Keyring,
}

impl Keys {
    /// Takes its handles.
    pub fn new(pool: PgPool, clock: Clock, keyring: Keyring) -> Self {
        Self {
            pool,
            clock,
            keyring,
        }
    }

    /// Waits until spare keys are wanted.
    pub async fn wanted(&self) {
        self.keyring.wanted().await;
    }

    /// Fills up the spare keys: with those that a process has left behind, then with new ones. Each is on record before it
    /// exists.
    ///
    /// # Errors
    /// The database's, or the keyring's; there are fewer spare keys then.
    pub async fn supply(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        let missing = self.keyring.new_ids().len();
        let limit = i64::try_from(missing).unwrap_or(i64::MAX);
        let left = keys::adopt(&mut conn, limit, now, now + HELD).await?;
        for id in left {
            match self.keyring.adopt(id).await {
                Ok(()) => {}
                // Its process ended between record and key. Not so one that cannot be read: that is another secret key's.
                Err(seal::Error::NoKey) => keys::gone(&mut conn, &[id], now).await?,
                Err(error) => return Err(error.into()),
            }
        }
        let ids = self.keyring.new_ids();
        keys::announce(&mut conn, &ids, now, now + HELD).await?;
        drop(conn);
        if let Err(error) = self.keyring.make(&ids).await {
            // Some of them may be there: nobody has used one.
            let mut conn = self.pool.acquire().await?;
            keys::withdraw(&mut conn, &ids).await?;
            return Err(error.into());
        }
        Ok(())
    }

    /// Keeps the spare keys this process's own for another while; those that are so no more it does not use.
    ///
    /// # Errors
    /// The database's.
    pub async fn hold(&self) -> Result<(), Error> {
        self.hold_until(self.clock.now() + HELD).await
    }

    /// Leaves the spare keys to the next process.
    ///
    /// # Errors
    /// The database's; they are left in an hour then.
    pub async fn let_go(&self) -> Result<(), Error> {
        self.hold_until(self.clock.now()).await
    }

    async fn hold_until(&self, until: DateTime<Utc>) -> Result<(), Error> {
        let spare = self.keyring.spare();
        let mut conn = self.pool.acquire().await?;
        let held = keys::hold(&mut conn, &spare, until).await?;
        let lost = spare.into_iter().filter(|id| !held.contains(id));
        self.keyring.forget(&lost.collect::<Vec<_>>());
        Ok(())
    }

    /// Forgets keys that were read, so that those which another replica destroys do not stay in memory.
    pub fn forget_found(&self) {
        self.keyring.forget_found();
    }

    /// Closes what is due, moves what survives, destroys. Returns how many keys were destroyed; those whose documents are
    /// held by somebody come later.
    ///
    /// # Errors
    /// The first one, after all others were tried.
    pub async fn shred(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let closing = keys::close(&mut tx, now, now - USED).await?;
        tx.commit().await?;
        self.keyring.forget(&closing);

        let mut conn = self.pool.acquire().await?;
        keys::heal(&mut conn, now).await?;
        // Later ones were closed by another replica after this one's barrier.
        let before = now + TimeDelta::microseconds(1);
        let closed = keys::closed(&mut conn, MANY, before, Uuid::new_v4()).await?;
        drop(conn);
        if closed.is_empty() {
            return Ok(0);
        }
        let mut tx = self.pool.begin().await?;
        keys::barrier(&mut tx).await?;
        tx.commit().await?;
        self.destroy(&closed).await
    }

    async fn destroy(&self, closed: &[Closed]) -> Result<usize, Error> {
        let (mut readable, mut going, mut failed) = (HashMap::new(), vec![], None);
        for key in closed {
            match self.keyring.find(key.id).await {
                Ok(found) => drop(readable.insert(key.id, (found, key.subject))),
                // As after a restore: it was destroyed after the backup was made. What is still under it is lost, and
                // says so where it is shown.
                Err(seal::Error::NoKey) => {
                    tracing::error!(key = %key.id, "a key is not in the keyring: what is sealed under it cannot be read");
                    going.push(key.id);
                }
                Err(error) => failed = Some(error.into()),
            }
        }
        for table in TABLES {
            self.rescue(&readable, table).await?;
        }
        let ids: Vec<Uuid> = readable.keys().copied().collect();
        let mut conn = self.pool.acquire().await?;
        // Somebody has a row of those.
        let held = rewraps::in_use(&mut conn, &ids).await?;
        drop(conn);
        going.extend(ids.into_iter().filter(|id| !held.contains(id)));
        if self.keyring.destroy(&going).await.is_err() {
            // One that cannot be destroyed costs no other.
            let mut gone = vec![];
            for id in going {
                match self.keyring.destroy(&[id]).await {
                    Ok(()) => gone.push(id),
                    Err(error) => failed = Some(error.into()),
                }
            }
            going = gone;
        }
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        keys::gone(&mut tx, &going, now).await?;
        tx.commit().await?;
        failed.map_or(Ok(going.len()), Err)
    }

    /// Gives the documents under these keys to other keys of the same subjects, but for those that are held by somebody
    /// else.
    async fn rescue(
        &self,
        old: &HashMap<Uuid, (Arc<WrappingKey>, Uuid)>,
        table: Table,
    ) -> Result<(), Error> {
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
            let new = keys::obtain(&mut tx, &self.keyring, &items, PATIENCE, now).await?;
            let new = new.ok_or(Error::NoSpare)?;
            let (mut rows, mut heads) = (vec![], vec![]);
            for (survivor, key, subject) in found {
                let to = new.get(subject).ok_or(Error::NoSpare)?;
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
            keys::settle(&self.keyring, &new);
        }
    }
}
