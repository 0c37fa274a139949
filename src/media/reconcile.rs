//! Reconciles the object store with the rows, from time to time, and repairs both. Neither repair should ever be
//! needed: a row is committed before the first byte of its object, and stays until the object is confirmed gone. But
//! object stores lose objects, backups are restored, and a server may execute a request long after it was sent.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt};

use super::{Media, scrub::Condition};
use crate::{
    objects::{ObjectKey, Shard},
    records::{
        failure::Internal,
        media::{self, Part},
        missing::{self, User},
        notify, objects, people,
    },
    watchdog,
};

/// Maximum number of keys in one database query.
const BATCH_KEYS: usize = 1000;
/// Maximum number of findings of each kind that one reconcile remembers. It counts all; the next one finds the rest.
const MOST: usize = 10_000;

/// How many differences a reconcile found and repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Objects without a row. They get rows, so that the sweep purges them.
    pub unknown_objects: usize,
    /// Objects in use that are not in the object store. They are fetched again.
    pub missing: usize,
}

#[derive(Debug, Default)]
struct Findings {
    known: usize,
    unknown: usize,
    /// Up to [`MOST`] of the unknown objects.
    unknown_objects: HashSet<ObjectKey>,
    kept: usize,
    absent: usize,
    /// Up to [`MOST`] of the absent objects.
    missing: Vec<ObjectKey>,
}

impl Media {
    /// Compares all objects with all rows, and repairs the differences.
    ///
    /// If most objects have no row, this is probably another archive's bucket: then none of them is purged. If most
    /// objects in use are not there, this is probably the wrong bucket, or its disk is missing: then nothing is fetched
    /// again. The log says so in both cases.
    pub async fn reconcile(&self) -> Result<Reconciled, Internal> {
        let mut found = Findings::default();
        for shard in Shard::all() {
            self.compare(shard, &mut found).await?;
        }
        let mut mended = Reconciled::default();
        if found.unknown > found.known {
            tracing::error!(
                known = found.known,
                unknown = found.unknown,
                "most objects in the bucket are not known to this database: is it another archive's bucket? none is purged"
            );
        } else {
            mended.unknown_objects = self.adopt(found.unknown_objects).await?;
        }
        if found.absent > found.kept / 2 {
            tracing::error!(
                kept = found.kept,
                missing = found.absent,
                "most objects are not in the bucket: is it the right one, and is its disk there? nothing is fetched again"
            );
        } else {
            mended.missing = self.refetch_missing(found.missing).await?;
        }
        self.restore_found().await?;
        Ok(mended)
    }

    /// Reads the rows before it lists the objects: an object in use by then was finished before, so the listing must
    /// contain it.
    async fn compare(&self, shard: Shard, found: &mut Findings) -> Result<(), Internal> {
        let mut conn = self.pool.acquire().await?;
        let mut missing: HashSet<_> = objects::kept(&mut conn, shard.prefix()).await?;
        drop(conn);
        found.kept += missing.len();
        let mut listed = self.objects.list(shard);
        while !missing.is_empty()
            && let Some(key) = listed.try_next().await?
        {
            missing.remove(&key);
            watchdog::progress();
        }
        drop(listed);
        found.absent += missing.len();
        let room = MOST.saturating_sub(found.missing.len());
        found.missing.extend(missing.into_iter().take(room));

        let mut traces = self.objects.traces(shard).chunks(BATCH_KEYS);
        while let Some(keys) = traces.next().await {
            let keys: HashSet<ObjectKey> = keys.into_iter().collect::<Result<_, _>>()?;
            let keys: Vec<_> = keys.into_iter().collect();
            let mut conn = self.pool.acquire().await?;
            let unknown = objects::unknown(&mut conn, &keys).await?;
            drop(conn);
            found.known += keys.len() - unknown.len();
            found.unknown += unknown.len();
            let room = MOST.saturating_sub(found.unknown_objects.len());
            found.unknown_objects.extend(unknown.into_iter().take(room));
        }
        Ok(())
    }

    /// Inserts rows for objects without one, so that the sweep purges them after the longest lease. The wait is a
    /// precaution: every writer inserts its row before it writes.
    async fn adopt(&self, unknown_objects: HashSet<ObjectKey>) -> Result<usize, Internal> {
        let now = self.clock.now();
        let unknown_objects: Vec<_> = unknown_objects.into_iter().collect();
        for keys in unknown_objects.chunks(BATCH_KEYS) {
            let mut conn = self.pool.acquire().await?;
            objects::adopt(&mut conn, keys, now, now + objects::LEASE).await?;
        }
        if !unknown_objects.is_empty() {
            tracing::warn!(
                count = unknown_objects.len(),
                "objects without rows are going to be purged"
            );
        }
        Ok(unknown_objects.len())
    }

    /// Marks originals as kept that the object store had lost, or that were damaged, and that it has again, because
    /// somebody restored them from a backup.
    async fn restore_found(&self) -> Result<(), Internal> {
        let mut conn = self.pool.acquire().await?;
        let lost = missing::lost(&mut conn, MOST as i64).await?;
        drop(conn);
        for (id, key) in lost {
            let Some(key) = ObjectKey::parse(&key) else {
                continue;
            };
            watchdog::progress();
            if !self.objects.has(key).await? {
                continue;
            }
            // An object that cannot be read now does not keep the others from being found.
            if !matches!(self.condition(key).await, Ok(Condition::Whole(_))) {
                continue;
            }
            self.mark(key, None).await?;
            let mut tx = self.pool.begin().await?;
            if missing::found(&mut tx, id, key, self.clock.now()).await? {
                tracing::warn!(object = %key, attachment = %id, "an object that was missing is there again");
                notify::attachment_changed(&mut tx, id).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    async fn refetch_missing(&self, missing: Vec<ObjectKey>) -> Result<usize, Internal> {
        let mut count = 0;
        for key in missing {
            watchdog::progress();
            if !self.objects.has(key).await? && self.refetch(key, Condition::Missing).await? {
                count += 1;
            }
        }
        Ok(count)
    }

    /// Inserts a job that fetches the lost file, as if it had never been fetched. If LINE no longer has it, the job
    /// records that. An original keeps its row and key until another object replaces it: a restore from a backup may
    /// still bring it back.
    pub(super) async fn refetch(
        &self,
        key: ObjectKey,
        condition: Condition,
    ) -> Result<bool, Internal> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let user = missing::user(&mut tx, key).await?;
        match user {
            Some(User::Attachment(id, part)) => {
                // Lock order: the attachment before its objects, as an unsend locks them.
                media::lock(&mut tx, id, part).await?;
                if !missing::fetch_again(&mut tx, id, part, key, now).await? {
                    return Ok(false);
                }
                tracing::warn!(object = %key, attachment = %id, ?part, ?condition, "an object cannot be read, and is fetched again");
                notify::attachment_changed(&mut tx, id).await?;
                if part == Part::Original {
                    tx.commit().await?;
                    return Ok(true);
                }
            }
            Some(User::Picture(subject, channel_id)) => {
                let known = people::lock(&mut tx, &self.keyring, subject).await?;
                if known.and_then(|known| known.picture_key()) != Some(key) {
                    return Ok(false);
                }
                tracing::warn!(object = %key, ?subject, ?condition, "a picture cannot be read, and is fetched again");
                people::set_picture(&mut tx, subject, None).await?;
                people::ask_for_picture(&mut tx, channel_id, subject, None, now).await?;
                people::notify(&mut tx, subject).await?;
            }
            None if condition == Condition::Damaged => {
                tracing::error!(object = %key, "the object of an export is damaged: make the export anew");
                return Ok(false);
            }
            None => tracing::warn!(object = %key, "a missing object is not in use"),
        }
        objects::discard(&mut tx, key, now).await?;
        tx.commit().await?;
        Ok(true)
    }
}
