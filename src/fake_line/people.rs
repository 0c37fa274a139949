//! People: their profiles on LINE, and the changes they can make to them.

use std::collections::HashSet;

use bytes::Bytes;

use super::{
    handles::{Channel, Chat, User},
    json::{Json, object},
    pictures,
    states::PersonState,
    world::World,
};

impl User {
    pub(super) fn new(channel: &Channel, name: &str) -> Self {
        let mut world = channel.line.world();
        let id = world.ids.party('U');
        let seed = id.bytes().fold(0_u64, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(byte.into())
        });
        let picture = world.add_picture(pictures::avatar(seed));
        let person = PersonState {
            name: name.to_owned(),
            status: None,
            language: None,
            picture: Some(picture),
            friends: HashSet::from([channel.index]),
            consents: true,
        };
        world.people.insert(id.clone(), person);
        User {
            channel: channel.clone(),
            id,
            chat: None,
        }
    }

    pub(super) fn befriended(channel: &Channel, user: &User) -> Self {
        let befriended = User {
            channel: channel.clone(),
            id: user.id.clone(),
            chat: None,
        };
        befriended.with(|person| person.friends.insert(channel.index));
        befriended
    }

    /// The user id: `U` and 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The group or room that this person talks in, or `None` for one-on-one.
    #[must_use]
    pub fn chat(&self) -> Option<&Chat> {
        self.chat.as_ref()
    }

    /// The channel of the account that this person talks to.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The display name, as set now.
    #[must_use]
    pub fn name(&self) -> String {
        self.with(|person| person.name.clone())
    }

    /// The URL of the profile picture; `None` without a picture.
    #[must_use]
    pub fn picture_url(&self) -> Option<String> {
        let token = self.with(|person| person.picture.clone());
        token.map(|token| format!("{}/pictures/{token}", self.channel.line.url()))
    }

    /// Changes the display name.
    pub fn renames(&self, name: &str) {
        self.with(|person| person.name = name.to_owned());
    }

    /// Sets the status message; an empty one removes it.
    pub fn sets_status(&self, status: &str) {
        self.with(|person| {
            person.status = Some(status.to_owned()).filter(|status| !status.is_empty())
        });
    }

    /// Sets the language, a BCP 47 tag such as `ja`.
    pub fn speaks(&self, language: &str) {
        self.with(|person| person.language = Some(language.to_owned()));
    }

    /// Sets another profile picture, which gets a new URL.
    pub fn sets_picture(&self, picture: impl Into<Bytes>) {
        let token = self.channel.line.world().add_picture(picture.into());
        self.with(|person| person.picture = Some(token));
    }

    /// Removes the profile picture.
    pub fn shows_no_picture(&self) {
        self.with(|person| person.picture = None);
    }

    /// Withdraws the consent: events from chats then contain no `userId`, and profile calls answer 404.
    pub fn withholds_consent(&self) {
        self.with(|person| person.consents = false);
    }

    /// The `source` of an event that this person causes in this conversation.
    pub(super) fn source(&self) -> Json {
        let Some(chat) = &self.chat else {
            return object([("type", "user".into()), ("userId", self.id().into())]);
        };
        let mut source = chat.source();
        if self.with(|person| person.consents) {
            source.set("userId", self.id());
        }
        source
    }

    /// Changes whether this person is a friend of the account.
    pub(super) fn befriend(&self, friend: bool) {
        let channel = self.channel.index;
        self.with(|person| match friend {
            true => person.friends.insert(channel),
            false => person.friends.remove(&channel),
        });
    }

    fn with<T: Default>(&self, ask: impl FnOnce(&mut PersonState) -> T) -> T {
        let mut world = self.channel.line.world();
        let World { people, .. } = &mut *world;
        people.get_mut(&self.id).map(ask).unwrap_or_default()
    }
}
