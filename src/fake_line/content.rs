//! The bytes of messages, as LINE's data host serves them.

use bytes::Bytes;

use super::{drawing, server::Answer, world::World};

#[derive(Clone, Copy, PartialEq)]
pub(super) enum MessageKind {
    Text,
    Image,
    Video,
    Audio,
    File,
    Location,
    Sticker,
    Unknown(&'static str),
}

impl MessageKind {
    /// The value of `message.type`.
    pub(super) fn name(self) -> &'static str {
        match self {
            MessageKind::Text => "text",
            MessageKind::Image => "image",
            MessageKind::Video => "video",
            MessageKind::Audio => "audio",
            MessageKind::File => "file",
            MessageKind::Location => "location",
            MessageKind::Sticker => "sticker",
            MessageKind::Unknown(name) => name,
        }
    }

    /// Whether messages of this kind have a `quoteToken`.
    pub(super) fn is_quotable(self) -> bool {
        use MessageKind::{Image, Sticker, Text, Video};
        matches!(self, Text | Image | Video | Sticker)
    }
}

/// The platform's state of a message.
pub(super) struct MessageState {
    pub(super) channel: usize,
    pub(super) kind: MessageKind,
    /// The bytes; `None` if LINE doesn't have them.
    pub(super) content: Option<Content>,
    /// The message was unsent.
    pub(super) gone: bool,
}

/// The bytes of a message, and how LINE serves them.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) bytes: Bytes,
    pub(super) content_type: String,
    pub(super) preview: Option<Bytes>,
    /// The number of further requests that are answered "not ready yet".
    pub(super) preparing: usize,
    pub(super) failed: bool,
}

impl Content {
    pub(super) fn of(kind: MessageKind, bytes: Bytes) -> Self {
        let content_type = content_type(kind, &bytes).to_owned();
        Content {
            bytes,
            content_type,
            preview: None,
            preparing: 0,
            failed: false,
        }
    }

    /// Whether the content is not ready yet; counts this request.
    fn is_early(&mut self) -> bool {
        let early = self.preparing > 0;
        self.preparing = self.preparing.saturating_sub(1);
        early
    }
}

/// The `Content-Type` that LINE sends: a guess from the kind of message and the first bytes.
pub(super) fn content_type(kind: MessageKind, bytes: &[u8]) -> &'static str {
    match (kind, bytes) {
        (MessageKind::Video, _) => "video/mp4",
        (MessageKind::Audio, _) => "audio/x-m4a",
        (_, [0x89, b'P', b'N', b'G', ..]) => "image/png",
        (_, [b'G', b'I', b'F', b'8', ..]) => "image/gif",
        (
            _,
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ],
        ) => "image/webp",
        (MessageKind::Image, _) | (_, [0xff, 0xd8, 0xff, ..]) => "image/jpeg",
        (_, [b'%', b'P', b'D', b'F', ..]) => "application/pdf",
        _ => "application/octet-stream",
    }
}

impl World {
    /// `GET /v2/bot/message/{id}/content`
    pub(super) fn content(&mut self, channel: usize, id: &str) -> Answer {
        self.of_message(channel, id, |_, content| {
            if content.failed {
                Answer::not_found()
            } else if content.is_early() {
                Answer::json(202, "{}")
            } else {
                Answer::bytes(&content.content_type, content.bytes.clone())
            }
        })
    }

    /// `GET /v2/bot/message/{id}/content/preview`
    pub(super) fn preview(&mut self, channel: usize, id: &str) -> Answer {
        self.of_message(channel, id, |kind, content| {
            match (kind, &content.preview) {
                (MessageKind::Image | MessageKind::Video, Some(preview)) => {
                    Answer::bytes("image/jpeg", preview.clone())
                }
                (MessageKind::Image, None) => {
                    Answer::bytes("image/jpeg", drawing::preview(&content.bytes))
                }
                (MessageKind::Video, None) => Answer::bytes("image/jpeg", drawing::preview(b"")),
                _ => Answer::error(400, "The content can not be previewed"),
            }
        })
    }

    /// `GET /v2/bot/message/{id}/content/transcoding`
    pub(super) fn transcoding(&mut self, channel: usize, id: &str) -> Answer {
        self.of_message(channel, id, |kind, content| match kind {
            MessageKind::Video | MessageKind::Audio if content.failed => {
                Answer::json(200, r#"{"status":"failed"}"#)
            }
            MessageKind::Video | MessageKind::Audio if content.is_early() => {
                Answer::json(200, r#"{"status":"processing"}"#)
            }
            MessageKind::Video | MessageKind::Audio => {
                Answer::json(200, r#"{"status":"succeeded"}"#)
            }
            _ => Answer::error(
                400,
                "Transcoding status doesn't support this type of content",
            ),
        })
    }

    /// 404 for unknown messages, messages of other channels and messages without bytes on LINE; 410 for unsent
    /// messages.
    fn of_message(
        &mut self,
        channel: usize,
        id: &str,
        answer: impl FnOnce(MessageKind, &mut Content) -> Answer,
    ) -> Answer {
        match self
            .messages
            .get_mut(id)
            .filter(|message| message.channel == channel)
        {
            Some(message) if message.gone => Answer::error(410, "The content is gone"),
            Some(MessageState {
                kind,
                content: Some(content),
                ..
            }) => answer(*kind, content),
            _ => Answer::not_found(),
        }
    }
}
