//! Webhook events, and drafts: events that have happened and are not delivered yet.

use serde_json::Value;

use super::{
    handles::{Channel, User},
    json::{Json, object},
};

/// One webhook event object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub(super) json: Json,
}

impl Event {
    /// An event with this JSON, which is sent byte for byte.
    #[must_use]
    pub fn raw(json: &str) -> Self {
        Event {
            json: Json::Raw(json.to_owned()),
        }
    }

    /// The id of the message that this event sends, edits or unsends; empty for other events.
    #[must_use]
    pub fn message_id(&self) -> &str {
        let id = self
            .json
            .get("message")
            .and_then(|message| message.get("id"));
        let unsent = self
            .json
            .get("unsend")
            .and_then(|unsend| unsend.get("messageId"));
        id.or(unsent).map_or("", Json::as_str)
    }

    /// The event's `webhookEventId`, a ULID.
    #[must_use]
    pub fn webhook_event_id(&self) -> &str {
        self.field("webhookEventId")
    }

    /// The reply token; empty if LINE gives none.
    #[must_use]
    pub fn reply_token(&self) -> &str {
        self.field("replyToken")
    }

    /// The time of the event, in milliseconds since 1970.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.field("timestamp").parse().unwrap_or_default()
    }

    /// The event's JSON, as the webhook body contains it.
    #[must_use]
    pub fn json(&self) -> String {
        self.json.to_string()
    }

    /// The event's JSON, parsed; `null` if it is not valid JSON.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.json()).unwrap_or_default()
    }

    /// The same event as a redelivery contains it: `isRedelivery` is true, the rest is unchanged.
    #[must_use]
    pub fn redelivered(&self) -> Self {
        let mut again = self.clone();
        if matches!(again.json, Json::Object(_)) {
            again
                .json
                .property("deliveryContext")
                .set("isRedelivery", true);
        }
        again
    }

    fn field(&self, name: &str) -> &str {
        self.json.get(name).map_or("", Json::as_str)
    }
}

/// An event that has happened on the platform and is not delivered yet. Await it to deliver it (see [`IntoFuture`]), or
/// take it with [`Draft::make`] and deliver it later and as often as you like.
#[must_use = "await it to deliver the news, or take the event with `make()`"]
pub struct Draft {
    pub(super) channel: Channel,
    pub(super) event: Event,
    /// The UTF-16 positions that mentions and emojis already occupy.
    taken: Vec<usize>,
}

impl Draft {
    /// An event that happens now. `fields` are the properties that this type has besides the common ones.
    pub(super) fn new<const N: usize>(
        channel: &Channel,
        kind: &str,
        fields: [(&str, Json); N],
    ) -> Self {
        let mut world = channel.line.world();
        let timestamp = world.time.next();
        let mut json = object([("type", kind.into())]);
        for (name, value) in fields {
            json.set(name, value);
        }
        json.set("webhookEventId", world.ids.ulid(timestamp));
        json.set("deliveryContext", object([("isRedelivery", false.into())]));
        json.set("timestamp", timestamp);
        json.set("mode", "active");
        drop(world);
        Draft {
            channel: channel.clone(),
            event: Event { json },
            taken: Vec::new(),
        }
    }

    /// Sets `source`.
    pub(super) fn from(mut self, source: Json) -> Self {
        self.event.json.set("source", source);
        self
    }

    /// Adds a reply token, which is valid for one reply.
    pub(super) fn answerable(mut self) -> Self {
        let mut world = self.channel.line.world();
        let token = world.ids.hex(32);
        world.reply_tokens.insert(token.clone(), self.channel.index);
        drop(world);
        self.event.json.set("replyToken", token);
        self
    }

    /// Returns the event without delivering it.
    #[must_use]
    pub fn make(self) -> Event {
        self.event
    }

    /// Sets the event's timestamp, in milliseconds since 1970.
    pub fn dated(mut self, timestamp: i64) -> Self {
        self.event.json.set("timestamp", timestamp);
        self
    }

    /// Makes it an event of a channel in `standby` mode (another channel answers): it has no reply token.
    pub fn standby(mut self) -> Self {
        self.event.json.set("mode", "standby");
        self.event.json.remove("replyToken");
        self
    }

    /// Sets a property of the event itself, replacing its old value.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.event.json.set(name, value);
        self
    }

    /// Sets a property of the event's message, replacing its old value.
    pub fn with_message(mut self, name: &str, value: Value) -> Self {
        self.message().set(name, value);
        self
    }

    /// Quotes an earlier message.
    pub fn quoting(self, quoted: &Event) -> Self {
        let id = quoted.message_id().to_owned();
        self.quoting_id(&id)
    }

    /// Quotes a message by its id, for instance one that the bot sent.
    pub fn quoting_id(mut self, message_id: &str) -> Self {
        self.message().set("quotedMessageId", message_id);
        self
    }

    /// Marks the next occurrence of `part` in the text as a mention of `user`.
    ///
    /// # Panics
    /// If the text has no further occurrence of `part`; this applies to all mentions and emojis.
    pub fn mentioning(self, part: &str, user: &User) -> Self {
        self.mention(part, "user", vec![("userId", user.id().into())])
    }

    /// Marks `part` of the text as a mention of the bot.
    pub fn mentioning_bot(self, part: &str) -> Self {
        let bot = self.channel.bot_user_id();
        self.mention(
            part,
            "user",
            vec![("userId", bot.into()), ("isSelf", true.into())],
        )
    }

    /// Marks `part` of the text as a mention of everybody.
    pub fn mentioning_all(self, part: &str) -> Self {
        self.mention(part, "all", Vec::new())
    }

    /// Marks `part` of the text as a LINE emoji.
    pub fn emoji(mut self, part: &str, product_id: &str, emoji_id: &str) -> Self {
        let mut emoji = self.span(part);
        emoji.set("productId", product_id);
        emoji.set("emojiId", emoji_id);
        self.message().push("emojis", emoji);
        self
    }

    fn mention(mut self, part: &str, kind: &str, fields: Vec<(&str, Json)>) -> Self {
        let mut mentionee = self.span(part);
        mentionee.set("type", kind);
        for (name, value) in fields {
            mentionee.set(name, value);
        }
        self.message()
            .property("mention")
            .push("mentionees", mentionee);
        self
    }

    /// The next free occurrence of `part` in the text: index and length in UTF-16 code units.
    fn span(&mut self, part: &str) -> Json {
        let text = self
            .event
            .json
            .get("message")
            .and_then(|message| message.get("text"))
            .map_or("", Json::as_str);
        let units = |text: &str| text.encode_utf16().count();
        let free = text
            .match_indices(part)
            .map(|(at, _)| units(&text[..at]))
            .find(|at| !self.taken.contains(at));
        assert!(free.is_some(), "the text has no further {part:?}");
        let index = free.unwrap_or_default();
        self.taken.push(index);
        object([
            ("index", (index as i64).into()),
            ("length", (units(part) as i64).into()),
        ])
    }

    pub(super) fn message(&mut self) -> &mut Json {
        self.event.json.property("message")
    }
}
