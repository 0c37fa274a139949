//! Message authentication codes (HMAC-SHA256) over the facts of database rows, so that a database writer cannot forge
//! an operator or a session.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::SecretKey;

/// Length of a code in bytes.
pub const MAC: usize = 32;

/// Computes and verifies codes with a key that is derived from the secret key.
pub struct Attestation(Zeroizing<[u8; 32]>);

impl Attestation {
    pub(super) fn new(secret: &SecretKey) -> Self {
        Self(secret.derive("attested rows"))
    }

    /// HMAC-SHA256 over the facts.
    pub fn mac(&self, facts: &Facts) -> [u8; MAC] {
        self.state(facts)
            .map_or([0; MAC], |mac| mac.finalize().into_bytes().into())
    }

    /// True if `mac` is the code of these facts. Compares in constant time; a code of another length is wrong.
    pub fn verify(&self, facts: &Facts, mac: &[u8]) -> bool {
        mac.len() == MAC
            && self
                .state(facts)
                .is_some_and(|state| state.verify_slice(mac).is_ok())
    }

    /// `None` never happens: HMAC takes a key of any length.
    fn state(&self, facts: &Facts) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice()).ok()?;
        mac.update(&facts.0);
        Some(mac)
    }
}

impl std::fmt::Debug for Attestation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attestation(redacted)")
    }
}

/// The facts of one row, encoded so that two different lists of facts never have the same bytes: a label for the kind
/// of row, then each fact, with a tag and its length before it.
pub struct Facts(Vec<u8>);

impl Facts {
    /// Begins a list. The label names the kind of row: facts of one kind never verify as another's.
    pub fn of(label: &str) -> Self {
        Self(vec![]).bytes(label.as_bytes())
    }

    /// Adds a string of bytes.
    #[must_use]
    pub fn bytes(mut self, fact: &[u8]) -> Self {
        self.0.push(b'b');
        self.0.extend_from_slice(&(fact.len() as u64).to_be_bytes());
        self.0.extend_from_slice(fact);
        self
    }

    /// Adds a text, as UTF-8.
    #[must_use]
    pub fn text(self, fact: &str) -> Self {
        self.bytes(fact.as_bytes())
    }

    /// Adds an id, as its 16 bytes.
    #[must_use]
    pub fn id(self, fact: Uuid) -> Self {
        self.bytes(fact.as_bytes())
    }

    /// Adds a number, or a boolean: 1 for true, 0 for false.
    #[must_use]
    pub fn number(self, fact: impl Into<i64>) -> Self {
        self.bytes(&fact.into().to_be_bytes())
    }

    /// Adds a time in microseconds, because PostgreSQL stores no finer one.
    #[must_use]
    pub fn time(self, fact: DateTime<Utc>) -> Self {
        self.number(fact.timestamp_micros())
    }

    /// Adds a time, or the fact that the time is absent.
    #[must_use]
    pub fn time_or_none(mut self, fact: Option<DateTime<Utc>>) -> Self {
        match fact {
            Some(time) => self.time(time),
            None => {
                self.0.push(b'n');
                self
            }
        }
    }

    /// Adds numbers, with their count before them.
    #[must_use]
    pub fn numbers(self, facts: &[i32]) -> Self {
        let count = i64::try_from(facts.len()).unwrap_or(i64::MAX);
        facts
            .iter()
            .fold(self.number(count), |list, fact| list.number(*fact))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_belongs_to_its_facts_and_its_key() {
        let mine = Attestation::new(&SecretKey::random());
        let facts = || Facts::of("row").text("a").number(1);
        let mac = mine.mac(&facts());
        assert!(mine.verify(&facts(), &mac));
        assert!(!mine.verify(&facts(), &mac[..31]));
        assert!(!mine.verify(&facts(), &[]));
        assert!(!mine.verify(&facts(), &[0; MAC]));
        assert!(!mine.verify(&facts().number(1), &mac));
        assert!(!Attestation::new(&SecretKey::random()).verify(&facts(), &mac));
    }

    #[test]
    fn no_two_lists_of_facts_are_the_same_bytes() {
        let at = DateTime::UNIX_EPOCH;
        let lists = [
            Facts::of("row").text("ab").text("c"),
            Facts::of("row").text("a").text("bc"),
            Facts::of("row").text("abc"),
            Facts::of("rowabc"),
            Facts::of("other").text("abc"),
            Facts::of("row").numbers(&[1, 2]).numbers(&[]),
            Facts::of("row").numbers(&[1]).numbers(&[2]),
            Facts::of("row").numbers(&[2, 1]).numbers(&[]),
            Facts::of("row").time_or_none(None),
            Facts::of("row").time_or_none(Some(at)),
            Facts::of("row").text(""),
            Facts::of("row"),
        ];
        for (n, one) in lists.iter().enumerate() {
            for other in &lists[..n] {
                assert_ne!(one.0, other.0);
            }
        }
    }
}
