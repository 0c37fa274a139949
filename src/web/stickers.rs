//! Pictures of stickers. LINE does not give them to bots, and says so; its apps fetch them from a host where anybody can.
//! An installation that switches that on has its operators' browsers ask that host, which learns when they look at which
//! sticker. Nothing of it is kept here.

/// Where they are.
pub(super) const HOST: &str = "https://stickershop.line-scdn.net";

/// Where the picture of a sticker is; `None` if `id` is no number of LINE's.
pub(super) fn picture(id: &str) -> Option<String> {
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
