//! The platform's state, in one struct behind one lock.

use std::collections::HashMap;

use bytes::Bytes;

use super::{
    call::Call,
    content::MessageState,
    faults::Fault,
    ids::Ids,
    states::{Accepted, ChannelState, ChatState, PersonState},
    time::Time,
};

/// The platform's state. Handles refer to its entries by id.
pub(super) struct World {
    pub(super) ids: Ids,
    pub(super) time: Time,
    pub(super) channels: Vec<ChannelState>,
    pub(super) people: HashMap<String, PersonState>,
    pub(super) chats: HashMap<String, ChatState>,
    pub(super) messages: HashMap<String, MessageState>,
    /// Pictures by the token in their URL: profile and group pictures, and the files on hosts that are not LINE's.
    pub(super) pictures: HashMap<String, Bytes>,
    /// Unused reply tokens, each with the channel that it was given to.
    pub(super) reply_tokens: HashMap<String, usize>,
    /// Accepted push requests by channel and retry key.
    pub(super) accepted: HashMap<(usize, String), Accepted>,
    pub(super) faults: Vec<Fault>,
    /// Every call and its id, in the order in which they came.
    pub(super) calls: Vec<(Call, String)>,
    pub(super) unexpected: Vec<String>,
    /// Whether the content API honours `Range`.
    pub(super) honours_range: bool,
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
            calls: Vec::new(),
            unexpected: Vec::new(),
            honours_range: false,
        }
    }

    /// Adds `picture` under a new token, so that a changed picture has a new URL, as on LINE.
    pub(super) fn add_picture(&mut self, picture: Bytes) -> String {
        let token = self.ids.token(24);
        self.pictures.insert(token.clone(), picture);
        token
    }

    /// An unused message id for a message of time `ms`.
    pub(super) fn message_id(&mut self, ms: i64) -> String {
        loop {
            let id = self.ids.message(ms);
            if !self.messages.contains_key(&id) {
                return id;
            }
        }
    }
}
