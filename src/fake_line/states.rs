//! The platform's state of accounts, people and chats.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::{ids::Ids, json::Json};

/// The platform's state of a channel.
pub(super) struct ChannelState {
    pub(super) name: String,
    pub(super) secret: String,
    pub(super) access_token: String,
    pub(super) bot_user_id: String,
    pub(super) basic_id: String,
    pub(super) webhook: Option<String>,
    pub(super) sent_messages: Vec<BotMessage>,
}

impl ChannelState {
    pub(super) fn new(name: &str, ids: &mut Ids) -> Self {
        ChannelState {
            name: name.to_owned(),
            secret: ids.hex(32),
            access_token: ids.token(172),
            bot_user_id: ids.party('U'),
            basic_id: format!("@{}", ids.hex(8)),
            webhook: None,
            sent_messages: Vec::new(),
        }
    }
}

/// The platform's state of a person.
pub(super) struct PersonState {
    pub(super) name: String,
    pub(super) status: Option<String>,
    pub(super) language: Option<String>,
    /// The token in the picture's URL; `None` without a picture.
    pub(super) picture: Option<String>,
    /// The channels that this person is a friend of and does not block.
    pub(super) friends: HashSet<usize>,
    /// Whether webhooks from chats may contain this person's user id; PC-only accounts never consented.
    pub(super) consents: bool,
}

/// The platform's state of a chat.
pub(super) struct ChatState {
    pub(super) channel: usize,
    pub(super) kind: ChatKind,
    pub(super) members: BTreeSet<String>,
    pub(super) bot_is_in: bool,
}

#[derive(Clone, PartialEq)]
pub(super) enum ChatKind {
    Group {
        name: String,
        picture: Option<String>,
    },
    Room,
}

/// A message that a bot sent.
#[derive(Clone, Debug, PartialEq)]
pub struct BotMessage {
    /// The message id that the platform gave it.
    pub message_id: String,
    /// The recipient of a push; `None` for a reply.
    pub to: Option<String>,
    /// The message object, as the bot sent it.
    pub message: Value,
}

/// A push that was accepted, kept to answer a retry with the same retry key.
#[derive(Clone)]
pub(super) struct Accepted {
    pub(super) request_id: String,
    pub(super) sent_messages: Json,
}
