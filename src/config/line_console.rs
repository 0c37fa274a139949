//! Checks the form of values that are copied between LINE's console and the settings: secrets, tokens and addresses.

use anyhow::{bail, ensure};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// Checks that a channel secret has the form of LINE's: 32 hexadecimal digits. LINE's are lower-case. A secret that was
/// typed in capitals is converted, because its letters are the key of every signature.
///
/// # Errors
/// It has another form; the error says what it looks like.
pub fn channel_secret(secret: SecretString) -> anyhow::Result<SecretString> {
    let text = secret.expose_secret();
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() == 32 && is_hex {
        return Ok(text.to_ascii_lowercase().into());
    }
    let looks_like = if text.contains(['"', '\'', ' ']) {
        "take quotes and spaces away"
    } else if text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        "this looks like the channel ID"
    } else if text.len() > 100 {
        "this looks like the channel access token"
    } else {
        "this is another length, or has other characters"
    };
    bail!(
        "a channel secret has 32 characters of 0-9 and a-f: {looks_like}. It is in the LINE Developers Console, tab Basic \
         settings"
    )
}

/// The fewest characters of a channel access token: one more than a channel secret has, which may be typed in its place.
const SHORTEST_TOKEN: usize = 33;

/// Checks that a text can be a channel access token: LINE's are longer than channel secrets, and consist of visible
/// ASCII characters other than quotes.
///
/// # Errors
/// It cannot be a token.
pub fn access_token(token: SecretString) -> anyhow::Result<SecretString> {
    let text = token.expose_secret();
    let is_odd = |byte: u8| !byte.is_ascii_graphic() || b"\"'".contains(&byte);
    ensure!(
        !text.bytes().any(is_odd),
        "a channel access token has letters a-z and A-Z, digits and + / = - _ . only, and this one has another character: \
         copy it without quotes and spaces from the LINE Developers Console, tab Messaging API"
    );
    ensure!(
        text.len() >= SHORTEST_TOKEN,
        "this is too short for a channel access token: it has {} characters, and a token has at least {SHORTEST_TOKEN}. Copy \
         it from the LINE Developers Console, tab Messaging API",
        text.len()
    );
    Ok(token)
}

/// Parses `PUBLIC_URL`: `https://` or `http://` and a host, with a port if it is not the default. The service takes the
/// whole host: webhook addresses, cookies and links are made from it.
pub(super) fn public_url(text: &str) -> Result<Url, String> {
    let example = "write it like https://archive.example.com";
    if !text.contains("://") {
        return Err(format!("it has no https:// in front: {example}"));
    }
    let url = Url::parse(text).map_err(|error| format!("{error}: {example}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(format!("LINE sends webhooks only to https URLs: {example}"));
    }
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !is_bare || !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "it has more than a host and a port, and the service answers for a whole host: {example}"
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_secret_in_capitals_is_the_one_that_line_signs_with() {
        let typed = "0123456789ABCDEFabcdef0123456789".to_owned();
        let read = channel_secret(typed.into()).expect("a secret");
        assert_eq!(read.expose_secret(), "0123456789abcdefabcdef0123456789");
    }

    #[test]
    fn an_access_token_is_long_and_has_no_quotes() {
        let token = |text: &str| access_token(text.to_owned().into());
        token(&"x/+=".repeat(43)).expect("a token");
        for odd in [
            "0123456789abcdef0123456789abcdef",
            "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'",
        ] {
            let said = token(odd).expect_err(odd).to_string();
            assert!(!said.contains(odd));
        }
        let said = token(&"x".repeat(20)).expect_err("a short token");
        let said = said.to_string();
        let words = "it has 20 characters, and a token has at least 33";
        assert!(said.contains(words), "{said}");
        // As in an example that was copied with its placeholder.
        let said = token("…").expect_err("a placeholder").to_string();
        assert!(said.contains("digits and + / = - _ ."), "{said}");
    }

    #[test]
    fn a_public_url_is_a_host_that_line_can_reach() {
        for good in [
            "https://archive.example.com",
            "https://archive.example.com/",
            "https://archive.example.com:8443",
            "http://localhost:8080",
        ] {
            public_url(good).expect(good);
        }
        for (odd, words) in [
            ("archive.example.com", "https:// in front"),
            ("archive.example.com:443", "https:// in front"),
            ("ftp://archive.example.com", "only to https URLs"),
            ("https://example.com/archive", "a whole host"),
            ("https://example.com/?a=b", "a whole host"),
            ("https://example.com/#a", "a whole host"),
            ("https://me:secret@example.com", "a whole host"),
            ("https://", "empty host"),
        ] {
            let said = public_url(odd).expect_err(odd);
            assert!(
                said.contains(words) && said.contains("https://archive"),
                "{odd}: {said}"
            );
        }
    }
}
