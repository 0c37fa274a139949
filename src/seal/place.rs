//! Where a sealed value lies. It is bound to that: moved to another row it cannot be opened.

use uuid::Uuid;

/// The place of a sealed value.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// What a message says or said, by our id of it. Which of its revisions it is, the event inside tells.
    Message(Uuid),
    /// Another event.
    Event(Uuid),
    /// Profile of a contact.
    Profile(Uuid),
    /// Summary of a group's conversation.
    Summary(Uuid),
    /// An object in the bucket, by its key.
    Object(&'a str),
    /// A channel's secret, by the channel's number.
    ChannelSecret(i32),
    /// A channel's access token.
    AccessToken(i32),
}

impl Place<'_> {
    /// The bytes that are authenticated with the value; no two places have the same.
    pub fn bytes(&self) -> Vec<u8> {
        let with = |name: &str, id: &[u8]| [name.as_bytes(), &[0], id].concat();
        match self {
            Self::Message(id) => with("message", id.as_bytes()),
            Self::Event(id) => with("event", id.as_bytes()),
            Self::Profile(id) => with("profile", id.as_bytes()),
            Self::Summary(id) => with("summary", id.as_bytes()),
            Self::Object(key) => with("object", key.as_bytes()),
            Self::ChannelSecret(id) => with("channel secret", &id.to_be_bytes()),
            Self::AccessToken(id) => with("access token", &id.to_be_bytes()),
        }
    }
}
