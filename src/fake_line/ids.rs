//! Identifiers in the formats that LINE uses.

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Crockford's Base32 alphabet, in which ULIDs are written.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 2018-01-01T00:00:00Z, the start of the message ids here; later times give 18 digits until 2035.
const MESSAGE_EPOCH: i64 = 1_514_764_800_000;

/// A generator of identifiers: the same seed gives the same ones.
#[derive(Debug)]
pub(super) struct Ids(StdRng);

impl Ids {
    pub(super) fn seeded(seed: u64) -> Self {
        Ids(StdRng::seed_from_u64(seed))
    }

    /// `length` lower-case hexadecimal digits.
    pub(super) fn hex(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(b"0123456789abcdef"[self.0.random_range(0..16)]))
            .collect()
    }

    /// An opaque token of `length` characters.
    pub(super) fn token(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(URL_SAFE[self.0.random_range(0..64)]))
            .collect()
    }

    /// `letter` and 32 hexadecimal digits: `U` for users and bots, `C` for groups, `R` for multi-person chats.
    pub(super) fn party(&mut self, letter: char) -> String {
        format!("{letter}{}", self.hex(32))
    }

    /// A message id: 18 decimal digits that grow by 2^24 each 10 ms, as LINE's seem to.
    pub(super) fn message(&mut self, ms: i64) -> String {
        let ticks = (ms - MESSAGE_EPOCH).max(0) / 10;
        (100_000_000_000_000_000 + (ticks << 24) + self.0.random_range(0..1 << 24)).to_string()
    }

    /// A ULID whose time part trails the event by some 100 to 500 ms, as LINE's do.
    pub(super) fn ulid(&mut self, ms: i64) -> String {
        let time =
            u128::from((ms + self.0.random_range(112..509)).unsigned_abs()) & ((1 << 48) - 1);
        let bits = time << 80 | self.0.random::<u128>() >> 48;
        (0..26)
            .rev()
            .map(|digit| char::from(CROCKFORD[(bits >> (digit * 5) & 31) as usize]))
            .collect()
    }

    /// A string in the format of a UUID, for request ids.
    pub(super) fn uuid(&mut self) -> String {
        [8, 4, 4, 4, 12].map(|length| self.hex(length)).join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::Ids;

    const NOVEMBER_2026: i64 = 1_795_000_000_000;

    #[test]
    fn a_ulid_is_26_crockford_digits_and_begins_with_its_time() {
        let ulid = Ids::seeded(1).ulid(NOVEMBER_2026);
        assert_eq!(ulid.len(), 26);
        let value = ulid.bytes().fold(0_u128, |value, digit| {
            let digit = super::CROCKFORD
                .iter()
                .position(|&known| known == digit)
                .expect("Crockford's alphabet");
            value << 5 | digit as u128
        });
        let trail = (value >> 80) as i64 - NOVEMBER_2026;
        assert!((112..509).contains(&trail), "trails by {trail} ms");
    }

    #[test]
    fn a_message_id_is_18_digits_and_later_ones_are_larger() {
        let mut ids = Ids::seeded(1);
        let (earlier, later) = (ids.message(NOVEMBER_2026), ids.message(NOVEMBER_2026 + 20));
        assert_eq!((earlier.len(), later.len()), (18, 18));
        assert!(earlier < later);
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        assert_eq!(Ids::seeded(7).party('U'), Ids::seeded(7).party('U'));
        assert_ne!(Ids::seeded(7).party('U'), Ids::seeded(8).party('U'));
    }
}
