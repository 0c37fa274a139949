//! Scrub: reads all keys in use and all objects to their ends, slowly, so that damage is found while LINE still has the file or
//! a copy can be restored. Disks flip bits and lose files without reporting an error.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use uuid::Uuid;

use super::Media;
use crate::{
    objects::{self, ObjectKey},
    records::{
        self,
        failure::Internal,
        scrubs::{self, Key, Kind, Scrub},
    },
    seal::{self, KeyFiles, SealContext, key_of, stream},
    watchdog,
};

/// Keys and objects of one step.
const STEP_KEYS: i64 = 1000;
const STEP_OBJECTS: i64 = 64;

/// A step reads no further object after this many bytes.
const STEP_BYTES: u64 = 8 << 20;

/// Bytes of objects that are read in a second.
const BYTES_PER_SECOND: u64 = 8 << 20;

/// Objects that a reader found damaged and that one call reads again.
const BATCH_SUSPECTS: i64 = 16;

/// How long to wait after `bytes` were read.
pub fn scrub_pause(bytes: u64) -> Duration {
    Duration::from_secs(bytes / BYTES_PER_SECOND)
}

/// State of an object that was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Every byte of it is authentic. Has the number of bytes.
    Whole(u64),
    /// It was cut, altered, or is empty.
    Damaged,
    /// It is not in the object store.
    Missing,
    /// It is not in use any more, or its key is not there: its condition is unknown.
    Unknown,
}

/// A change of a key's condition.
enum Change {
    Damaged,
    Whole,
}

impl Media {
    /// Reads the objects that readers found damaged, and then takes one step of each scrub that is due. Returns how many bytes
    /// were read.
    ///
    /// # Errors
    /// The database, the keyring or the object store fails; the step is taken again.
    pub async fn scrub(&self) -> Result<u64, Internal> {
        let mut conn = self.pool.acquire().await?;
        let suspects = scrubs::suspected(&mut conn, BATCH_SUSPECTS).await?;
        drop(conn);
        let mut bytes = self
            .verify_objects(&suspects, &[Condition::Damaged, Condition::Missing])
            .await?;
        for kind in [Kind::Keys, Kind::Objects] {
            let mut conn = self.pool.acquire().await?;
            let scrub = scrubs::resume(&mut conn, kind, self.clock.now()).await?;
            drop(conn);
            if let Some(scrub) = scrub {
                bytes += match kind {
                    Kind::Keys => self.step_keys(scrub).await?,
                    Kind::Objects => self.step_objects(scrub).await?,
                };
            }
        }
        Ok(bytes)
    }

    /// Reads the next objects of a scrub.
    async fn step_objects(&self, mut scrub: Scrub) -> Result<u64, Internal> {
        let (mut bytes, mut count) = (0, 0);
        let mut conn = self.pool.acquire().await?;
        let next = scrubs::objects(&mut conn, &scrub.position, STEP_OBJECTS).await?;
        drop(conn);
        for key in &next {
            // If many are missing, the reconcile decides whether this is the right bucket.
            bytes += self
                .verify_objects(std::slice::from_ref(key), &[Condition::Damaged])
                .await?;
            count += 1;
            scrub.position = key.to_string();
            if bytes >= STEP_BYTES {
                break;
            }
        }
        self.save(&scrub, count, bytes, next.is_empty()).await?;
        Ok(bytes)
    }

    /// Reads the next keys of a scrub.
    async fn step_keys(&self, mut scrub: Scrub) -> Result<u64, Internal> {
        let now = self.clock.now();
        let after = scrub.position.parse().unwrap_or(Uuid::nil());
        let mut conn = self.pool.acquire().await?;
        let keys = scrubs::keys(&mut conn, after, STEP_KEYS, now).await?;
        drop(conn);
        let (mut count, mut damaged, mut whole) = (0, vec![], vec![]);
        let mut failed = Ok(());
        for key in keys.iter().filter(|key| key.is_expected) {
            match self.check_key(key, now).await {
                Ok(Some(Change::Damaged)) => damaged.push(key.id),
                Ok(Some(Change::Whole)) => whole.push(key.id),
                Ok(None) => {}
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
            count += 1;
            watchdog::progress();
        }
        // Also if a key could not be read: these changes are recorded, and no later step finds them.
        self.report_keys(&damaged, &whole);
        failed?;
        if let Some(last) = keys.last() {
            scrub.position = last.id.to_string();
        }
        self.save(&scrub, count, 0, keys.is_empty()).await?;
        Ok(0)
    }

    async fn save(
        &self,
        scrub: &Scrub,
        count: i64,
        bytes: u64,
        finished: bool,
    ) -> Result<(), Internal> {
        let now = self.clock.now();
        let read = (count, i64::try_from(bytes).unwrap_or(i64::MAX));
        let mut conn = self.pool.acquire().await?;
        scrubs::save(
            &mut conn,
            scrub,
            read,
            finished,
            (now, now + scrub_pause(bytes)),
        )
        .await?;
        Ok(())
    }

    /// Logs the keys whose condition has changed, in one line for all: a file holds up to 64 of them.
    fn report_keys(&self, damaged: &[Uuid], whole: &[Uuid]) {
        if let Some(KeyFiles { files, names }) = self.keyring.files_of(damaged) {
            tracing::error!(
                keys = damaged.len(),
                files,
                names,
                "keys are missing in the keyring, or damaged: what is sealed under them cannot be read"
            );
        }
        if let Some(KeyFiles { files, names }) = self.keyring.files_of(whole) {
            tracing::warn!(
                keys = whole.len(),
                files,
                names,
                "keys that were missing or damaged can be read again"
            );
        }
    }

    /// Reads a key. Records, and returns, a change of its condition.
    async fn check_key(&self, key: &Key, now: DateTime<Utc>) -> Result<Option<Change>, Internal> {
        match self.keyring.verify(key.id).await {
            Ok(()) if !key.is_damaged => {}
            Ok(()) => {
                let mut conn = self.pool.acquire().await?;
                scrubs::mark_key_whole(&mut conn, key.id).await?;
                return Ok(Some(Change::Whole));
            }
            Err(error) if error.is_permanent() => {
                let mut conn = self.pool.acquire().await?;
                // Noted after the read from the keyring: a key that is to be destroyed is closed before.
                let missing = matches!(error, seal::Error::NoKey);
                let is_new = scrubs::mark_key_damaged(&mut conn, key.id, missing, now).await?;
                if is_new && !key.is_damaged {
                    // This process seals nothing under it any more.
                    self.keyring.forget(&[key.id]);
                    return Ok(Some(Change::Damaged));
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(None)
    }

    /// Reads objects, and notes their condition. Those in one of the conditions `bad` are fetched again. Returns how many bytes
    /// were read.
    async fn verify_objects(&self, keys: &[ObjectKey], bad: &[Condition]) -> Result<u64, Internal> {
        let mut bytes = 0;
        for key in keys {
            let mut condition = self.readable_condition(*key).await?;
            if matches!(condition, Condition::Damaged | Condition::Missing) {
                // Read once more: the network and the memory make errors too.
                condition = self.readable_condition(*key).await?;
            }
            match condition {
                Condition::Whole(read) => {
                    bytes += read;
                    self.mark(*key, None).await?;
                }
                Condition::Unknown => self.mark(*key, None).await?,
                Condition::Damaged | Condition::Missing => {
                    self.mark(*key, Some(self.clock.now())).await?;
                    if bad.contains(&condition) {
                        self.refetch(*key, condition).await?;
                    }
                }
            }
        }
        Ok(bytes)
    }

    /// As [`Media::condition`]. An object that cannot be read counts as damaged if the object store works otherwise: a disk may have
    /// lost a sector.
    async fn readable_condition(&self, key: ObjectKey) -> Result<Condition, Internal> {
        match self.condition(key).await {
            Err(Internal::Objects(_)) => {
                self.objects.check().await?;
                Ok(Condition::Damaged)
            }
            condition => condition,
        }
    }

    /// Records the condition of an object.
    pub(super) async fn mark(
        &self,
        key: ObjectKey,
        damaged_at: Option<DateTime<Utc>>,
    ) -> Result<(), Internal> {
        let mut conn = self.pool.acquire().await?;
        Ok(scrubs::mark_object(&mut conn, key, damaged_at).await?)
    }

    /// Reads an object to its end.
    ///
    /// # Errors
    /// The database, the keyring or the object store fails: the object's condition stays unknown.
    pub(super) async fn condition(&self, key: ObjectKey) -> Result<Condition, Internal> {
        let text = key.to_string();
        let mut conn = self.pool.acquire().await?;
        let head = records::objects::head(&mut conn, &text).await?;
        drop(conn);
        let Some((wrapping, head)) = head.and_then(|head| Some((key_of(&head)?, head))) else {
            return Ok(Condition::Unknown);
        };
        let data_key = match self.keyring.find(wrapping).await {
            Ok(key) => key.open_data_key(&head),
            Err(error) => Err(error),
        };
        let data_key = match data_key {
            Ok(key) => key,
            Err(error) if error.is_permanent() => return Ok(Condition::Unknown),
            Err(error) => return Err(error.into()),
        };
        let read = async {
            let (sealed, body) = self.objects.get(key, None).await?;
            let body = body.map(|piece| piece.map_err(Internal::from));
            let all = 0..stream::plain_size(sealed);
            let plain = stream::open(&data_key, SealContext::Object(&text), all, sealed, body);
            let mut plain = std::pin::pin!(plain);
            while let Some(piece) = plain.next().await {
                piece?;
                watchdog::progress();
            }
            Ok(sealed)
        };
        match read.await {
            Ok(bytes) => Ok(Condition::Whole(bytes)),
            Err(Internal::Objects(objects::Error::NotFound)) => Ok(Condition::Missing),
            Err(
                Internal::Objects(objects::Error::Corrupt)
                | Internal::Keyring(seal::Error::Unreadable),
            ) => Ok(Condition::Damaged),
            Err(error) => Err(error),
        }
    }
}
