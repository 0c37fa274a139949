//! The memory that all lanes of the committer share between batches.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::ttl_map::TtlMap;
use crate::line::event::Source;

/// The key of a contact: the archive's channel id and LINE's user id.
pub type Person = (i32, String);

/// The number of times the memory was cleared.
pub type Epoch = u64;

/// Ids of contacts and conversations, which contact is known to be in which group, and the last-webhook times.
pub struct Memory(Mutex<Inner>);

struct Inner {
    epoch: Epoch,
    contacts: TtlMap<Person, Uuid>,
    conversations: TtlMap<(i32, Source), Uuid>,
    present: TtlMap<(Uuid, Uuid), (bool, DateTime<Utc>)>,
    last_webhook: HashMap<i32, DateTime<Utc>>,
}

/// Rows that a batch found or created. [`Memory::learn`] takes them once the batch is committed.
#[derive(Default)]
pub struct Learned {
    /// Contacts with the archive's ids.
    pub contacts: Vec<(Person, Uuid)>,
    /// Conversations, by channel and source, with the archive's ids.
    pub conversations: Vec<((i32, Source), Uuid)>,
    /// (conversation, contact, true if the contact is in it, timestamp of the event that shows it).
    pub members: Vec<(Uuid, Uuid, bool, DateTime<Utc>)>,
}

impl Memory {
    /// An empty memory.
    pub fn new() -> Self {
        Self(Mutex::new(Inner::new(0)))
    }

    /// The present epoch.
    pub fn epoch(&self) -> Epoch {
        self.inner().epoch
    }

    /// Clears the memory and returns the new epoch. [`Memory::learn`] then ignores batches that began before.
    pub fn clear(&self) -> Epoch {
        let mut inner = self.inner();
        *inner = Inner::new(inner.epoch + 1);
        inner.epoch
    }

    /// The archive's id of a contact; `None` if it is not remembered.
    pub fn contact(&self, person: &Person, now: DateTime<Utc>) -> Option<Uuid> {
        self.inner().contacts.get(person, now)
    }

    /// The archive's id of a conversation; `None` if it is not remembered.
    pub fn conversation(&self, source: &(i32, Source), now: DateTime<Utc>) -> Option<Uuid> {
        self.inner().conversations.get(source, now)
    }

    /// True if the contact is known to be in the conversation.
    pub fn is_present(&self, conversation: Uuid, contact: Uuid, now: DateTime<Utc>) -> bool {
        let known = self.inner().present.get(&(conversation, contact), now);
        known.is_some_and(|(present, _)| present)
    }

    /// The channels of `channel_ids` whose last-webhook time was not written within the last minute.
    pub fn without_recent_webhook(&self, channel_ids: &[i32], now: DateTime<Utc>) -> Vec<i32> {
        let inner = self.inner();
        let is_recent = |id: &i32| {
            let at = inner.last_webhook.get(id);
            at.is_some_and(|at| now - *at < Duration::minutes(1))
        };
        let mut others = channel_ids.to_vec();
        others.retain(|id| !is_recent(id));
        others
    }

    /// Remembers that the last-webhook time of these channels was written at `now`.
    pub fn remember_last_webhook(&self, channel_ids: &[i32], now: DateTime<Utc>) {
        let written = channel_ids.iter().map(|channel_id| (*channel_id, now));
        self.inner().last_webhook.extend(written);
    }

    /// Remembers the rows of a committed batch, if it began in the present epoch.
    pub fn learn(&self, learned: Learned, epoch: Epoch, now: DateTime<Utc>) {
        let mut inner = self.inner();
        if inner.epoch != epoch {
            return;
        }
        for (person, id) in learned.contacts {
            inner.contacts.put(person, id, now);
        }
        for (source, id) in learned.conversations {
            inner.conversations.put(source, id, now);
        }
        for (conversation, contact, present, at) in learned.members {
            let key = (conversation, contact);
            let newer = inner
                .present
                .get(&key, now)
                .is_some_and(|(_, known)| known > at);
            if !newer {
                inner.present.put(key, (present, at), now);
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // No operation under the lock can stop half-way, so the data of a poisoned lock is consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            contacts: TtlMap::new(),
            conversations: TtlMap::new(),
            present: TtlMap::new(),
            last_webhook: HashMap::new(),
        }
    }
}
