//! What the committer remembers between batches, of all its lanes.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::known::Known;
use crate::line::event::Place;

/// A person as LINE names them: channel and user id.
pub type Person = (i32, String);

/// Counts how often everything was forgotten.
pub type Epoch = u64;

/// Ids of contacts and conversations, and who is known to be in which group.
pub struct Memory(Mutex<Inner>);

struct Inner {
    epoch: Epoch,
    contacts: Known<Person, Uuid>,
    conversations: Known<(i32, Place), Uuid>,
    present: Known<(Uuid, Uuid), (bool, DateTime<Utc>)>,
    heard: HashMap<i32, DateTime<Utc>>,
}

/// What a batch has learned; believed once the batch is committed.
#[derive(Default)]
pub struct Learned {
    /// Contacts.
    pub contacts: Vec<(Person, Uuid)>,
    /// Conversations.
    pub conversations: Vec<((i32, Place), Uuid)>,
    /// (conversation, contact, is in it, since when by the event's timestamp).
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

    /// Forgets everything, also what batches that have begun are about to learn.
    pub fn begin_anew(&self) -> Epoch {
        let mut inner = self.inner();
        *inner = Inner::new(inner.epoch + 1);
        inner.epoch
    }

    /// Our id of a contact.
    pub fn contact(&self, person: &Person, now: DateTime<Utc>) -> Option<Uuid> {
        self.inner().contacts.get(person, now)
    }

    /// Our id of a conversation.
    pub fn conversation(&self, place: &(i32, Place), now: DateTime<Utc>) -> Option<Uuid> {
        self.inner().conversations.get(place, now)
    }

    /// True if the contact is known to be in the conversation.
    pub fn is_present(&self, conversation: Uuid, contact: Uuid, now: DateTime<Utc>) -> bool {
        let known = self.inner().present.get(&(conversation, contact), now);
        known.is_some_and(|(present, _)| present)
    }

    /// Of these channels, those of which it was not put on record within the last minute that they are heard from.
    pub fn unheard(&self, channel_ids: &[i32], now: DateTime<Utc>) -> Vec<i32> {
        let inner = self.inner();
        let is_heard = |id: &i32| {
            let at = inner.heard.get(id);
            at.is_some_and(|at| now - *at < Duration::minutes(1))
        };
        let mut unheard = channel_ids.to_vec();
        unheard.retain(|id| !is_heard(id));
        unheard
    }

    /// Remembers that these channels are on record as heard from.
    pub fn hear(&self, channel_ids: &[i32], now: DateTime<Utc>) {
        let heard = channel_ids.iter().map(|channel_id| (*channel_id, now));
        self.inner().heard.extend(heard);
    }

    /// Believes what a committed batch has learned that was begun in this epoch.
    pub fn learn(&self, learned: Learned, epoch: Epoch, now: DateTime<Utc>) {
        let mut inner = self.inner();
        if inner.epoch != epoch {
            return;
        }
        for (person, id) in learned.contacts {
            inner.contacts.put(person, id, now);
        }
        for (place, id) in learned.conversations {
            inner.conversations.put(place, id, now);
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
        // Nothing that is done under the lock can stop half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            contacts: Known::new(),
            conversations: Known::new(),
            present: Known::new(),
            heard: HashMap::new(),
        }
    }
}
