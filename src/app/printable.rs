//! Escapes characters that a terminal would act on.

use std::borrow::Cow;

/// Escapes control characters except tabs, the line and paragraph separators (U+2028, U+2029), and the bidirectional
/// controls: marks (U+061C, U+200E, U+200F), embeddings and overrides (U+202A to U+202E) and isolates (U+2066 to
/// U+2069). So nothing in a line moves the cursor, sets a colour or reorders text. Names and slugs come from the
/// database: anyone who can write there could otherwise erase or forge what an administrator reads.
pub fn printable(line: &str) -> Cow<'_, str> {
    if !line.contains(affects_terminal) {
        return line.into();
    }
    let mut shown = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        match affects_terminal(c) {
            true => shown.extend(c.escape_debug()),
            false => shown.push(c),
        }
    }
    shown.into()
}

fn affects_terminal(c: char) -> bool {
    c != '\t' && c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_bidi_characters_are_escaped() {
        for (line, shown) in [
            ("shop\t本店 (é)\tnever", "shop\t本店 (é)\tnever"),
            ("a\u{1b}]0;x\u{7}b", "a\\u{1b}]0;x\\u{7}b"),
            ("a\nb\rc", "a\\nb\\rc"),
            ("a\u{9b}2Jb\u{7f}", "a\\u{9b}2Jb\\u{7f}"),
            ("a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c"),
        ] {
            assert_eq!(printable(line), shown);
        }
    }
}
