//! The API calls that answer with the bytes of messages.

use super::Answer;
use crate::fake_line::{
    content::{Content, MessageKind, MessageState},
    pictures,
    world::World,
};

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
                    Answer::bytes("image/jpeg", pictures::preview(&content.bytes))
                }
                (MessageKind::Video, None) => Answer::bytes("image/jpeg", pictures::preview(b"")),
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
