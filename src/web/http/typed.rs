//! Free text that a person types: a reason, a name. One rule for forms and for the command line.

use crate::web::conversation::text::is_hidden;

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The text has no visible character.
    #[error("it needs at least one visible character")]
    Blank,
    /// The text has a character that is invisible, or that changes how others are shown.
    #[error("it has a control character, or one that is invisible")]
    Hidden,
    /// The text has more characters than this limit.
    #[error("it is longer than {0} characters")]
    TooLong(usize),
}

/// Returns `text` as one line of at most `longest` characters, without white space around it; line breaks and tabs
/// become spaces.
///
/// # Errors
/// [`Fault`] if the text is blank, is longer, or has hidden characters.
pub fn line(text: &str, longest: usize) -> Result<String, Fault> {
    let text = text.replace(['\t', '\r', '\n'], " ");
    let text = text.trim();
    if text.chars().any(is_hidden) {
        return Err(Fault::Hidden);
    }
    if text.chars().all(is_blank) {
        return Err(Fault::Blank);
    }
    if text.chars().count() > longest {
        return Err(Fault::TooLong(longest));
    }
    Ok(text.to_owned())
}

/// True for characters that are invisible when they stand alone; within a text several scripts and emoji need them.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{200c}'..='\u{200f}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
            | '\u{300}'..='\u{36f}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
            | '\u{e0100}'..='\u{e01ef}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{fff0}'..='\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_could_read_is_refused() {
        for blank in [
            "",
            " ",
            "\n",
            "\t\r\n",
            "\u{3000}",
            "\u{a0}",
            "\u{200d}",
            "\u{fe0f}",
            "\u{2800}",
            " \u{200c} ",
            "\u{301}",
            "\u{200e}",
            "\u{e0100}",
            "\u{85}",
        ] {
            assert_eq!(line(blank, 9), Err(Fault::Blank), "{blank:?}");
        }
        for hidden in [
            "\0",
            "\0\0",
            "a\0b",
            "\u{1}",
            "a\u{1b}[31m",
            "a\u{7f}",
            "\u{200b}",
            "\u{feff}a",
            "a\u{202e}b",
            "\u{2066}a",
            "\u{ad}",
            "\u{3164}",
            "\u{115f}",
            "\u{e0041}",
            "a\u{2028}b",
        ] {
            assert_eq!(line(hidden, 9), Err(Fault::Hidden), "{hidden:?}");
        }
        assert_eq!(line("1234567890", 9), Err(Fault::TooLong(9)));
        assert_eq!(line("ああああ", 3), Err(Fault::TooLong(3)));
    }

    #[test]
    fn what_is_taken_is_one_line() {
        for (typed, taken) in [
            (" case <7> ", "case <7>"),
            ("a\nb\tc", "a b c"),
            ("本店\u{3000}", "本店"),
            ("👩\u{200d}👩\u{200d}👧", "👩\u{200d}👩\u{200d}👧"),
            ("e\u{301}", "e\u{301}"),
            ("123456789", "123456789"),
        ] {
            assert_eq!(line(typed, 9).as_deref(), Ok(taken), "{typed:?}");
        }
    }
}
