//! Recognises a page in place of a file: a proxy or a captive portal may answer 200 with HTML or JSON of its own.

use infer::MatcherType;

/// The number of first bytes that are enough to recognise a page.
pub(super) const ENOUGH: usize = 512;

/// Whether the body that begins with `first` is a page or another text document, and no photo, video or sound. Both its
/// declared type and its bytes have to say so: a file in a format that nobody here can decode is still a file. A body
/// without a type is a page if it begins like HTML, XML or JSON.
pub(super) fn is_page(declared: Option<&str>, first: &[u8]) -> bool {
    let first = &first[..first.len().min(ENOUGH)];
    let is_media = infer::get(first).is_some_and(|kind| {
        matches!(
            kind.matcher_type(),
            MatcherType::Image | MatcherType::Video | MatcherType::Audio
        )
    });
    !is_media
        && reads_as_text(first)
        && match declared {
            Some(declared) => is_document(declared),
            None => begins_as_document(first),
        }
}

/// Whether a media type is one of texts. Drawings (`image/svg+xml`) are images.
fn is_document(declared: &str) -> bool {
    let Some((kind, subtype)) = declared.split_once('/') else {
        return false;
    };
    match kind {
        "text" => true,
        "application" => {
            ["json", "xml"].contains(&subtype)
                || subtype.ends_with("+json")
                || subtype.ends_with("+xml")
        }
        _ => false,
    }
}

/// Whether no byte is one that texts do not have, or the text is in UTF-16 and says so.
fn reads_as_text(first: &[u8]) -> bool {
    let is_utf_16 = first.starts_with(&[0xff, 0xfe]) || first.starts_with(&[0xfe, 0xff]);
    is_utf_16
        || first
            .iter()
            .all(|byte| matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | 0x1b | 0x20..=0x7e | 0x80..))
}

fn begins_as_document(first: &[u8]) -> bool {
    let bare = first.strip_prefix("\u{feff}".as_bytes()).unwrap_or(first);
    matches!(bare.trim_ascii_start().first(), Some(b'<' | b'{' | b'['))
}

#[cfg(test)]
mod tests {
    use super::is_page;

    #[test]
    fn a_page_is_told_by_its_type_and_its_bytes() {
        let html = &b"\n<!DOCTYPE html><title>502</title>"[..];
        for (declared, body) in [
            (Some("text/html"), html),
            (Some("text/plain"), b"no healthy upstream"),
            (Some("text/html"), "\u{30ed}".as_bytes()),
            (Some("text/html"), b"\xff\xfe<\0h\0"),
            (Some("application/json"), b"{}"),
            (Some("application/problem+json"), b"{}"),
            (Some("application/xhtml+xml"), html),
            (None, html),
            (None, b"\xef\xbb\xbf {\"message\":1}"),
        ] {
            assert!(is_page(declared, body), "{declared:?}");
        }
        let jpeg = &b"\xff\xd8\xff\xe0\0\x10JFIF"[..];
        for (declared, body) in [
            (Some("image/jpeg"), html),
            (Some("application/octet-stream"), html),
            (Some("image/svg+xml"), b"<svg/>"),
            (Some("text/html"), jpeg),
            (Some("text/html"), b"\0\x01"),
            (Some("text/plain"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
            (None, jpeg),
            (None, b"RIFF"),
            (None, b""),
        ] {
            assert!(!is_page(declared, body), "{declared:?}");
        }
    }
}
