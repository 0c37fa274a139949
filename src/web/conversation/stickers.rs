//! Pictures of stickers. LINE does not give them to bots, and documents that; its apps fetch them from a public host.
//! If an installation switches this on, its operators' browsers fetch pictures from that host, which learns when an
//! operator looks at which sticker. The archive stores no such picture.

/// LINE's host of the pictures.
pub(in crate::web) const HOST: &str = "https://stickershop.line-scdn.net";

/// The address of a sticker's picture; `None` if `id` is not a number of 1 to 20 ASCII digits, as LINE's numbers are.
pub(in crate::web) fn picture(id: &str) -> Option<String> {
    let number = (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    number.then(|| format!("{HOST}/stickershop/v1/sticker/{id}/android/sticker.png"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_leads_nowhere() {
        let of =
            "https://stickershop.line-scdn.net/stickershop/v1/sticker/52002734/android/sticker.png";
        assert_eq!(picture("52002734").as_deref(), Some(of));
        for odd in ["", "../1", "1/2", "１", "1?x", "-1", "1 ", &"1".repeat(21)] {
            assert_eq!(picture(odd), None, "{odd}");
        }
    }
}
