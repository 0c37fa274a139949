//! All events other than message events.

use serde_json::Value;

use super::{
    draft::Draft,
    handles::{Channel, Chat, User},
    json::{Json, object},
};

/// The changes of a paid membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// The membership began.
    Joined,
    /// The membership ended.
    Left,
    /// The membership was renewed.
    Renewed,
}

impl User {
    /// Adds the account as a friend.
    pub fn follows(&self) -> Draft {
        self.befriend(true);
        self.answerable_event("follow", "follow", object([("isUnblocked", false.into())]))
    }

    /// Unblocks the account.
    pub fn unblocks(&self) -> Draft {
        self.befriend(true);
        self.answerable_event("follow", "follow", object([("isUnblocked", true.into())]))
    }

    /// Blocks the account: the profile answers 404 from now on.
    pub fn unfollows(&self) -> Draft {
        self.befriend(false);
        Draft::new(&self.channel, "unfollow", []).from(self.source())
    }

    /// Presses a button with this postback `data`.
    pub fn postback(&self, data: &str) -> Draft {
        self.answerable_event("postback", "postback", object([("data", data.into())]))
    }

    /// Presses a button with this postback `data` and `params` (the chosen date or menu: a flat object of strings).
    pub fn postback_with(&self, data: &str, params: Value) -> Draft {
        self.answerable_event(
            "postback",
            "postback",
            object([("data", data.into()), ("params", params.into())]),
        )
    }

    /// Watches a video from the bot to its end.
    pub fn watches_to_the_end(&self, tracking_id: &str) -> Draft {
        let played = object([("trackingId", tracking_id.into())]);
        self.answerable_event("videoPlayComplete", "videoPlayComplete", played)
    }

    /// Comes near a beacon; `kind` is `enter`, `banner` or `stay`.
    pub fn meets_beacon(&self, hwid: &str, kind: &str) -> Draft {
        self.answerable_event(
            "beacon",
            "beacon",
            object([("hwid", hwid.into()), ("type", kind.into())]),
        )
    }

    /// Links the LINE account with an account of the shop.
    pub fn links_account(&self, nonce: &str) -> Draft {
        self.answerable_event(
            "accountLink",
            "link",
            object([("result", "ok".into()), ("nonce", nonce.into())]),
        )
    }

    /// Begins, ends or renews a paid membership.
    pub fn membership(&self, change: Membership, id: i64) -> Draft {
        let kind = match change {
            Membership::Joined => "joined",
            Membership::Left => "left",
            Membership::Renewed => "renewed",
        };
        self.answerable_event(
            "membership",
            "membership",
            object([("type", kind.into()), ("membershipId", id.into())]),
        )
    }

    /// Links or unlinks a LINE Things device; LINE has retired this type of event.
    pub fn things(&self, kind: &str, device_id: &str) -> Draft {
        self.answerable_event(
            "things",
            "things",
            object([("deviceId", device_id.into()), ("type", kind.into())]),
        )
    }

    /// Makes an event of a type that is not known yet. [`Draft::with`] adds properties.
    pub fn does(&self, kind: &str) -> Draft {
        Draft::new(&self.channel, kind, [])
            .from(self.source())
            .answerable()
    }

    fn answerable_event(&self, kind: &str, name: &str, payload: Json) -> Draft {
        Draft::new(&self.channel, kind, [(name, payload)])
            .from(self.source())
            .answerable()
    }
}

impl Chat {
    /// These people join the chat.
    pub fn joined(&self, users: &[&User]) -> Draft {
        self.with(|chat| {
            chat.members
                .extend(users.iter().map(|user| user.id.clone()))
        });
        Draft::new(&self.channel, "memberJoined", [("joined", members(users))])
            .from(self.source())
            .answerable()
    }

    /// These people leave the chat.
    pub fn left(&self, users: &[&User]) -> Draft {
        self.with(|chat| {
            chat.members
                .retain(|id| users.iter().all(|user| user.id != *id))
        });
        Draft::new(&self.channel, "memberLeft", [("left", members(users))]).from(self.source())
    }

    /// The bot joins the chat.
    pub fn bot_joins(&self) -> Draft {
        self.with(|chat| chat.bot_is_in = true);
        Draft::new(&self.channel, "join", [])
            .from(self.source())
            .answerable()
    }

    /// The bot leaves or is removed: the chat's summary and members answer 404 from now on.
    pub fn bot_leaves(&self) -> Draft {
        self.with(|chat| chat.bot_is_in = false);
        Draft::new(&self.channel, "leave", []).from(self.source())
    }
}

impl Channel {
    /// An account link fails. LINE doesn't say whose.
    pub fn fails_to_link(&self, nonce: &str) -> Draft {
        let link = object([("result", "failed".into()), ("nonce", nonce.into())]);
        Draft::new(self, "accountLink", [("link", link)])
    }

    /// A module is attached to the account.
    pub fn attaches_module(&self, scopes: &[&str]) -> Draft {
        let scopes = Json::List(scopes.iter().copied().map(Json::from).collect());
        self.module(object([
            ("type", "attached".into()),
            ("botId", self.bot_user_id().into()),
            ("scopes", scopes),
        ]))
    }

    /// A module is detached because the bot is deleted.
    pub fn detaches_module(&self) -> Draft {
        let bot = self.bot_user_id();
        self.module(object([
            ("type", "detached".into()),
            ("botId", bot.into()),
            ("reason", "bot_deleted".into()),
        ]))
    }

    /// The module channel can talk to `user` until `expire_at` (milliseconds since 1970).
    pub fn is_activated(&self, user: &User, expire_at: i64) -> Draft {
        let control = object([("expireAt", expire_at.into())]);
        Draft::new(self, "activated", [("chatControl", control)]).from(self.module_source(user))
    }

    /// The module channel can no longer talk to `user`.
    pub fn is_deactivated(&self, user: &User) -> Draft {
        Draft::new(self, "deactivated", []).from(self.module_source(user))
    }

    /// The bot is suspended.
    pub fn is_suspended(&self) -> Draft {
        Draft::new(self, "botSuspended", [])
    }

    /// The bot is no longer suspended.
    pub fn is_resumed(&self) -> Draft {
        Draft::new(self, "botResumed", [])
    }

    /// A notification message was delivered; `data` is a hashed phone number or the sender's tag.
    pub fn has_delivered(&self, data: &str) -> Draft {
        Draft::new(
            self,
            "delivery",
            [("delivery", object([("data", data.into())]))],
        )
    }

    fn module(&self, module: Json) -> Draft {
        Draft::new(self, "module", [("module", module)])
    }

    /// A `source` with the longer user ids of module channels: `LU<32 hex>-U<32 hex>`.
    fn module_source(&self, user: &User) -> Json {
        let id = format!("L{}-{}", self.bot_user_id(), user.id());
        object([("type", "user".into()), ("userId", id.into())])
    }
}

fn members(users: &[&User]) -> Json {
    let member = |user: &&User| object([("type", "user".into()), ("userId", user.id().into())]);
    object([("members", Json::List(users.iter().map(member).collect()))])
}
