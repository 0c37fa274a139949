//! Exports: the copy of their own data that a person gets. An export is a zip with `data.json` and `media/…`, sealed
//! like every other object.
//!
//! The zip is written while the data is read, one piece at a time. No part of it is ever on a disk unsealed. The row of
//! its object is inserted before the first byte is written. If something in the export is erased while it is being
//! made, the transaction at its end finds that the export was withdrawn. Then its object is discarded, and another
//! export is made.
//!
//! An export that fails does not keep others waiting. A file counts as missing only after two attempts in a row could
//! not read it, and only if most other objects are found: a disk that is not mounted, or the wrong bucket, looks like a
//! bucket that has lost everything.

mod attempts;
mod content;
mod out;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::TimeDelta;
use futures_util::{FutureExt, StreamExt};
use sqlx::PgPool;
use uuid::Uuid;
use zip::ZipWriter;

pub use self::attempts::Error;
use self::out::{Out, Pipe};
use crate::{
    clock::Clock,
    objects::{ObjectKey, Objects},
    records::{self, exports, subjects::Task, wrapping},
    seal::{
        self, Keyring, SealContext, key_of,
        stream::{self, Sealer},
    },
};

/// The longest time that an erasure waits for an export that fails, whatever the cause of the failure. The pauses
/// between all attempts add up to less.
const ERASURE_MAX_WAIT: TimeDelta = TimeDelta::hours(35);
/// How long an export can be downloaded.
const DOWNLOAD_PERIOD: TimeDelta = TimeDelta::days(7);
/// Messages or events read at a time.
const PAGE_ITEMS: i64 = 200;

/// Makes exports. Clones share everything.
#[derive(Clone, Debug)]
pub struct Exports {
    pool: PgPool,
    clock: Clock,
    keyring: Keyring,
    objects: Objects,
    /// By request: the objects that the last failed attempt in this process could not read.
    last_unreadable: Arc<Mutex<HashMap<Uuid, Vec<String>>>>,
}

impl Exports {
    /// Takes the database pool, the clock, the keyring and the bucket.
    pub fn new(pool: PgPool, clock: Clock, keyring: Keyring, objects: Objects) -> Self {
        Self {
            pool,
            clock,
            keyring,
            objects,
            last_unreadable: Arc::default(),
        }
    }

    fn last_unreadable(&self) -> MutexGuard<'_, HashMap<Uuid, Vec<String>>> {
        self.last_unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the exports that are due, expires those whose download period is over, and gives up those that an erasure
    /// has waited for too long. Returns how many exports that were. An export that fails is put off; the log and the
    /// page of its request say why.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn work(&self) -> sqlx::Result<usize> {
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        let over = exports::expire(&mut conn, now - DOWNLOAD_PERIOD, now).await?;
        let over = over + exports::give_up(&mut conn, now - ERASURE_MAX_WAIT).await?;
        let due = exports::due(&mut conn, now).await?;
        drop(conn);
        let done = usize::try_from(over).unwrap_or(usize::MAX);
        let done = done.saturating_add(due.len());
        for export in due {
            match self.make(&export.task).await {
                Ok(()) => drop(self.last_unreadable().remove(&export.task.id)),
                Err(Error::Withdrawn) => {}
                Err(error) => self.schedule_retry_or_give_up(&export, &error).await?,
            }
        }
        Ok(done)
    }

    async fn make(&self, task: &Task) -> Result<(), Error> {
        let key = ObjectKey::new();
        // A panic drops the attempt: its connections roll back, and the object is found by its row.
        let written = AssertUnwindSafe(self.write(task, key)).catch_unwind();
        match written.await.unwrap_or(Err(Error::Panic)) {
            Ok(()) => Ok(()),
            Err(error) => {
                let mut conn = self.pool.acquire().await?;
                records::objects::discard(&mut conn, key, self.clock.now()).await?;
                Err(error)
            }
        }
    }

    async fn write(&self, task: &Task, key: ObjectKey) -> Result<(), Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if !exports::begin(&mut tx, task.id, key).await? {
            return Err(Error::Withdrawn);
        }
        let taken = wrapping::key_for(&mut tx, &self.keyring, task.id, 1, now).await?;
        let (data_key, head) = taken.key.new_data_key()?;
        records::objects::begin(
            &mut tx,
            key,
            None,
            &head,
            now,
            now + records::objects::LEASE,
        )
        .await?;
        tx.commit().await?;
        self.keyring.claimed(task.id, taken.key.id());

        let pipe = Pipe::default();
        let mut file = Out {
            exports: self,
            key,
            zip: ZipWriter::new_stream(pipe.clone()),
            pipe,
            sealer: Sealer::new(&data_key, SealContext::Object(&key.to_string())),
            writer: self.objects.put(key).await?,
            renewed: now,
        };
        let media = self.data(task, &mut file).await?;
        let (mut missing, mut unreadable) = (vec![], vec![]);
        for (name, object) in media {
            match self.media(&name, &object, &mut file).await {
                Err(error) if error.is_file_error() => {
                    missing.push(name);
                    unreadable.push(object);
                }
                done => done?,
            }
        }
        if !missing.is_empty() {
            self.confirm_missing(task, key, unreadable).await?;
            file.begin("missing.txt")?;
            let list = missing.join("\n");
            let text = format!("These files are missing or incomplete:\n{list}\n");
            file.put(text.as_bytes()).await?;
        }
        file.finish().await?;

        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if !exports::finish(&mut tx, task.id, key, now).await?
            || !records::objects::keep(&mut tx, key, now).await?
        {
            return Err(Error::Withdrawn);
        }
        tx.commit().await?;
        Ok(())
    }

    /// Confirms that objects that could not be read are missing or damaged for good.
    ///
    /// # Errors
    /// [`Error::Unreadable`] unless the previous attempt failed on all of them as well, [`Error::WrongBucket`] if
    /// this is not the archive's bucket, [`Error::Withdrawn`] if something in the export was erased, perhaps one of
    /// these objects.
    async fn confirm_missing(
        &self,
        task: &Task,
        key: ObjectKey,
        unreadable: Vec<String>,
    ) -> Result<(), Error> {
        let mut conn = self.pool.acquire().await?;
        if !records::objects::renew(&mut conn, key, self.clock.now() + records::objects::LEASE)
            .await?
        {
            return Err(Error::Withdrawn);
        }
        drop(conn);
        let is_right = self.is_right_bucket(&unreadable).await?;
        let before = self.last_unreadable().insert(task.id, unreadable.clone());
        let before = before.unwrap_or_default();
        if !is_right {
            Err(Error::WrongBucket)
        } else if unreadable.iter().all(|object| before.contains(object)) {
            Ok(())
        } else {
            Err(Error::Unreadable)
        }
    }

    /// Adds one object to the zip. Skips an object that is no longer in use: it was replaced, or it was erased, which
    /// the transaction at the end finds out.
    async fn media(&self, name: &str, object: &str, file: &mut Out<'_>) -> Result<(), Error> {
        let mut conn = self.pool.acquire().await?;
        let head = records::objects::head(&mut conn, object).await?;
        drop(conn);
        let (Some(key), Some(head)) = (ObjectKey::parse(object), head) else {
            return Ok(());
        };
        let wrapping = key_of(&head).ok_or(seal::Error::Unreadable)?;
        let data_key = self.keyring.find(wrapping).await?.open_data_key(&head)?;
        let (sealed, body) = self.objects.get(key, None).await?;
        let body = body.map(|piece| piece.map_err(Error::from));
        let all = 0..stream::plain_size(sealed);
        let plain = stream::open(&data_key, SealContext::Object(object), all, sealed, body);
        let mut plain = std::pin::pin!(plain);
        file.begin(name)?;
        while let Some(piece) = plain.next().await {
            file.put(&piece?).await?;
        }
        Ok(())
    }
}
