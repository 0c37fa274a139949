//! Splits the text of a person into pieces that a template can show: invisible characters get a mark, web addresses a
//! link.

use crate::line::message::Span;

/// A part of a text. The template escapes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::web) enum Piece {
    /// Plain text.
    Text(String),
    /// The code (`U+202E`) of a character that is invisible or changes the direction of the text.
    Control(String),
    /// A web address.
    Link(String),
    /// A LINE emoji, by its name.
    Emoji(String),
    /// A mention of somebody.
    Mention {
        text: String,
        /// True if the account itself is mentioned.
        me: bool,
    },
}

/// Splits a text that has no LINE emoji and no mentions, such as a name. Web addresses in it stay plain text.
pub(in crate::web) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    push_plain(&mut pieces, text);
    pieces
}

/// Splits the text of a message.
pub(in crate::web) fn message(spans: &[Span]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for span in spans {
        match span {
            Span::Plain(text) => push_linked(&mut pieces, text),
            Span::Emoji(name) => pieces.push(Piece::Emoji(plain(name))),
            Span::Mention { text, is_self } => pieces.push(Piece::Mention {
                text: plain(text),
                me: *is_self,
            }),
        }
    }
    pieces
}

/// A text for an attribute or a title, which can hold no markup: invisible characters are written as their codes.
pub(in crate::web) fn plain(text: &str) -> String {
    pieces(text)
        .into_iter()
        .map(|piece| match piece {
            Piece::Control(code) => format!("[{code}]"),
            Piece::Text(text) | Piece::Link(text) | Piece::Emoji(text) => text,
            Piece::Mention { text, .. } => text,
        })
        .collect()
}

/// Cuts a text to one line of at most 140 characters; a cut text ends with `…`.
pub(in crate::web) fn snippet(pieces: Vec<Piece>) -> Vec<Piece> {
    const ROOM: usize = 140;
    let mut room = ROOM;
    let mut short = Vec::new();
    for piece in pieces {
        if room == 0 {
            break;
        }
        let cut = |text: String, room: &mut usize| {
            let line: String = text
                .chars()
                .take(*room)
                .map(|c| if c.is_whitespace() { ' ' } else { c })
                .collect();
            *room -= line.chars().count();
            line
        };
        short.push(match piece {
            Piece::Text(text) | Piece::Link(text) => Piece::Text(cut(text, &mut room)),
            Piece::Mention { text, me } => Piece::Mention {
                text: cut(text, &mut room),
                me,
            },
            Piece::Control(_) | Piece::Emoji(_) => {
                room -= 1;
                piece
            }
        });
    }
    if room == 0 {
        short.push(Piece::Text("…".to_owned()));
    }
    short
}

fn push_linked(pieces: &mut Vec<Piece>, mut text: &str) {
    while let Some((before, link, after)) = cut_link(text) {
        push_plain(pieces, before);
        pieces.push(Piece::Link(link.to_owned()));
        text = after;
    }
    push_plain(pieces, text);
}

/// Finds the first web address in a text. Returns the text before it, the address, and the text after it. The address
/// ends where a sentence would: at a space, a bracket, a quote or an invisible character, and before punctuation at its
/// end.
fn cut_link(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find("http")?;
        let rest = &text[start..];
        let scheme = ["https://", "http://"]
            .into_iter()
            .find(|scheme| rest.starts_with(scheme));
        if let Some(scheme) = scheme {
            let end = rest
                .find(|c: char| {
                    c.is_whitespace() || is_hidden(c) || "<>\"'`「」『』（）、。，！？".contains(c)
                })
                .unwrap_or(rest.len());
            let link = rest[..end].trim_end_matches(['.', ',', ')', ']', ';', ':', '!', '?', '*']);
            if link.len() > scheme.len() {
                return Some((&text[..start], link, &rest[link.len()..]));
            }
        }
        from = start + "http".len();
    }
}

fn push_plain(pieces: &mut Vec<Piece>, text: &str) {
    let mut run = String::new();
    let mut in_flag = false;
    for c in text.chars() {
        // Tag characters are invisible, but after a black flag they spell the flags of England, Scotland and Wales.
        in_flag = c == '\u{1f3f4}' || (in_flag && ('\u{e0020}'..='\u{e007f}').contains(&c));
        if c == '\r' {
            continue;
        }
        if is_hidden(c) && !in_flag {
            if !run.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut run)));
            }
            pieces.push(Piece::Control(format!("U+{:04X}", u32::from(c))));
        } else {
            run.push(c);
        }
    }
    if !run.is_empty() {
        pieces.push(Piece::Text(run));
    }
}

/// True for characters that are invisible, or change how others are shown. Not included: the joiners U+200C and U+200D
/// and the variation selectors, with which emoji and several scripts are written, and the direction marks U+200E and
/// U+200F of right-to-left scripts.
pub(in crate::web) fn is_hidden(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
        | '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A size in bytes with its unit: `999 bytes`, `1.9 kB`. A kB has 1000 bytes.
pub(in crate::web) fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["kB", "MB", "GB"];
    match bytes {
        1 => return "1 byte".to_owned(),
        0..1000 => return format!("{bytes} bytes"),
        _ => {}
    }
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    if tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        format!("{} {}", tenths / 10, UNITS[unit])
    }
}

/// Milliseconds as on a player, rounded up to seconds: `0:07`, `1:02:03`.
pub(in crate::web) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds.div_ceil(1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    #[test]
    fn what_is_invisible_gets_a_mark() {
        assert_eq!(
            pieces("a\u{202e}gpj.exe"),
            [
                text("a"),
                Piece::Control("U+202E".to_owned()),
                text("gpj.exe")
            ]
        );
        assert_eq!(plain("\u{3164}\u{1b}[2J"), "[U+3164][U+001B][2J");
    }

    #[test]
    fn what_scripts_and_emoji_need_stays() {
        for fine in [
            "👨‍👩‍👧",
            "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
            "❤️",
            "می‌خواهم",
            "two\nlines\tand a tab",
            "a\u{200f}b",
        ] {
            assert_eq!(pieces(fine), [text(fine)]);
        }
        assert_eq!(plain("x\u{e0061}y"), "x[U+E0061]y", "a tag outside a flag");
    }

    #[test]
    fn addresses_become_links_and_nothing_else_does() {
        let linked = |text: &str| message(&[Span::Plain(text)]);
        assert_eq!(
            linked("見て（https://example.com/a?b=1&c）。"),
            [
                text("見て（"),
                Piece::Link("https://example.com/a?b=1&c".to_owned()),
                text("）。")
            ]
        );
        assert_eq!(
            linked("http http:// http://x."),
            [
                text("http http:// "),
                Piece::Link("http://x".to_owned()),
                text(".")
            ]
        );
        for none in [
            "javascript:alert(1)",
            "data:text/html,x",
            "https://",
            "ftp://x",
        ] {
            assert_eq!(linked(none), [text(none)]);
        }
        assert_eq!(
            linked("https://a\u{202e}b")[0],
            Piece::Link("https://a".to_owned())
        );
    }

    #[test]
    fn a_snippet_is_one_short_line() {
        assert_eq!(snippet(pieces("a\nb")), [text("a b")]);
        let long = snippet(pieces(&"あ".repeat(500)));
        assert_eq!(long, [text(&"あ".repeat(140)), text("…")]);
    }

    #[test]
    fn sizes_and_durations() {
        assert_eq!(size(1), "1 byte");
        let sizes = [999, 1000, 1949, 10_000, 999_999, 2_500_000, 7_000_000_000].map(size);
        assert_eq!(
            sizes,
            [
                "999 bytes",
                "1.0 kB",
                "1.9 kB",
                "10 kB",
                "999 kB",
                "2.5 MB",
                "7.0 GB"
            ]
        );
        assert_eq!(
            [0, 1, 61_000, 3_723_000].map(duration),
            ["0:00", "0:01", "1:01", "1:02:03"]
        );
    }
}
