//! Detects the language of a text by its script, so that the browser uses the right glyphs and line breaks.

/// `ja`, `ko`, `th`, `zh-Hant` or `zh-Hans`; `None` if the script does not decide. For characters that Chinese and
/// Japanese share, the language of the writer's profile decides; with any other profile language, or none, the text
/// counts as Traditional Chinese.
pub(in crate::web) fn of(text: &str, profile_language: Option<&str>) -> Option<&'static str> {
    let (mut kana, mut hangul, mut thai, mut han, mut other) = (0, 0, 0, 0, 0);
    for c in text.chars().take(2000) {
        match c {
            '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' => {
                kana += 1
            }
            '\u{1100}'..='\u{11ff}' | '\u{3131}'..='\u{318e}' | '\u{ac00}'..='\u{d7a3}' => {
                hangul += 1
            }
            '\u{e01}'..='\u{e5b}' => thai += 1,
            '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{323af}' => {
                han += 1;
            }
            c if c.is_alphabetic() => other += 1,
            _ => {}
        }
    }
    // A Latin word in a Japanese sentence has many letters, so characters of the other scripts count three times.
    if 3 * (kana + hangul + thai + han) <= other {
        return None;
    }
    if thai >= kana.max(hangul).max(han) {
        return (thai > 0).then_some("th");
    }
    if hangul > kana + han {
        return Some("ko");
    }
    if kana > 0 {
        return Some("ja");
    }
    match profile_language {
        Some(language) if language.starts_with("ja") => Some("ja"),
        Some("zh-Hans" | "zh-CN" | "zh-SG" | "zh") => Some("zh-Hans"),
        _ => Some("zh-Hant"),
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_script_tells() {
        assert_eq!(of("こんにちは", None), Some("ja"));
        assert_eq!(of("明日10時にZoomで", None), Some("ja"));
        assert_eq!(of("ﾃｽﾄ", None), Some("ja"));
        assert_eq!(of("สวัสดีครับ LINE", None), Some("th"));
        assert_eq!(of("안녕하세요", None), Some("ko"));
        assert_eq!(of("請問今天有開嗎？", None), Some("zh-Hant"));
        assert_eq!(of("Hello there", None), None);
        assert_eq!(of("Please say こ to the whole of the shop", None), None);
        assert_eq!(of("👍 123", None), None);
        assert_eq!(of("", None), None);
    }

    #[test]
    fn shared_characters_follow_the_profile() {
        assert_eq!(of("了解", Some("ja")), Some("ja"));
        assert_eq!(of("了解", Some("zh-CN")), Some("zh-Hans"));
        assert_eq!(of("了解", Some("zh-TW")), Some("zh-Hant"));
    }
}
