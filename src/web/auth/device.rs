//! The device cookie: a browser that has signed in keeps its own share of tries (OWASP: device cookies).
//!
//! It grants nothing else. It holds a random id, the operator's id, the version of the operator's credentials and the
//! time of issue, with a MAC keyed from the secret key. A new password, role or scope makes it invalid.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::seal::{Attestation, Facts};

/// How long a device is known after its last sign-in.
pub(in crate::web) const LIFETIME: TimeDelta = TimeDelta::days(180);

/// Bytes of the four facts, and of the whole with the MAC.
const FACTS: usize = 16 + 16 + 4 + 8;
const ALL: usize = FACTS + 32;

/// A browser that has signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) struct Device {
    pub(in crate::web) id: Uuid,
    pub(in crate::web) operator_id: Uuid,
    /// The version of the operator's credentials at sign-in.
    pub(in crate::web) version: i32,
    pub(in crate::web) issued_at: DateTime<Utc>,
}

impl Device {
    fn facts(&self) -> [u8; FACTS] {
        let mut bytes = [0; FACTS];
        bytes[..16].copy_from_slice(self.id.as_bytes());
        bytes[16..32].copy_from_slice(self.operator_id.as_bytes());
        bytes[32..36].copy_from_slice(&self.version.to_be_bytes());
        bytes[36..].copy_from_slice(&self.issued_at.timestamp().to_be_bytes());
        bytes
    }

    /// The cookie's value.
    pub(in crate::web) fn write(&self, attestation: &Attestation) -> String {
        let facts = self.facts();
        let mac = attestation.mac(&signed(&facts));
        URL_SAFE_NO_PAD.encode([&facts[..], &mac].concat())
    }

    /// Reads a cookie's value; `None` if it was not written by [`Device::write`], or is older than [`LIFETIME`].
    pub(in crate::web) fn read(
        text: &str,
        attestation: &Attestation,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        if bytes.len() != ALL {
            return None;
        }
        let (facts, mac) = bytes.split_at(FACTS);
        if !attestation.verify(&signed(facts), mac) {
            return None;
        }
        let seconds = i64::from_be_bytes(facts[36..].try_into().ok()?);
        let device = Self {
            id: Uuid::from_slice(&facts[..16]).ok()?,
            operator_id: Uuid::from_slice(&facts[16..32]).ok()?,
            version: i32::from_be_bytes(facts[32..36].try_into().ok()?),
            issued_at: DateTime::from_timestamp(seconds, 0)?,
        };
        (device.issued_at + LIFETIME > now).then_some(device)
    }
}

fn signed(facts: &[u8]) -> Facts {
    Facts::of("device cookie").bytes(facts)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::seal::{Cipher, DirectoryKeyStore, Keyring, SecretKey};

    fn keyring(dir: &tempfile::TempDir) -> Keyring {
        let store = DirectoryKeyStore::open(dir.path()).expect("a directory");
        Keyring::new(&SecretKey::random(), Arc::new(store), Cipher::Sealed)
    }

    #[test]
    fn a_device_is_known_for_180_days_and_no_bit_of_its_cookie_can_be_altered() {
        let dir = tempfile::tempdir().expect("a directory");
        let keyring = keyring(&dir);
        let mine = keyring.attestation();
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let device = Device {
            id: Uuid::new_v4(),
            operator_id: Uuid::new_v4(),
            version: 7,
            issued_at: now,
        };
        let text = device.write(mine);
        assert_eq!(Device::read(&text, mine, now), Some(device));
        let last = now + LIFETIME - TimeDelta::seconds(1);
        assert_eq!(Device::read(&text, mine, last), Some(device));
        assert_eq!(Device::read(&text, mine, now + LIFETIME), None);
        let bytes = URL_SAFE_NO_PAD.decode(&text).expect("bytes");
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let altered = URL_SAFE_NO_PAD.encode(altered);
            assert_eq!(Device::read(&altered, mine, now), None, "byte {at}");
        }
        for broken in ["", "x", &text[1..], &text[..text.len() - 2]] {
            assert_eq!(Device::read(broken, mine, now), None);
        }
        let other = self::keyring(&dir);
        assert_eq!(Device::read(&text, other.attestation(), now), None);
    }
}
