//! Official Accounts: their credentials and their webhook.

use super::{
    handles::{Channel, Chat, FakeLine, User},
    states::{BotMessage, ChannelState, ChatKind},
};

impl Channel {
    /// The platform this channel is on.
    #[must_use]
    pub fn line(&self) -> &FakeLine {
        &self.line
    }

    /// The account's display name.
    #[must_use]
    pub fn name(&self) -> String {
        self.with(|channel| channel.name.clone())
    }

    /// The channel secret that signs webhooks: 32 hexadecimal digits.
    #[must_use]
    pub fn secret(&self) -> String {
        self.with(|channel| channel.secret.clone())
    }

    /// The access token that the API requires.
    #[must_use]
    pub fn access_token(&self) -> String {
        self.with(|channel| channel.access_token.clone())
    }

    /// The bot's user id: `destination` in every webhook.
    #[must_use]
    pub fn bot_user_id(&self) -> String {
        self.with(|channel| channel.bot_user_id.clone())
    }

    /// Sets the webhook URL.
    pub fn webhook_to(&self, url: &str) {
        self.with(|channel| channel.webhook = Some(url.to_owned()));
    }

    /// Issues a new access token; the API refuses the old one from now on.
    pub fn reissue_token(&self) -> String {
        let token = self.line.world().ids.token(172);
        self.with(|channel| channel.access_token.clone_from(&token));
        token
    }

    /// Issues a new channel secret; the platform signs webhooks with it from now on.
    pub fn reissue_secret(&self) -> String {
        let secret = self.line.world().ids.hex(32);
        self.with(|channel| channel.secret.clone_from(&secret));
        secret
    }

    /// Creates a new person, who is a friend of this account and talks to it one-on-one.
    #[must_use]
    pub fn user(&self, name: &str) -> User {
        User::new(self, name)
    }

    /// The same person as `user` of another channel of the same provider, so with the same user id; a friend here too.
    #[must_use]
    pub fn befriends(&self, user: &User) -> User {
        User::befriended(self, user)
    }

    /// Creates a group chat with the bot and `members` in it.
    #[must_use]
    pub fn group(&self, name: &str, members: &[&User]) -> Chat {
        Chat::new(
            self,
            ChatKind::Group {
                name: name.to_owned(),
                picture: None,
            },
            members,
        )
    }

    /// Creates a multi-person chat (room) with the bot and `members` in it.
    #[must_use]
    pub fn room(&self, members: &[&User]) -> Chat {
        Chat::new(self, ChatKind::Room, members)
    }

    /// All messages that the bot sent by reply and push, in order.
    #[must_use]
    pub fn sent_messages(&self) -> Vec<BotMessage> {
        self.with(|channel| channel.sent_messages.clone())
    }

    fn with<T>(&self, ask: impl FnOnce(&mut ChannelState) -> T) -> T {
        ask(&mut self.line.world().channels[self.index])
    }
}
