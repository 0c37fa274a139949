//! Cursors of the keyset pagination, as they are written in addresses.

use chrono::{DateTime, Datelike};
use uuid::Uuid;

use crate::records::conversations::Cursor;

/// Writes a cursor as `1762939200000000-0191f3…`: microseconds since 1970, and an id.
pub(in crate::web) fn text(cursor: Cursor) -> String {
    format!("{}-{}", cursor.at.timestamp_micros(), cursor.id.simple())
}

/// Reads what [`text`] wrote. `None` if it is anything else.
pub(in crate::web) fn read(text: &str) -> Option<Cursor> {
    let (at, id) = text.rsplit_once('-')?;
    let at = DateTime::from_timestamp_micros(at.parse().ok()?)?;
    // PostgreSQL rejects years that chrono accepts.
    (1..=9999).contains(&at.year()).then_some(())?;
    Some(Cursor {
        at,
        id: Uuid::try_parse(id).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back() {
        for micros in [1_762_939_200_000_001, 0, -5] {
            let cursor = Cursor {
                at: DateTime::from_timestamp_micros(micros).expect("a time"),
                id: Uuid::from_u128(7),
            };
            assert_eq!(read(&text(cursor)), Some(cursor));
        }
        let id = "00000000000000000000000000000007";
        for wrong in [
            "",
            "-",
            "1",
            "x-y",
            "99999999999999999999-0",
            &format!("{}-{id}", i64::MAX),
            &format!("-8000000000000000000-{id}"),
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
