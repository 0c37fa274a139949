//! Reads `Range: bytes=…` with one range, by which players request pieces of a video.

use std::ops::Range;

/// The part of a file to send.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::web) enum Wanted {
    /// The whole file: the header is missing, has several ranges, or is not understood.
    All,
    /// These bytes; never empty.
    Part(Range<u64>),
    /// No bytes: the range is outside of the file (RFC 9110, 15.5.17).
    Unsatisfiable,
}

/// Reads the header for a file of `size` bytes (RFC 9110, section 14).
pub(in crate::web) fn read(header: Option<&str>, size: u64) -> Wanted {
    let Some((first, last)) = header
        .and_then(|header| header.strip_prefix("bytes="))
        .filter(|ranges| !ranges.contains(','))
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Wanted::All;
    };
    // Digits only, however many: a number beyond 2^64 is beyond the end of the file as well.
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Wanted::All,
        (Some(first), _) if first >= size => Wanted::Unsatisfiable,
        (Some(first), Some(last)) => Wanted::Part(first..last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => Wanted::Part(first..size),
        (None, Some(last)) if first.is_empty() => match last.min(size) {
            0 => Wanted::Unsatisfiable,
            last => Wanted::Part(size - last..size),
        },
        _ => Wanted::All,
    }
}

#[cfg(test)]
mod tests {
    use super::{Wanted::*, read};

    #[test]
    fn one_range_is_cut_to_the_file() {
        for (header, wanted) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=2-", Part(2..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-99", Part(0..10)),
            ("bytes=5-99999999999999999999999", Part(5..10)),
            ("bytes=9-9", Part(9..10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=5-4", All),
            ("bytes=0-0,-1", All),
            ("bytes=", All),
            ("bytes=-", All),
            ("bytes=a-b", All),
            ("bytes=+1-2", All),
            ("lines=1-2", All),
        ] {
            assert_eq!(read(Some(header), 10), wanted, "{header}");
        }
        assert_eq!(read(None, 10), All);
        assert_eq!(read(Some("bytes=0-"), 0), Unsatisfiable);
    }
}
