//! Logins: one normal form for adding an operator, for finding one and for signing in.

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory},
};

/// Bytes of a login in normal form, at most.
pub const MAX_BYTES: usize = 200;

/// Why a login was not taken. Says nothing of what was typed.
#[derive(thiserror::Error, Debug, PartialEq, Eq, Clone, Copy)]
pub enum LoginError {
    /// Empty, white space, or nothing but marks and signs.
    #[error("a login needs at least one letter or digit")]
    Empty,
    /// Longer than [`MAX_BYTES`].
    #[error("a login may have at most {MAX_BYTES} bytes")]
    TooLong,
    /// A character that is invisible or changes the direction of writing.
    #[error(
        "a login may not contain control, formatting, invisible or unassigned characters, or white space other than \
         single spaces"
    )]
    Unprintable,
}

/// A login in normal form: NFKC with full case folding (NFKC_Casefold of the Unicode Standard, but ignorable characters
/// are refused instead of removed). All widths, cases and compositions of one name are the same login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login(String);

impl Login {
    /// Normalises and checks a login as it was typed. White space around it is dropped.
    ///
    /// # Errors
    /// [`LoginError`] says why the login is refused.
    pub fn new(typed: &str) -> Result<Self, LoginError> {
        let trimmed = typed.trim();
        // NFKC makes at most 18 bytes of one byte; this bound limits the work.
        if trimmed.len() > 4 * MAX_BYTES {
            return Err(LoginError::TooLong);
        }
        let login = fold(trimmed);
        let login = login.trim();
        if login.len() > MAX_BYTES {
            return Err(LoginError::TooLong);
        }
        if trimmed.chars().chain(login.chars()).any(is_unprintable) || login.contains("  ") {
            return Err(LoginError::Unprintable);
        }
        if !login.chars().any(char::is_alphanumeric) {
            return Err(LoginError::Empty);
        }
        Ok(Self(login.to_owned()))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The normal form.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// Case folding can undo composition, and composition can undo case folding, so both are done twice; after that the
/// text no longer changes.
fn fold(text: &str) -> String {
    let normalizer = ComposingNormalizerBorrowed::new_nfkc();
    let mapper = CaseMapper::new();
    (0..2).fold(text.to_owned(), |text, _| {
        let folded = mapper
            .fold_string(&normalizer.normalize(&text))
            .into_owned();
        normalizer.normalize(&folded).into_owned()
    })
}

fn is_unprintable(c: char) -> bool {
    use GeneralCategory as Category;
    let category = CodePointMapData::<Category>::new().get(c);
    let unseen = matches!(
        category,
        Category::Control
            | Category::Format
            | Category::Surrogate
            | Category::PrivateUse
            | Category::Unassigned
            | Category::LineSeparator
            | Category::ParagraphSeparator
    );
    // U+3000, the space of a Japanese keyboard, becomes a plain space.
    let other_space = category == Category::SpaceSeparator && !matches!(c, ' ' | '\u{3000}');
    // U+2800 is a Braille pattern without dots.
    unseen
        || other_space
        || c == '\u{2800}'
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// The stored logins that a typed login may mean, the likeliest first: the normal form, then the forms that earlier
/// versions stored. Earlier versions lower-cased in Rust, or in PostgreSQL by its locale, and did not always trim.
pub(super) fn spellings(typed: &str) -> Vec<String> {
    let normal = Login::new(typed).ok().map(Login::into_text);
    let trimmed = typed.trim();
    let mut spellings: Vec<String> = normal.into_iter().collect();
    for earlier in [
        trimmed.to_lowercase(),
        trimmed.to_ascii_lowercase(),
        typed.to_lowercase(),
        typed.to_ascii_lowercase(),
    ] {
        // PostgreSQL accepts no U+0000 in a text, so no stored login contains one.
        if !spellings.contains(&earlier) && !earlier.contains('\0') {
            spellings.push(earlier);
        }
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(typed: &str) -> String {
        Login::new(typed).expect("a login").into_text()
    }

    #[test]
    fn spellings_of_one_name_are_one_login() {
        for names in [
            &[
                "keiko",
                " Keiko ",
                "ＫＥＩＫＯ",
                "ｋｅｉｋｏ",
                "\u{3000}KEIKO\n",
            ][..],
            &["νικος", "ΝΙΚΟΣ", "Νικοσ", "νικοσ"],
            &["İlker", "i̇lker", "I\u{307}LKER"],
            &["straße", "STRASSE", "STRAẞE"],
            &["é", "e\u{301}", "É", "E\u{301}"],
            &["ガ", "ｶﾞ", "カ\u{3099}"],
            &["aoi tanaka", "Aoi\u{3000}Tanaka"],
            &["ﬁona", "FIONA"],
            &["ᾳ", "ᾼ", "ΑΙ"],
        ] {
            let logins: Vec<_> = names.iter().map(|name| normal(name)).collect();
            assert!(logins.iter().all(|login| *login == logins[0]), "{logins:?}");
            assert_eq!(normal(&logins[0]), logins[0], "a normal form is its own");
        }
        assert_ne!(normal("ılker"), normal("ilker"), "a letter of its own");
    }

    #[test]
    fn a_login_that_cannot_be_told_by_its_look_is_refused() {
        for empty in ["", " ", "\n", "\u{3000}", "...", "\u{301}", "-"] {
            assert_eq!(Login::new(empty), Err(LoginError::Empty), "{empty:?}");
        }
        for unprintable in [
            "a\u{0}b",
            "a\nb",
            "a\tb",
            "\u{7f}a",
            "a\u{85}b",
            "a\u{200b}",
            "\u{200b}a",
            "\u{feff}a",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200f}",
            "a\u{ad}b",
            "a\u{2028}b",
            "a\u{a0}b",
            "a\u{2003}b",
            "a  b",
            "\u{3164}",
            "a\u{3164}",
            "a\u{115f}",
            "a\u{ffa0}",
            "a\u{2800}b",
            "a\u{fe0f}",
            "a\u{e0041}",
            "a\u{e000}",
            "a\u{ffff}",
            "a\u{378}",
            "a\u{180e}",
            "a\u{34f}",
        ] {
            assert_eq!(
                Login::new(unprintable),
                Err(LoginError::Unprintable),
                "{unprintable:?}"
            );
        }
    }

    #[test]
    fn a_login_has_at_most_two_hundred_bytes_in_its_normal_form() {
        assert!(Login::new(&"a".repeat(200)).is_ok());
        for long in [
            "a".repeat(201),
            "a".repeat(300),
            "ﷺ".repeat(12),
            "a".repeat(1 << 20),
        ] {
            assert_eq!(Login::new(&long), Err(LoginError::TooLong));
        }
    }

    #[test]
    fn a_login_of_an_earlier_version_is_found_as_it_was_typed() {
        assert_eq!(spellings("Keiko"), ["keiko"]);
        assert!(spellings("İlker").contains(&"İlker".to_owned()));
        assert!(spellings("ΝΙΚΟΣ").contains(&"νικος".to_owned()));
        assert!(spellings(" Keiko").contains(&" keiko".to_owned()));
        assert!(spellings("").contains(&String::new()));
        assert!(spellings("a\0b").is_empty());
    }
}
