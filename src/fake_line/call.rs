//! The calls that a client can make to the platform.

/// A call that a client can make to the platform; [`super::Trouble`] and the call counters use these names.
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
