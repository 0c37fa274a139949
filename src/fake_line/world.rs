//! All the platform knows, in one place behind one lock.

use std::collections::HashMap;

use bytes::Bytes;

use super::{
    channel::ChannelState,
    chats::ChatState,
    content::MessageState,
    faults::Fault,
    ids::Ids,
    people::PersonState,
    server::{Call, sending::Accepted},
    time::Time,
};

/// The platform's state. Handles refer into it by id.
pub(super) struct World {
    pub(super) ids: Ids,
    pub(super) time: Time,
    pub(super) channels: Vec<ChannelState>,
    pub(super) people: HashMap<String, PersonState>,
    pub(super) chats: HashMap<String, ChatState>,
    pub(super) messages: HashMap<String, MessageState>,
    /// Profile pictures by the token in their URL, and what lies on hosts that are not LINE's.
    pub(super) pictures: HashMap<String, Picture>,
    /// Unused reply tokens and the channel each was given to.
    pub(super) reply_tokens: HashMap<String, usize>,
    /// Push requests by channel and retry key.
    pub(super) accepted: HashMap<(usize, String), Accepted>,
    pub(super) faults: Vec<Fault>,
    pub(super) calls: HashMap<(Call, String), usize>,
    pub(super) unexpected: Vec<String>,
    /// Whether a part of a content is given to who asks for one.
    pub(super) gives_parts: bool,
}

/// A picture: bytes, or a seed from which it is drawn when somebody asks for it.
#[derive(Clone)]
pub(super) enum Picture {
    Given(Bytes),
    Avatar(u64),
}

impl World {
    pub(super) fn seeded(seed: u64) -> Self {
        World {
            ids: Ids::seeded(seed),
            time: Time::real(),
            channels: Vec::new(),
            people: HashMap::new(),
            chats: HashMap::new(),
            messages: HashMap::new(),
            pictures: HashMap::new(),
            reply_tokens: HashMap::new(),
            accepted: HashMap::new(),
            faults: Vec::new(),
            calls: HashMap::new(),
            unexpected: Vec::new(),
            gives_parts: false,
        }
    }

    /// Hangs `picture` up under a new token; whoever changes a picture gets a new URL, as on LINE.
    pub(super) fn hang(&mut self, picture: Picture) -> String {
        let token = self.ids.token(24);
        self.pictures.insert(token.clone(), picture);
        token
    }

    /// A message id nobody has yet, for a message of time `ms`.
    pub(super) fn message_id(&mut self, ms: i64) -> String {
        loop {
            let id = self.ids.message(ms);
            if !self.messages.contains_key(&id) {
                return id;
            }
        }
    }
}
