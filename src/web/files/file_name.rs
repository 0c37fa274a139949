//! File names in the `Content-Disposition` header (RFC 6266); characters outside of ASCII are encoded as in RFC 8187.

use crate::web::conversation::text;

/// `Content-Disposition` for a download. `name` is not trusted.
pub(in crate::web) fn attachment(name: &str) -> String {
    disposition("attachment", &safe(name))
}

/// `Content-Disposition` for a file that is shown in the browser and may be saved. `name` is not trusted: if its ending
/// does not fit `kind`, another ending is appended. `kind` is a media type that [`sniff`](super::sniff) returns.
pub(in crate::web) fn inline(name: &str, kind: &str) -> String {
    let name = safe(name);
    let endings: &[&str] = match kind {
        "image/jpeg" => &["jpg", "jpeg"],
        "image/png" => &["png"],
        "image/gif" => &["gif"],
        "image/webp" => &["webp"],
        "video/mp4" => &["mp4", "m4v", "mov"],
        "audio/mp4" => &["m4a", "mp4"],
        "audio/aac" => &["aac"],
        "audio/mpeg" => &["mp3"],
        "audio/ogg" => &["ogg", "oga", "opus"],
        _ => &["bin"],
    };
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is = endings
        .iter()
        .any(|known| ending.eq_ignore_ascii_case(known));
    match is {
        true => disposition("inline", &name),
        false => disposition("inline", &format!("{name}.{}", endings[0])),
    }
}

/// Writes the header. `name` must be the result of [`safe`].
fn disposition(how: &str, name: &str) -> String {
    let ascii: String = name
        .chars()
        .map(|c| {
            if c.is_ascii() && !"\"%".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{how}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

/// Names that mean a device to Windows, whatever their ending.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
/// The most bytes of a name; file systems allow 255.
const MAX_NAME_BYTES: usize = 200;

/// Removes everything from a name that has a meaning in a path or header, or could mislead a reader. The result is
/// never empty.
fn safe(name: &str) -> String {
    let kept: String = name
        .chars()
        .map(|c| if r#"/\:*?"<>|;"#.contains(c) { '_' } else { c })
        .filter(|c| !c.is_control() && !is_misleading(*c))
        .collect();
    // A page shows many spaces as one. In a saved name they could move the text after them, such as the ending, out of
    // sight.
    let kept = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut kept = trimmed(&shorten(trimmed(&kept))).to_owned();
    let stem = kept
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_ascii_uppercase();
    // Windows treats superscript digits as digits.
    let numbered = |word| {
        stem.strip_prefix(word).is_some_and(|n| {
            let mut n = n.chars();
            n.next()
                .is_some_and(|digit| digit.is_ascii_digit() || "¹²³".contains(digit))
                && n.next().is_none()
        })
    };
    if DEVICES.contains(&stem.as_str()) || numbered("COM") || numbered("LPT") {
        kept.insert(0, '_');
    }
    if kept.is_empty() {
        "file".to_owned()
    } else {
        kept
    }
}

/// Removes spaces and dots at both ends, in any order: Windows drops them, so that the file would get another name.
fn trimmed(name: &str) -> &str {
    name.trim_matches(|c: char| c == '.' || c.is_whitespace())
}

/// True for characters that change the direction of a name or hide a part of it.
fn is_misleading(c: char) -> bool {
    text::is_hidden(c) || matches!(c, '\u{200c}'..='\u{200f}' | '\u{fffc}')
}

/// Cuts the middle out of a long name, so that beginning and ending stay. An ending of more than 20 bytes is removed,
/// and the other dots become underscores: a name with a harmless ending must not become the name of a program.
fn shorten(name: &str) -> String {
    if name.len() <= MAX_NAME_BYTES {
        return name.to_owned();
    }
    let ending = name
        .rfind('.')
        .map(|at| &name[at..])
        .filter(|ending| ending.len() <= 20)
        .unwrap_or_default();
    let mut end = MAX_NAME_BYTES - ending.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    match ending {
        "" => name[..end].replace('.', "_"),
        _ => format!("{}{ending}", &name[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_out_as_it_went_in() {
        assert_eq!(
            attachment("見積 1.pdf"),
            "attachment; filename=\"__ 1.pdf\"; filename*=UTF-8''%E8%A6%8B%E7%A9%8D%201.pdf"
        );
    }

    #[test]
    fn what_is_shown_is_saved_as_what_it_is_shown_as() {
        for (name, kind, is) in [
            ("a.PNG", "image/png", "a.PNG"),
            ("a.html", "image/gif", "a.html.gif"),
            ("meeting", "audio/mpeg", "meeting.mp3"),
            ("", "image/webp", "file.webp"),
        ] {
            let header = inline(name, kind);
            assert!(
                header.starts_with(&format!("inline; filename=\"{is}\"; ")),
                "{header}"
            );
        }
    }

    #[test]
    fn a_name_that_is_cut_ends_as_harmlessly_as_it_did() {
        let long = "a".repeat(196);
        assert_eq!(
            safe(&format!("{long}.exe.{}", "b".repeat(21))),
            format!("{long}_exe")
        );
        assert_eq!(safe(&format!("{long}.exe.pdf")), format!("{long}.pdf"));
        assert_eq!(
            safe(&format!("{} {}", "a".repeat(199), "b".repeat(21))),
            "a".repeat(199)
        );
        assert_eq!(
            safe(&format!("invoice.pdf{}.exe", " ".repeat(120))),
            "invoice.pdf .exe"
        );
        assert_eq!(
            safe("invoice.pdf\u{3164}\u{115f}\u{34f}.exe"),
            "invoice.pdf.exe"
        );
    }

    #[test]
    fn nothing_leaves_the_header_or_the_directory() {
        for (name, is) in [
            ("a\"\r\nSet-Cookie: x", "a_Set-Cookie_ x"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..\\evil", "_evil"),
            ("\u{202e}gnp.exe", "gnp.exe"),
            ("...", "file"),
            ("", "file"),
            ("\0\u{200b} ", "file"),
            ("con.txt", "_con.txt"),
            ("COM1", "_COM1"),
            ("LPT12.txt", "LPT12.txt"),
            ("..%2f", "%2f"),
            ("x.pdf. . .", "x.pdf"),
            (". .x", "x"),
            ("conin$.txt", "_conin$.txt"),
            ("COM\u{b9}.txt", "_COM\u{b9}.txt"),
        ] {
            assert_eq!(safe(name), is, "{name:?}");
            let header = attachment(name);
            assert!(
                header.is_ascii() && header.matches('"').count() == 2,
                "{header}"
            );
            assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }

    #[test]
    fn a_long_name_keeps_its_ending() {
        let name = safe(&format!("{}.pdf", "あ".repeat(5000)));
        assert!(name.len() <= MAX_NAME_BYTES && name.ends_with("あ.pdf"));
        let ending = safe(&format!("a.{}", "b".repeat(5000)));
        assert_eq!(ending.len(), MAX_NAME_BYTES);
    }
}
