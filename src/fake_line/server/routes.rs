//! Maps HTTP methods and paths to API calls.

/// A call that a client can make to the platform; [`super::super::Trouble`] and the call counters use these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Downloads the bytes of a message; the id is the message id.
    Content,
    /// Downloads the preview of an image or a video; the id is the message id.
    Preview,
    /// Asks whether a video or voice message is ready; the id is the message id.
    Transcoding,
    /// A friend's profile; the id is the user id.
    Profile,
    /// The profile of a group or room member; the id is the user id.
    Member,
    /// A group's name and picture; the id is the group id.
    Summary,
    /// The number of members of a group or room; the id is the group or room id.
    MemberCount,
    /// The user ids of the members of a group or room; the id is the group or room id.
    MemberIds,
    /// The bot's own profile.
    BotInfo,
    /// Sends a reply.
    Reply,
    /// Sends a push message.
    Push,
    /// Shows the loading animation.
    Loading,
    /// Reads the channel's webhook URL.
    Webhook,
    /// Sets the channel's webhook URL.
    SetWebhook,
    /// Has the platform send a test webhook and report the answer.
    WebhookTest,
    /// A profile or group picture on LINE's picture host; the id is the last part of the URL.
    Picture,
    /// A file on a host that is not LINE's; the id is the last part of the URL.
    External,
}

/// A routed request.
pub(super) struct Request<'a> {
    pub(super) call: Call,
    /// The id in the path; empty if the call has none.
    pub(super) id: &'a str,
    /// The group or room, for calls about one of its members; else empty.
    pub(super) chat: &'a str,
}

/// Parses a method and a path; `None` if LINE has no such call.
pub(super) fn route<'a>(method: &str, path: &'a str) -> Option<Request<'a>> {
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let (call, id, chat) = match (method, parts.as_slice()) {
        ("GET", ["v2", "bot", "message", id, "content"]) => (Call::Content, *id, ""),
        ("GET", ["v2", "bot", "message", id, "content", "preview"]) => (Call::Preview, *id, ""),
        ("GET", ["v2", "bot", "message", id, "content", "transcoding"]) => {
            (Call::Transcoding, *id, "")
        }
        ("GET", ["v2", "bot", "profile", id]) => (Call::Profile, *id, ""),
        ("GET", ["v2", "bot", "group" | "room", chat, "member", id]) => (Call::Member, *id, *chat),
        ("GET", ["v2", "bot", "group", id, "summary"]) => (Call::Summary, *id, ""),
        ("GET", ["v2", "bot", "group" | "room", id, "members", "count"]) => {
            (Call::MemberCount, *id, "")
        }
        ("GET", ["v2", "bot", "group" | "room", id, "members", "ids"]) => {
            (Call::MemberIds, *id, "")
        }
        ("GET", ["v2", "bot", "info"]) => (Call::BotInfo, "", ""),
        ("POST", ["v2", "bot", "message", "reply"]) => (Call::Reply, "", ""),
        ("POST", ["v2", "bot", "message", "push"]) => (Call::Push, "", ""),
        ("POST", ["v2", "bot", "chat", "loading", "start"]) => (Call::Loading, "", ""),
        ("GET", ["v2", "bot", "channel", "webhook", "endpoint"]) => (Call::Webhook, "", ""),
        ("PUT", ["v2", "bot", "channel", "webhook", "endpoint"]) => (Call::SetWebhook, "", ""),
        ("POST", ["v2", "bot", "channel", "webhook", "test"]) => (Call::WebhookTest, "", ""),
        ("GET", ["pictures", id]) => (Call::Picture, *id, ""),
        ("GET", ["external", id]) => (Call::External, *id, ""),
        _ => return None,
    };
    Some(Request { call, id, chat })
}
