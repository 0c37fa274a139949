//! Groups and multi-person chats, and their members.

use bytes::Bytes;

use super::{
    handles::{Channel, Chat, User},
    json::{Json, object},
    states::{ChatKind, ChatState},
};

impl Chat {
    pub(super) fn new(channel: &Channel, kind: ChatKind, members: &[&User]) -> Self {
        let mut world = channel.line.world();
        let id = world
            .ids
            .party(if kind == ChatKind::Room { 'R' } else { 'C' });
        let members = members.iter().map(|user| user.id.clone()).collect();
        world.chats.insert(
            id.clone(),
            ChatState {
                channel: channel.index,
                kind,
                members,
                bot_is_in: true,
            },
        );
        Chat {
            channel: channel.clone(),
            id,
        }
    }

    /// The group id (`C` and 32 hexadecimal digits) or room id (`R` and 32 hexadecimal digits).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `user` as a member of this chat; added without an event if not a member yet ([`Chat::joined`] makes the event).
    #[must_use]
    pub fn member(&self, user: &User) -> User {
        self.with(|chat| chat.members.insert(user.id.clone()));
        User {
            channel: self.channel.clone(),
            id: user.id.clone(),
            chat: Some(self.clone()),
        }
    }

    /// Changes a group's name.
    pub fn renamed(&self, new_name: &str) {
        self.with(|chat| {
            if let ChatKind::Group { name, .. } = &mut chat.kind {
                *name = new_name.to_owned();
            }
        });
    }

    /// Sets a group's picture to these bytes.
    pub fn pictured(&self, bytes: impl Into<Bytes>) {
        let token = self.channel.line.world().add_picture(bytes.into());
        self.with(|chat| {
            if let ChatKind::Group { picture, .. } = &mut chat.kind {
                *picture = Some(token);
            }
        });
    }

    pub(super) fn is_group(&self) -> bool {
        self.with(|chat| chat.kind != ChatKind::Room)
    }

    /// The `source` of an event in this chat that no person causes.
    pub(super) fn source(&self) -> Json {
        let (kind, key) = if self.is_group() {
            ("group", "groupId")
        } else {
            ("room", "roomId")
        };
        object([("type", kind.into()), (key, self.id().into())])
    }

    pub(super) fn with<T: Default>(&self, ask: impl FnOnce(&mut ChatState) -> T) -> T {
        self.channel
            .line
            .world()
            .chats
            .get_mut(&self.id)
            .map(ask)
            .unwrap_or_default()
    }
}
