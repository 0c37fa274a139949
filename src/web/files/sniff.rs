//! Detects the type of a file by its first bytes. The type and the name that its sender gave are not trusted.

/// The number of first bytes that are enough to detect a type.
pub(in crate::web) const ENOUGH: u64 = 512;

/// The media type under which a browser may show or play the file that begins with these bytes; `None`: it may only be
/// downloaded. No type that can contain a script is among them.
pub(in crate::web) fn playable(first: &[u8]) -> Option<&'static str> {
    let kind = infer::get(first)?.mime_type();
    Some(match kind {
        "image/jpeg" => "image/jpeg",
        "image/png" => "image/png",
        "image/gif" => "image/gif",
        "image/webp" => "image/webp",
        // LINE's voice messages are M4A files whose brand says MP4; players accept either type.
        "video/mp4" | "video/x-m4v" => "video/mp4",
        "audio/m4a" | "audio/x-m4a" | "audio/mp4" => "audio/mp4",
        "audio/aac" => "audio/aac",
        "audio/mpeg" => "audio/mpeg",
        "audio/ogg" => "audio/ogg",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::playable;

    #[test]
    fn pictures_and_sounds_are_told_by_their_bytes() {
        assert_eq!(playable(b"\xff\xd8\xff\xe0\0\x10JFIF"), Some("image/jpeg"));
        assert_eq!(
            playable(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
            Some("image/png")
        );
        assert_eq!(playable(b"GIF89a\x01\0\x01\0"), Some("image/gif"));
        assert_eq!(playable(b"RIFF\x24\0\0\0WEBPVP8 "), Some("image/webp"));
        assert_eq!(
            playable(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"),
            Some("video/mp4")
        );
        assert_eq!(
            playable(b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42"),
            Some("audio/mp4")
        );
    }

    #[test]
    fn nothing_that_can_hold_a_script_is_shown() {
        for bytes in [
            &b"<!doctype html><script>alert(1)</script>"[..],
            b"<html>",
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            b"<?xml version='1.0'?><svg/>",
            b"%PDF-1.7 /JS (app.alert(1))",
            b"PK\x03\x04",
            b"MZ\x90",
            b"just text",
            b"",
        ] {
            assert_eq!(playable(bytes), None, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
