//! Maps HTTP methods and paths to API calls.

use crate::fake_line::call::Call;

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
