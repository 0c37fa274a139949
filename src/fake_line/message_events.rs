//! Message events: people write, send, edit and unsend.

use bytes::Bytes;
use serde_json::Value;

use super::{
    content::{Content, MessageKind, MessageState},
    draft::{Draft, Event},
    handles::User,
    json::{Json, object},
};

/// The kinds of content that can be on a host that is not LINE's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// An image message.
    Image,
    /// A video message.
    Video,
    /// An audio message.
    Audio,
}

impl User {
    /// Sends a text message. [`Draft::mentioning`], [`Draft::emoji`] and [`Draft::quoting`] add to it.
    pub fn sends_text(&self, text: &str) -> Draft {
        self.message(MessageKind::Text, None, [("text", text.into())])
    }

    /// Sends an image, in any format that LINE accepts.
    pub fn sends_image(&self, bytes: impl Into<Bytes>) -> Draft {
        self.message(
            MessageKind::Image,
            Some(bytes.into()),
            [("contentProvider", on_line())],
        )
    }

    /// Sends several images at once: one event for each, with its index in the image set.
    pub fn sends_image_set(&self, pictures: Vec<Bytes>) -> Vec<Draft> {
        let (id, total) = (
            self.channel.line.world().ids.hex(64).to_uppercase(),
            pictures.len() as i64,
        );
        let set = |index| {
            object([
                ("id", id.as_str().into()),
                ("index", index),
                ("total", total.into()),
            ])
        };
        let one = |(index, bytes)| {
            let fields = [
                ("contentProvider", on_line()),
                ("imageSet", set(Json::from(index))),
            ];
            self.message(MessageKind::Image, Some(bytes), fields)
        };
        (1..).zip(pictures).map(one).collect()
    }

    /// Sends a video of `ms` milliseconds.
    pub fn sends_video(&self, bytes: impl Into<Bytes>, ms: i64) -> Draft {
        let fields = [("duration", ms.into()), ("contentProvider", on_line())];
        self.message(MessageKind::Video, Some(bytes.into()), fields)
    }

    /// Sends a voice message of `ms` milliseconds.
    pub fn sends_audio(&self, bytes: impl Into<Bytes>, ms: i64) -> Draft {
        let fields = [("duration", ms.into()), ("contentProvider", on_line())];
        self.message(MessageKind::Audio, Some(bytes.into()), fields)
    }

    /// Sends a file called `name`.
    pub fn sends_file(&self, name: &str, bytes: impl Into<Bytes>) -> Draft {
        let bytes = bytes.into();
        let fields = [
            ("fileName", name.into()),
            ("fileSize", (bytes.len() as i64).into()),
        ];
        self.message(MessageKind::File, Some(bytes), fields)
    }

    /// Sends content that is on another host, as `liff.sendMessages()` can: LINE doesn't serve it.
    pub fn sends_external(&self, media: Media, url: &str, preview: Option<&str>) -> Draft {
        let mut provider = object([
            ("type", "external".into()),
            ("originalContentUrl", url.into()),
        ]);
        if let Some(preview) = preview {
            provider.set("previewImageUrl", preview);
        }
        let kind = match media {
            Media::Image => MessageKind::Image,
            Media::Video => MessageKind::Video,
            Media::Audio => MessageKind::Audio,
        };
        self.message(kind, None, [("contentProvider", provider)])
    }

    /// Sends a location. An empty title or address is left out.
    pub fn sends_location(
        &self,
        title: &str,
        address: &str,
        latitude: f64,
        longitude: f64,
    ) -> Draft {
        let coordinates = [
            ("latitude", latitude.into()),
            ("longitude", longitude.into()),
        ];
        let mut draft = self.message(MessageKind::Location, None, coordinates);
        for (name, value) in [("title", title), ("address", address)] {
            if !value.is_empty() {
                draft.message().set(name, value);
            }
        }
        draft
    }

    /// Sends a sticker. [`Draft::resource`], [`Draft::keywords`] and [`Draft::saying`] add to it.
    pub fn sends_sticker(&self, package_id: &str, sticker_id: &str) -> Draft {
        let fields = [
            ("packageId", package_id.into()),
            ("stickerId", sticker_id.into()),
            ("stickerResourceType", "STATIC".into()),
        ];
        self.message(MessageKind::Sticker, None, fields)
    }

    /// Sends a message of a type that is not known yet.
    pub fn sends_unknown(&self, kind: &'static str, name: &str, value: Value) -> Draft {
        self.message(MessageKind::Unknown(kind), None, [(name, value.into())])
    }

    /// Edits a text message of this person. `message.id` stays the same.
    ///
    /// # Panics
    /// Outside of groups: LINE sends events for edits in groups only.
    pub fn edits(&self, message: &Event, text: &str) -> Draft {
        assert!(
            self.chat.as_ref().is_some_and(super::Chat::is_group),
            "LINE tells of edits in groups only"
        );
        let quote_token = self.channel.line.world().ids.token(150);
        let message = object([
            ("type", "text".into()),
            ("id", message.message_id().into()),
            ("quoteToken", quote_token.into()),
            ("text", text.into()),
        ]);
        Draft::new(&self.channel, "messageEdited", [("message", message)])
            .from(self.source())
            .answerable()
    }

    /// Unsends a message. Its content is gone from now on, whether or not the event is delivered.
    pub fn unsends(&self, message: &Event) -> Draft {
        if let Some(state) = self
            .channel
            .line
            .world()
            .messages
            .get_mut(message.message_id())
        {
            state.gone = true;
            state.content = None;
        }
        let unsend = object([("messageId", message.message_id().into())]);
        Draft::new(&self.channel, "unsend", [("unsend", unsend)]).from(self.source())
    }

    fn message<const N: usize>(
        &self,
        kind: MessageKind,
        bytes: Option<Bytes>,
        fields: [(&str, Json); N],
    ) -> Draft {
        let mut draft = Draft::new(
            &self.channel,
            "message",
            [("message", Json::Object(Vec::new()))],
        )
        .from(self.source())
        .answerable();
        let mut world = self.channel.line.world();
        let id = world.message_id(draft.event.timestamp());
        let message = draft.message();
        message.set("type", kind.name());
        message.set("id", id.as_str());
        if kind.is_quotable() {
            message.set("quoteToken", world.ids.token(150));
        }
        message.set("markAsReadToken", world.ids.token(214));
        for (name, value) in fields {
            message.set(name, value);
        }
        let content = bytes.map(|bytes| Content::of(kind, bytes));
        world.messages.insert(
            id,
            MessageState {
                channel: self.channel.index,
                kind,
                content,
                gone: false,
            },
        );
        drop(world);
        draft
    }
}

impl Draft {
    /// Sets the kind of sticker, such as `ANIMATION` or `MESSAGE`.
    pub fn resource(mut self, kind: &str) -> Self {
        self.message().set("stickerResourceType", kind);
        self
    }

    /// Sets the words that describe the sticker.
    pub fn keywords(mut self, words: &[&str]) -> Self {
        self.message().set(
            "keywords",
            Json::List(words.iter().copied().map(Json::from).collect()),
        );
        self
    }

    /// Sets the text that the person wrote onto a message sticker.
    pub fn saying(mut self, text: &str) -> Self {
        self.message().set("text", text);
        self.resource("MESSAGE")
    }

    /// LINE serves this preview instead of one that it makes itself.
    pub fn previewed_by(self, picture: impl Into<Bytes>) -> Self {
        self.change_content(|content| content.preview = Some(picture.into()))
    }

    /// LINE serves the content with this `Content-Type`.
    pub fn served_as(self, content_type: &str) -> Self {
        self.change_content(|content| content.content_type = content_type.to_owned())
    }

    /// LINE answers the first `times` requests for the content (202) and its transcoding status (`processing`), counted
    /// together, as not ready yet.
    pub fn preparing(self, times: usize) -> Self {
        self.change_content(|content| content.preparing = times)
    }

    /// LINE fails to prepare the content: the transcoding status is `failed`, the content answers 404.
    pub fn unpreparable(self) -> Self {
        self.change_content(|content| content.failed = true)
    }

    fn change_content(self, change: impl FnOnce(&mut Content)) -> Self {
        let mut world = self.channel.line.world();
        let state = world.messages.get_mut(self.event.message_id());
        if let Some(content) = state.and_then(|state| state.content.as_mut()) {
            change(content);
        }
        drop(world);
        self
    }
}

fn on_line() -> Json {
    object([("type", "line".into())])
}
