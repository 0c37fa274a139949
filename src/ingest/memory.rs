//! What the committer remembers between batches.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::known::Known;
use crate::line::event::Place;

/// A person as LINE names them: channel and user id.
pub type Person = (i32, String);

/// Ids of contacts and conversations, and who is known to be in which group.
pub struct Memory {
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
        Self {
            contacts: Known::new(),
            conversations: Known::new(),
            present: Known::new(),
            heard: HashMap::new(),
        }
    }

    /// Our id of a contact.
    pub fn contact(&self, person: &Person, now: DateTime<Utc>) -> Option<Uuid> {
        self.contacts.get(person, now)
    }

    /// Our id of a conversation.
    pub fn conversation(&self, place: &(i32, Place), now: DateTime<Utc>) -> Option<Uuid> {
        self.conversations.get(place, now)
    }

    /// True if the contact is known to be in the conversation.
    pub fn is_present(&self, conversation: Uuid, contact: Uuid, now: DateTime<Utc>) -> bool {
        let known = self.present.get(&(conversation, contact), now);
        known.is_some_and(|(present, _)| present)
    }

    /// True if it was put on record less than a minute ago that this channel is heard from.
    pub fn is_heard(&self, channel_id: i32, now: DateTime<Utc>) -> bool {
        let heard = self.heard.get(&channel_id);
        heard.is_some_and(|at| now - *at < Duration::minutes(1))
    }

    /// Remembers that these channels are on record as heard from.
    pub fn hear(&mut self, channel_ids: &[i32], now: DateTime<Utc>) {
        self.heard
            .extend(channel_ids.iter().map(|channel_id| (*channel_id, now)));
    }

    /// Believes what a committed batch has learned.
    pub fn learn(&mut self, learned: Learned, now: DateTime<Utc>) {
        for (person, id) in learned.contacts {
            self.contacts.put(person, id, now);
        }
        for (place, id) in learned.conversations {
            self.conversations.put(place, id, now);
        }
        for (conversation, contact, present, at) in learned.members {
            let key = (conversation, contact);
            let newer = self
                .present
                .get(&key, now)
                .is_some_and(|(_, known)| known > at);
            if !newer {
                self.present.put(key, (present, at), now);
            }
        }
    }
}
