//! Makes the body of an entry from a message.

use super::{Album, Body, Sender, media, raw};
use crate::{
    line::{event::Event, message::Content},
    records::timeline,
    web::conversation::{lang, stickers, text},
};

/// The body of a message, as one of its revisions has it. `stickers`: show the pictures of stickers, which come from
/// LINE's host.
pub(super) fn body(
    event: &Event,
    entry: &timeline::Entry,
    sender: Option<&Sender>,
    stickers: bool,
) -> Body {
    let attachment = &entry.attachment;
    let language = sender.and_then(|sender| sender.language.as_deref());
    match event.content() {
        Content::Text(spans) => Body::Text {
            pieces: text::message(&spans),
            lang: lang::of(event.text(), language),
        },
        Content::Image(set) => {
            let photo = media::image(attachment);
            Body::Photos(Album::new(entry.id, photo, set.as_ref()))
        },
        Content::Video(duration) => Body::Video(media::playable(attachment, duration)),
        Content::Audio(duration) => Body::Audio(media::playable(attachment, duration)),
        Content::File { name, size } => Body::File(media::file(attachment, name, size)),
        Content::Location {
            title,
            address,
            point,
        } => Body::Location {
            title: text::pieces(title),
            address: text::pieces(address),
            lang: lang::of(address, language),
            map: point.map(|(latitude, longitude)| {
                format!("https://www.openstreetmap.org/?mlat={latitude}&mlon={longitude}#map=17/{latitude}/{longitude}")
            }),
        },
        Content::Sticker {
            package,
            id,
            keywords,
            text,
        } => Body::Sticker {
            text: text::pieces(text),
            number: text::plain(id),
            package: text::plain(package),
            picture: stickers.then(|| stickers::picture(id)).flatten(),
            keywords: keywords.into_iter().map(text::pieces).collect(),
        },
        Content::Other => raw::message(event),
    }
}
