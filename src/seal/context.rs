//! The associated data that a sealed value is authenticated with. It names the row that the value belongs to, so that a
//! value that is moved to another row cannot be opened.

use uuid::Uuid;

/// The row or object that a sealed value belongs to.
#[derive(Clone, Copy, Debug)]
pub enum SealContext<'a> {
    /// A revision of a message, by the archive's id of the message. The event inside says which revision it is.
    Message(Uuid),
    /// An event that is not a message, by the archive's id of it.
    Event(Uuid),
    /// The profile of a contact, by the archive's id of the contact.
    Profile(Uuid),
    /// The summary of a group, by the archive's id of its conversation.
    Summary(Uuid),
    /// An object in the bucket, by its key.
    Object(&'a str),
    /// A channel's secret, by the number of the channel.
    ChannelSecret(i32),
    /// A channel's access token, by the number of the channel.
    AccessToken(i32),
}

impl SealContext<'_> {
    /// The associated data (AEAD, RFC 5116). No two contexts have the same bytes.
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
