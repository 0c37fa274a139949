//! Which address means which call.

/// A call somebody may make to the platform; [`super::super::Trouble`] and the counters speak of calls by these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A message's bytes; its id is the message's.
    Content,
    /// A picture's or video's preview; the message's id.
    Preview,
    /// Whether a video or voice message is ready; the message's id.
    Transcoding,
    /// A friend's profile; the user's id.
    Profile,
    /// A group or room member's profile; the user's id.
    Member,
    /// A group's name and picture; the group's id.
    Summary,
    /// How many are in a group or room; its id.
    MemberCount,
    /// Who is in a group or room; its id.
    MemberIds,
    /// The bot itself.
    BotInfo,
    /// A reply.
    Reply,
    /// A push.
    Push,
    /// The loading animation.
    Loading,
    /// Where webhooks go.
    Webhook,
    /// Where webhooks shall go.
    SetWebhook,
    /// Whether the webhook answers.
    WebhookTest,
    /// A profile or group picture, on LINE's picture host; its id is the last part of its URL.
    Picture,
    /// A file on a host that is not LINE's; its id is the last part of its URL.
    External,
}

/// A request, understood.
pub(super) struct Request<'a> {
    pub(super) call: Call,
    /// What it is about; empty if about nothing particular.
    pub(super) id: &'a str,
    /// For members: of which group or room.
    pub(super) chat: &'a str,
}

/// What is asked for, or `None` for what LINE doesn't have.
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
