//! The content of an event that is not a message, read leniently: no function here fails, and no value is trusted.

use serde_json::Value;

use super::event::Event;

/// The content of an event that is not a message, by LINE's event type. Never log it. A text is empty if LINE sent no
/// value, and JSON if it sent something other than a text.
pub enum OtherEvent {
    /// A user followed the account.
    Follow {
        /// True if the user had blocked the account before.
        is_unblocked: bool,
    },
    /// A user blocked the account.
    Unfollow,
    /// The account joined a group or room.
    Join,
    /// The account left a group or room.
    Leave,
    /// Users joined a group or room; their user ids.
    MemberJoined(Vec<String>),
    /// Users left a group or room; their user ids.
    MemberLeft(Vec<String>),
    /// A user tapped a postback action.
    Postback {
        /// The developer's data of the action.
        data: String,
        /// The user's choice, as `date: 2026-11-12, status: SUCCESS`.
        params: String,
    },
    /// A user watched a video of the account to its end.
    VideoPlayComplete {
        /// The developer's id of the video.
        tracking_id: String,
    },
    /// A user came near a beacon, or left it.
    Beacon {
        /// LINE's beacon event type, such as `enter`.
        kind: String,
        /// The beacon's hardware id.
        hwid: String,
        /// The device message of the beacon.
        device_message: String,
    },
    /// A user linked an account, or tried to.
    AccountLink {
        /// True if it succeeded.
        ok: bool,
    },
    /// A user's membership changed.
    Membership {
        /// LINE's membership event type, such as `joined`.
        kind: String,
        /// LINE's id of the membership.
        membership_id: String,
    },
    /// An event of LINE Things, which LINE has ended.
    Things {
        /// LINE's type of the event.
        kind: String,
        /// The device's id.
        device_id: String,
    },
    /// A module was attached to the account, or detached.
    Module {
        /// LINE's module event type.
        kind: String,
        /// The user id of the account's bot.
        bot_id: String,
    },
    /// The channel was given the chat control.
    Activated {
        /// When the control ends, in ms since 1970.
        expire_at: Option<i64>,
    },
    /// The chat control was taken from the channel.
    Deactivated,
    /// LINE suspended the account.
    BotSuspended,
    /// LINE resumed the account.
    BotResumed,
    /// A notification message was delivered.
    Delivery {
        /// The hashed phone number, or the developer's tag.
        data: String,
    },
    /// An event of an unknown type, or with a value that is not known.
    Unknown,
}

impl OtherEvent {
    /// Reads an event that is not a message.
    pub fn of(event: &Event) -> Self {
        let kind = event.kind();
        let field = |key: &str| text(&event.body()[kind][key]);
        match kind {
            "follow" => Self::Follow {
                is_unblocked: event.body()["follow"]["isUnblocked"] == true,
            },
            "unfollow" => Self::Unfollow,
            "join" => Self::Join,
            "leave" => Self::Leave,
            "memberJoined" => Self::MemberJoined(event.members()),
            "memberLeft" => Self::MemberLeft(event.members()),
            "postback" => Self::Postback {
                data: field("data"),
                params: parameters(&event.body()["postback"]["params"]),
            },
            "videoPlayComplete" => Self::VideoPlayComplete {
                tracking_id: field("trackingId"),
            },
            "beacon" => Self::Beacon {
                kind: field("type"),
                hwid: field("hwid"),
                device_message: field("dm"),
            },
            "accountLink" => match event.body()["link"]["result"].as_str() {
                Some("ok") => Self::AccountLink { ok: true },
                Some("failed") => Self::AccountLink { ok: false },
                _ => Self::Unknown,
            },
            "membership" => Self::Membership {
                kind: field("type"),
                membership_id: field("membershipId"),
            },
            "things" => Self::Things {
                kind: field("type"),
                device_id: field("deviceId"),
            },
            "module" => Self::Module {
                kind: field("type"),
                bot_id: field("botId"),
            },
            "activated" => Self::Activated {
                expire_at: event.body()["chatControl"]["expireAt"].as_i64(),
            },
            "deactivated" => Self::Deactivated,
            "botSuspended" => Self::BotSuspended,
            "botResumed" => Self::BotResumed,
            "delivery" => Self::Delivery {
                data: field("data"),
            },
            _ => Self::Unknown,
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn parameters(params: &Value) -> String {
    let Some(params) = params.as_object() else {
        return text(params);
    };
    let pairs = params.iter().map(|(key, value)| match value {
        Value::String(text) => format!("{key}: {text}"),
        other => format!("{key}: {other}"),
    });
    pairs.collect::<Vec<_>>().join(", ")
}
