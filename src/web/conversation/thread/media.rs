//! Pictures, videos, voice messages and files: what the archive keeps of them, and words for what it does not keep.

use std::borrow::Cow;

use uuid::Uuid;

use crate::records::{
    media::{Reason, SHOWN, State},
    timeline::Attachment,
};
use crate::web::conversation::text::{self, Piece};

/// A box for a picture, video or voice message.
pub(in crate::web) struct Media {
    /// The attachment's id; nil if the message came without one.
    pub(in crate::web) id: Uuid,
    /// Address of the original; `None` unless it is kept.
    pub(in crate::web) original: Option<String>,
    /// Address of the preview; a picture without one has the original's address here.
    pub(in crate::web) preview: Option<String>,
    /// Address of the preview for screens with two pixels to a CSS pixel.
    pub(in crate::web) fine: Option<String>,
    /// Colours that are shown until the preview is loaded; empty if there are none.
    pub(in crate::web) blur: Vec<Cell>,
    /// CSS pixels, correct before the picture is loaded.
    pub(in crate::web) width: i32,
    pub(in crate::web) height: i32,
    /// The reason why the original is missing; empty if it is kept.
    pub(in crate::web) words: Cow<'static, str>,
    /// Label of the button that fetches the original again; `None`: no button.
    pub(in crate::web) again: Option<&'static str>,
    /// State of the original: `waiting`, `gone`, `failed`, or `kept`.
    pub(in crate::web) state: &'static str,
    /// Length of a video or voice message, as `0:07`.
    pub(in crate::web) duration: Option<String>,
}

/// A cell of a placeholder of four by four colours. It is drawn as SVG within the page: the pages' content security
/// policy allows neither inline styles nor `data:` addresses.
pub(in crate::web) struct Cell {
    pub(in crate::web) x: usize,
    pub(in crate::web) y: usize,
    /// `#rrggbb`
    pub(in crate::web) fill: String,
}

fn blur(colours: Option<&[u8]>) -> Vec<Cell> {
    let colours = colours.filter(|colours| colours.len() == 48);
    let cells = colours.unwrap_or_default().as_chunks::<3>().0.iter();
    cells
        .enumerate()
        .map(|(at, [r, g, b])| Cell {
            x: at % 4,
            y: at / 4,
            fill: format!("#{r:02x}{g:02x}{b:02x}"),
        })
        .collect()
}

/// A file to be downloaded.
pub(in crate::web) struct File {
    pub(in crate::web) media: Media,
    pub(in crate::web) name: Vec<Piece>,
    /// "PDF · 1.2 MB"
    pub(in crate::web) about: String,
}

impl Media {
    fn of(attachment: &Attachment) -> Self {
        let id = attachment.attachment_id.unwrap_or_default();
        let (state, words) = state(attachment);
        let (width, height) = fit(attachment.preview_width, attachment.preview_height);
        let kept = attachment.has_preview();
        Self {
            id,
            original: (state == "kept").then(|| format!("/attachments/{id}")),
            preview: kept.then(|| format!("/attachments/{id}/preview")),
            fine: (kept && attachment.preview_smaller.is_some())
                .then(|| format!("/attachments/{id}/preview?x=2")),
            blur: blur(attachment.placeholder.as_deref()),
            width,
            height,
            words,
            again: again(attachment),
            state,
            duration: None,
        }
    }

    #[cfg(test)]
    pub(super) fn named(words: &'static str) -> Self {
        Self {
            id: Uuid::nil(),
            original: None,
            preview: None,
            fine: None,
            blur: vec![],
            width: 1,
            height: 1,
            words: words.into(),
            again: None,
            state: "kept",
            duration: None,
        }
    }
}

/// A picture; without a preview, the original stands in.
pub(in crate::web) fn image(attachment: &Attachment) -> Media {
    let mut media = Media::of(attachment);
    media.preview = media.preview.or_else(|| media.original.clone());
    media
}

/// A video or voice message.
pub(in crate::web) fn playable(attachment: &Attachment, milliseconds: Option<u64>) -> Media {
    Media {
        duration: milliseconds.map(text::duration),
        ..Media::of(attachment)
    }
}

/// Any other file. `said` is the size in bytes that the sender's app gave; it is shown until the original is kept.
pub(in crate::web) fn file(attachment: &Attachment, name: &str, said: Option<u64>) -> File {
    let kept = attachment
        .original_size
        .and_then(|size| size.try_into().ok());
    let about: Vec<_> = [
        kind(name, attachment.original_type.as_deref()),
        kept.or(said).map(text::size),
    ]
    .into_iter()
    .flatten()
    .collect();
    File {
        media: Media::of(attachment),
        name: text::pieces(if name.is_empty() { "file" } else { name }),
        about: about.join(" · "),
    }
}

/// The kind of a file: by the ending of its name, else the media type that its server declared.
fn kind(name: &str, declared: Option<&str>) -> Option<String> {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    let short = ending
        .filter(|e| (1..=5).contains(&e.len()) && e.bytes().all(|b| b.is_ascii_alphanumeric()));
    match short {
        Some(ending) => Some(ending.to_ascii_uppercase()),
        None => declared.map(text::plain),
    }
}

/// The server that has the originals, in words.
struct Server {
    /// At the beginning of a sentence.
    first: &'static str,
    /// Within a sentence.
    within: &'static str,
    /// Label of the button that asks it for an original again.
    ask: &'static str,
}

const LINE: Server = Server {
    first: "LINE",
    within: "LINE",
    ask: "Ask LINE again",
};
const ELSEWHERE: Server = Server {
    first: "Its server",
    within: "its server",
    ask: "Ask again",
};

impl Server {
    fn of(attachment: &Attachment) -> Self {
        match attachment.is_at_line {
            Some(false) => ELSEWHERE,
            _ => LINE,
        }
    }
}

/// The state of the original, and words that explain it.
fn state(attachment: &Attachment) -> (&'static str, Cow<'static, str>) {
    let (server, reason) = (Server::of(attachment), attachment.original_reason);
    let (state, words) = match attachment.original_state {
        Some(State::Kept) => return ("kept", "".into()),
        Some(State::Gone) if attachment.is_lost == Some(true) => {
            let words = format!("Damaged here, and {} no longer has it.", server.within);
            return ("gone", words.into());
        }
        Some(State::Gone) => ("gone", format!("{} no longer has it", server.first).into()),
        Some(State::Failed) => ("failed", failed(&server, reason)),
        _ => ("waiting", waiting(&server, attachment)),
    };
    match attachment.is_lost {
        // Of a file that a rule of the archive excludes now, that it is damaged says nothing more.
        Some(true) if reason != Some(Reason::TooLarge) => {
            (state, format!("Damaged here. {words}").into())
        }
        _ => (state, words),
    }
}

/// Why an original was given up.
fn failed(server: &Server, reason: Option<Reason>) -> Cow<'static, str> {
    let server = server.first;
    match reason {
        Some(Reason::TooLarge) => "Too large, not kept".into(),
        Some(Reason::Unreadable) => "Not a picture that can be read".into(),
        Some(Reason::Unprepared) => "LINE could not prepare it".into(),
        Some(Reason::Address) => "Not fetched: not a public https address".into(),
        Some(Reason::Off) => "Not fetched: files that are not on LINE are switched off here".into(),
        Some(Reason::Forbidden | Reason::Rejected) => {
            format!("{server} denied access to it").into()
        }
        Some(Reason::Trouble | Reason::Truncated) => format!("{server} failed repeatedly").into(),
        Some(Reason::NotTheFile) => format!("{server} sent something else than the file").into(),
        Some(Reason::Crashed) => {
            "Given up: the archive failed repeatedly while processing it".into()
        }
        _ => "Could not be fetched".into(),
    }
}

/// Why an original is not here yet.
fn waiting(server: &Server, attachment: &Attachment) -> Cow<'static, str> {
    if let Some(percent) = attachment.percent {
        return format!("Fetching, {percent} %").into();
    }
    match attachment.original_reason {
        Some(Reason::Preparing) => "LINE is still preparing it".into(),
        Some(Reason::Trouble | Reason::Truncated) => {
            let server = server.first;
            format!("Waiting: {server} failed and will be asked again").into()
        }
        Some(Reason::NotTheFile) => {
            let server = server.first;
            format!("Waiting: {server} sent something else, and will be asked again").into()
        }
        _ if attachment.is_lost == Some(true) => {
            format!("It is being fetched from {} again.", server.within).into()
        }
        _ => format!("Waiting for {}", server.within).into(),
    }
}

/// Label of the button that fetches an original again; `None` if it has not failed, or would fail again.
fn again(attachment: &Attachment) -> Option<&'static str> {
    match (attachment.original_state?, attachment.original_reason) {
        (State::Failed, Some(Reason::TooLarge)) => Some("Fetch it after all"),
        (State::Failed, Some(Reason::Unreadable | Reason::Address | Reason::Off)) => None,
        (State::Failed | State::Gone, _) => Some(Server::of(attachment).ask),
        _ => None,
    }
}

/// Size of the box in CSS pixels: the preview's size, scaled down to fit into [`SHOWN`]; a landscape of 4:3 if it is
/// not known.
fn fit(width: Option<i32>, height: Option<i32>) -> (i32, i32) {
    let (Some(width @ 1..), Some(height @ 1..)) = (width, height) else {
        return (240, 180);
    };
    let scale = f64::from(SHOWN.0)
        .min(f64::from(width))
        .min(f64::from(SHOWN.1) * f64::from(width) / f64::from(height));
    let tall = scale * f64::from(height) / f64::from(width);
    ((scale.round() as i32).max(1), (tall.round() as i32).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_keeps_the_ratio_and_never_grows() {
        let fit = |w, h| fit(Some(w), Some(h));
        assert_eq!(fit(640, 480), (320, 240));
        assert_eq!(fit(480, 640), (270, 360));
        assert_eq!(fit(100, 50), (100, 50));
        assert_eq!(fit(1, 10_000), (1, 360));
        assert_eq!(fit(10_000, 1), (320, 1));
        assert_eq!(fit(0, 5), (240, 180));
    }

    #[test]
    fn a_files_kind_is_its_ending() {
        assert_eq!(kind("見積書.pdf", None).as_deref(), Some("PDF"));
        assert_eq!(kind("x", Some("text/plain")).as_deref(), Some("text/plain"));
        assert_eq!(kind("x.<b>", None), None);
    }
}
