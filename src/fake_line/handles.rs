//! Handles: what a test holds of the platform, an account, a person and a chat. Each refers to the state by index or id.

use std::sync::Arc;

use super::{platform::Platform, server::Server};

/// A running platform. Clones are handles to the same platform; it stops when the last one is dropped.
#[derive(Clone)]
pub struct FakeLine {
    pub(super) platform: Arc<Platform>,
    pub(super) server: Arc<Server>,
}

/// The channel of an Official Account.
#[derive(Clone)]
pub struct Channel {
    pub(super) line: FakeLine,
    pub(super) index: usize,
}

/// A person in one conversation: one-on-one with the account, or in a chat ([`Chat::member`]).
#[derive(Clone)]
pub struct User {
    pub(super) channel: Channel,
    pub(super) id: String,
    pub(super) chat: Option<Chat>,
}

/// A group or a multi-person chat with an account's bot in it.
#[derive(Clone)]
pub struct Chat {
    pub(super) channel: Channel,
    pub(super) id: String,
}
