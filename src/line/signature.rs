//! `x-line-signature`: Base64 of HMAC-SHA256 over the raw body, keyed with the channel secret
//! (LINE Developers, "Verify webhook signature").

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// True if `signature`, the header's value, is the signature of `body` with `secret`. False for an empty `secret`.
///
/// The header must be strict Base64 of 32 bytes. The comparison takes constant time.
pub fn verify(secret: &[u8], body: &[u8], signature: &[u8]) -> bool {
    if secret.is_empty() {
        return false; // Anyone could sign with an empty secret.
    }
    let Ok(signature) = STANDARD.decode(signature) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return false;
    };
    mac.update(body);
    mac.verify_slice(&signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // LINE's own worked example; it is also what the console's Verify button sends.
    const SECRET: &[u8] = b"8c570fa6dd201bb328f1c1eac23a96d8";
    const BODY: &[u8] = br#"{"destination":"U8e742f61d673b39c7fff3cecb7536ef0","events":[]}"#;
    const SIGNATURE: &[u8] = b"GhRKmvmHys4Pi8DxkF4+EayaH0OqtJtaZxgTD9fMDLs=";

    #[test]
    fn lines_own_example_is_true() {
        assert!(verify(SECRET, BODY, SIGNATURE));
    }

    #[test]
    fn anything_else_is_false() {
        assert!(!verify(b"another secret", BODY, SIGNATURE));
        let mut mac = Hmac::<Sha256>::new_from_slice(b"").expect("any key");
        mac.update(BODY);
        let empty = STANDARD.encode(mac.finalize().into_bytes());
        assert!(!verify(b"", BODY, empty.as_bytes()), "an empty secret");
        assert!(!verify(SECRET, b"{}", SIGNATURE));
        assert!(!verify(SECRET, BODY, b""));
        assert!(!verify(
            SECRET,
            BODY,
            b"GhRKmvmHys4Pi8DxkF4+EayaH0OqtJtaZxgTD9fMDLs"
        ));
        assert!(!verify(
            SECRET,
            BODY,
            b" GhRKmvmHys4Pi8DxkF4+EayaH0OqtJtaZxgTD9fMDLs="
        ));
        assert!(!verify(
            SECRET,
            BODY,
            &STANDARD.encode(b"short").into_bytes()
        ));
        for at in 0..SIGNATURE.len() {
            let mut forged = SIGNATURE.to_vec();
            forged[at] ^= 1;
            assert!(!verify(SECRET, BODY, &forged), "byte {at}");
        }
    }
}
