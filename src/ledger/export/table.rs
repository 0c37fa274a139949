//! `records.csv`: the records for a spreadsheet, which must not take a cell for a formula (CSV injection).

use serde_json::Value;

use crate::ledger::Record;

const COLUMNS: [&str; 15] = [
    "v",
    "kind",
    "erasure",
    "channel",
    "message_id",
    "event",
    "conversation",
    "cause",
    "trigger",
    "asked_at",
    "at",
    "rows",
    "objects",
    "keys",
    "software",
];

/// The table of `records`, the first of which is number `first`. `None` if one is of a format that this version does
/// not know.
pub fn of(first: u64, records: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table
        .write_record(std::iter::once("seq").chain(COLUMNS))
        .ok()?;
    for (seq, bytes) in (first..).zip(records) {
        let record = serde_json::to_value(Record::parse(bytes)?).ok()?;
        let cells = COLUMNS.iter().map(|column| match &record[column] {
            Value::Null => String::new(),
            Value::String(text) => escape_formula(text),
            other => other.to_string(),
        });
        table
            .write_record(std::iter::once(seq.to_string()).chain(cells))
            .ok()?;
    }
    table.into_inner().ok()
}

/// Makes a text that no spreadsheet runs: a text that begins like a formula gets a `'` before it (OWASP, CSV
/// injection). Characters that a spreadsheet trims, or does not show, do not count as the beginning. A `;`, a tab or a
/// line break counts as the beginning of another cell, because it is one in a spreadsheet whose separator is not the
/// comma, quoted or not.
pub fn escape_formula(text: &str) -> String {
    const BREAKS: [char; 3] = ['\t', '\r', '\n'];
    let mut cell = String::with_capacity(text.len() + 1);
    if text.starts_with(BREAKS) || begins_like_a_formula(text) {
        cell.push('\'');
    }
    let rest = text.trim_start_matches(BREAKS);
    cell.push_str(&text[..text.len() - rest.len()]);
    for (at, piece) in rest.split_inclusive([';', '\t', '\r', '\n']).enumerate() {
        if at > 0 && begins_like_a_formula(piece) {
            cell.push('\'');
        }
        cell.push_str(piece);
    }
    cell
}

/// True if the first character that counts is `=`, `+`, `-` or `@`, or one that Unicode or a reader treats as one of
/// them.
fn begins_like_a_formula(text: &str) -> bool {
    let mut counting = text.chars().filter(|c| {
        // Hangul fillers are blank, although Unicode classifies them as letters.
        let blank = matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
        FORMULA.contains(*c) || c.is_ascii_graphic() || (c.is_alphanumeric() && !blank)
    });
    counting.next().is_some_and(|c| FORMULA.contains(c))
}

/// `=`, `+`, `-` and `@`: plain, full-width, small, superscript, subscript; and the signs that are taken for a plus or
/// a minus.
const FORMULA: &str = "=+-@＝＋－＠﹦﹢﹣﹫⁼⁺⁻₌₊₋−‐‑‒–—―˗⁃➕➖﬩";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_like_a_formula_however_it_is_written() {
        for sign in FORMULA.chars() {
            for before in [
                "",
                " ",
                "\u{3000}",
                "\u{a0}",
                "\u{feff}",
                "\u{200b}",
                "\u{2060}",
                "\u{202e}",
                "\0",
                "\u{1}",
                "\u{7f}",
                "\u{ad}",
                "\u{3164}",
                "\u{e0001}",
                "\u{fe0f}",
                " \u{feff} ",
            ] {
                let text = format!("{before}{sign}1+1");
                assert_eq!(
                    escape_formula(&text),
                    format!("'{text}"),
                    "{before:?} {sign}"
                );
            }
        }
        for text in ["\t", "\tx", "\rx", "\nx"] {
            assert_eq!(escape_formula(text), format!("'{text}"));
        }
        assert_eq!(escape_formula("a;=1"), "a;'=1");
        assert_eq!(escape_formula("a\n＝1\tb"), "a\n'＝1\tb");
        assert_eq!(escape_formula("\t=1"), "'\t=1");
    }

    #[test]
    fn other_cells_stay_as_they_are() {
        for text in [
            "",
            "a=1",
            "1-2",
            "本店",
            "'x",
            "\"x",
            "(1)",
            "😀",
            "a;b",
            "a\nb",
            "U12-3",
            "2026-10-20T09:00:00Z",
        ] {
            assert_eq!(escape_formula(text), text);
        }
    }
}
