//! The bytes of messages, as LINE's data host serves them.

use bytes::Bytes;

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
    pub(super) fn is_early(&mut self) -> bool {
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
