//! Escapes characters that a terminal would act on.

use std::borrow::Cow;

/// Escapes control characters, except tabs, and characters that change the direction of text, so that nothing in a line
/// moves the cursor, sets a colour or reorders text. Names and slugs come from the database: anyone who can write there
/// could otherwise erase or forge what an administrator reads.
pub fn printable(line: &str) -> Cow<'_, str> {
    if !line.contains(acts) {
        return line.into();
    }
    let mut shown = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        match acts(c) {
            true => shown.extend(c.escape_debug()),
            false => shown.push(c),
        }
    }
    shown.into()
}

fn acts(c: char) -> bool {
    c != '\t' && c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
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
