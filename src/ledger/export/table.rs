//! `records.csv`: the records for a spreadsheet, which must not take a cell for a formula.

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

/// The table of `records`, the first of which is number `first`. `None` if one is of a form this version does not know.
pub fn of(first: u64, records: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table
        .write_record(std::iter::once("seq").chain(COLUMNS))
        .ok()?;
    for (seq, bytes) in (first..).zip(records) {
        let record = serde_json::to_value(Record::parse(bytes)?).ok()?;
        let cells = COLUMNS.iter().map(|column| match &record[column] {
            Value::Null => String::new(),
            Value::String(text) => harmless(text),
            other => other.to_string(),
        });
        table
            .write_record(std::iter::once(seq.to_string()).chain(cells))
            .ok()?;
    }
    table.into_inner().ok()
}

/// A text that no spreadsheet runs: what begins like a formula gets a `'` before it (OWASP, CSV injection).
pub fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}
