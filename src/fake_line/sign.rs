//! LINE's signature: HMAC-SHA256 over the raw body, written out from RFC 2104 so that it shares no code with the
//! verification that it is used to check.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// SHA-256's block size, in bytes.
const BLOCK: usize = 64;

/// The value of `x-line-signature` for `body`: standard Base64 of the HMAC whose key is the channel secret, as text.
#[must_use]
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut key = [0; BLOCK];
    if secret.len() > BLOCK {
        key[..32].copy_from_slice(&Sha256::digest(secret));
    } else {
        key[..secret.len()].copy_from_slice(secret.as_bytes());
    }
    let inner = Sha256::new()
        .chain_update(key.map(|byte| byte ^ 0x36))
        .chain_update(body)
        .finalize();
    let outer = Sha256::new()
        .chain_update(key.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize();
    STANDARD.encode(outer)
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};

    use super::{Engine, STANDARD, Sha256, sign};

    /// The worked example in LINE's documentation, "Verify webhook signature".
    #[test]
    fn signs_as_lines_documentation_does() {
        let body = br#"{"destination":"U8e742f61d673b39c7fff3cecb7536ef0","events":[]}"#;
        assert_eq!(
            sign("8c570fa6dd201bb328f1c1eac23a96d8", body),
            "GhRKmvmHys4Pi8DxkF4+EayaH0OqtJtaZxgTD9fMDLs="
        );
    }

    #[test]
    fn agrees_with_another_implementation_on_secrets_of_every_length() {
        for length in [1, 32, 64, 65, 200] {
            let secret = "k".repeat(length);
            let mut other = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            other.update(b"body");
            assert_eq!(
                sign(&secret, b"body"),
                STANDARD.encode(other.finalize().into_bytes())
            );
        }
    }
}
