//! Numbers with their nouns.

use std::fmt::Display;

/// A number and its noun: `1 record`, `2 records`. The plural of `noun` is formed with an `s`.
pub fn counted<N: Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let ending = match number == N::from(1) {
        true => "",
        false => "s",
    };
    format!("{number} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_one_is_singular() {
        assert_eq!(counted(0_usize, "channel"), "0 channels");
        assert_eq!(counted(1_u64, "record"), "1 record");
        assert_eq!(counted(2_i64, "replication slot"), "2 replication slots");
    }
}
