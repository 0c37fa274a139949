//! Scrub: reads all keys in use and all objects to their ends, slowly, so that damage is found while LINE still has the file or
//! a copy can be restored. Disks flip bits, and lose files, without a word.

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use uuid::Uuid;

use super::Media;
use crate::{
    objects::{self, ObjectKey},
    records::{
        self,
        failure::Internal,
        objects::LEASE,
        scrubs::{self, Key, Read, Scrub},
    },
    seal::{self, SealContext, key_of, stream},
    watchdog,
};

/// Keys and objects of one step.
const STEP_KEYS: i64 = 1000;
const STEP_OBJECTS: i64 = 64;

/// A step reads no further object after this many bytes.
const STEP_BYTES: u64 = 8 << 20;

/// Objects that a reader found damaged and that one call reads again.
const SUSPECTS: i64 = 16;

/// State of an object that was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Every byte of it is authentic. Has the number of bytes.
    Whole(u64),
    /// It was cut, altered, or is empty.
    Damaged,
    /// It is not in the object store.
    Missing,
    /// It is not in use any more, or its key is not there: nothing can be said of it.
    Unknown,
}

impl Media {
    /// Reads the objects that readers found damaged, and then takes one step of the scrub that is due. Returns how many bytes
    /// were read.
    ///
    /// # Errors
    /// The database, the keyring or the object store fails; what was read before is noted.
    pub async fn scrub(&self) -> Result<u64, Internal> {
        let mut conn = self.pool.acquire().await?;
        let suspects = scrubs::suspected(&mut conn, SUSPECTS).await?;
        drop(conn);
        let mut bytes = 0;
        for key in suspects {
            bytes += self
                .look_at(key, &[Condition::Damaged, Condition::Missing])
                .await?;
        }
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        let scrub = scrubs::resume(&mut conn, now, now + LEASE).await?;
        drop(conn);
        match scrub {
            Some(scrub) => Ok(bytes + self.step(scrub).await?),
            None => Ok(bytes),
        }
    }

    /// Reads the next keys, or if all were read, the next objects.
    async fn step(&self, mut scrub: Scrub) -> Result<u64, Internal> {
        let (mut read, mut bytes) = (Read::default(), 0);
        let finished = match scrub.next_key {
            Some(after) => {
                let last = self.check_keys(after, &mut read).await?;
                scrub.next_key = last;
                last.is_none() && !scrub.with_objects
            }
            None => {
                let mut conn = self.pool.acquire().await?;
                let next = scrubs::objects(&mut conn, &scrub.next_object, STEP_OBJECTS).await?;
                drop(conn);
                let finished = next.is_empty();
                for key in next {
                    // If many are missing, the reconcile decides whether this is the right bucket.
                    bytes += self.look_at(key, &[Condition::Damaged]).await?;
                    read.objects += 1;
                    scrub.next_object = key.to_string();
                    if bytes >= STEP_BYTES {
                        break;
                    }
                }
                finished
            }
        };
        read.bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut conn = self.pool.acquire().await?;
        scrubs::save(&mut conn, &scrub, read, finished, self.clock.now()).await?;
        Ok(bytes)
    }

    /// Reads the keys after `after`. Returns the last of them; `None` if none is left.
    async fn check_keys(&self, after: Uuid, read: &mut Read) -> Result<Option<Uuid>, Internal> {
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        let keys = scrubs::keys(&mut conn, after, STEP_KEYS).await?;
        drop(conn);
        for key in keys.iter().filter(|key| key.is_expected(now)) {
            self.check_key(key, now).await?;
            read.keys += 1;
            watchdog::progress();
        }
        Ok(keys.last().map(|key| key.id))
    }

    async fn check_key(&self, key: &Key, now: DateTime<Utc>) -> Result<(), Internal> {
        match self.keyring.verify(key.id).await {
            Ok(()) if !key.is_damaged => {}
            Ok(()) => {
                let mut conn = self.pool.acquire().await?;
                scrubs::mark_key(&mut conn, key.id, None).await?;
                tracing::warn!(
                    file = self.keyring.file_of(key.id),
                    "a key that was missing or damaged can be read again"
                );
            }
            Err(error) if error.is_permanent() => {
                let mut conn = self.pool.acquire().await?;
                // Noted after the look into the keyring: a key that is to be destroyed is closed before.
                if scrubs::mark_key(&mut conn, key.id, Some(now)).await? && !key.is_damaged {
                    // This process seals nothing under it any more.
                    self.keyring.forget(&[key.id]);
                    tracing::error!(
                        file = self.keyring.file_of(key.id),
                        "a key is missing in the keyring, or damaged: what is sealed under it cannot be read"
                    );
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Reads an object, and notes its condition. In one of the conditions `bad` it is fetched again. Returns how many bytes were
    /// read.
    async fn look_at(&self, key: ObjectKey, bad: &[Condition]) -> Result<u64, Internal> {
        let mut condition = self.condition(key).await?;
        if matches!(condition, Condition::Damaged | Condition::Missing) {
            // Read once more: the network and the memory make errors too.
            condition = self.condition(key).await?;
        }
        let now = self.clock.now();
        match condition {
            Condition::Whole(bytes) => {
                self.mark(key, None).await?;
                return Ok(bytes);
            }
            Condition::Unknown => self.mark(key, None).await?,
            Condition::Damaged | Condition::Missing => {
                self.mark(key, Some(now)).await?;
                if bad.contains(&condition) {
                    self.refetch(key, condition).await?;
                }
            }
        }
        Ok(0)
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
    /// The database, the keyring or the object store does not answer: this says nothing of the object.
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
