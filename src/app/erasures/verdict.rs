//! The message and the exit code of `erasures verify` for each verdict.

use chrono::DateTime;

use crate::{app::counted::counted, ledger::Verdict};

/// The line that is printed for a verdict, and the exit code.
pub(super) fn in_words(verdict: Verdict, is_receipt: bool) -> (String, u8) {
    match verdict {
        Verdict::Sound { size, .. } if is_receipt => (
            format!(
                "sound: the record in this receipt is in the signed ledger of {}",
                counted(size, "record")
            ),
            0,
        ),
        Verdict::Sound {
            size,
            records,
            extends,
        } => (format!("sound: {}", checked(size, records, extends)), 0),
        Verdict::Tampered { seq, what } => {
            let which = seq.map_or(String::new(), |seq| format!(" record {seq}:"));
            (format!("TAMPERED:{which} {what}"), 1)
        }
        Verdict::Unreadable(what) => (format!("unreadable: {what}"), 2),
        Verdict::Unread { file, why } => (format!("unreadable: {file} cannot be read: {why}"), 2),
        Verdict::Stale {
            size,
            records,
            extends,
            checkpointed_at,
        } => {
            let at = DateTime::from_timestamp_millis(checkpointed_at).unwrap_or_default();
            (
                format!(
                    "stale: {}, but the last signature is of {at}; what came later may be missing",
                    checked(size, records, extends)
                ),
                3,
            )
        }
    }
}

/// Says how many of the ledger's `size` records were checked, and the size of the earlier checkpoint that it extends.
/// An export of a period has fewer records than the ledger.
fn checked(size: u64, records: u64, extends: Option<u64>) -> String {
    let checked = match records {
        all if all == size => format!("{all} of {size} records are as they were signed"),
        0 => format!(
            "the signature is valid; the ledger has {}, none of which is in this export",
            counted(size, "record")
        ),
        some => format!(
            "the records in this export ({some} of the ledger's {size}) are as they were signed"
        ),
    };
    match extends {
        None => checked,
        Some(earlier) => format!(
            "{checked}, and the ledger extends the checkpoint of {}",
            counted(earlier, "record")
        ),
    }
}

/// The line about records that no checkpoint covers yet; `None` if there are none.
pub(super) fn pending_message(pending: i64) -> Option<String> {
    let wait = match pending {
        0 => return None,
        1 => "waits for its signature and is",
        _ => "wait for their signature and are",
    };
    Some(format!(
        "{} {wait} not in the verdict. A running service signs within a minute.",
        counted(pending, "record")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_does_not_blame_records_that_were_not_shown() {
        let sound = |size, records| Verdict::Sound {
            size,
            records,
            extends: None,
        };
        for (verdict, is_receipt, words) in [
            (
                sound(3, 1),
                true,
                "sound: the record in this receipt is in the signed ledger of 3 records",
            ),
            (
                sound(1, 1),
                true,
                "sound: the record in this receipt is in the signed ledger of 1 record",
            ),
            (
                sound(8, 8),
                false,
                "sound: 8 of 8 records are as they were signed",
            ),
            (
                sound(8, 2),
                false,
                "sound: the records in this export (2 of the ledger's 8) are as they were signed",
            ),
            (
                sound(8, 0),
                false,
                "sound: the signature is valid; the ledger has 8 records, none of which is in this export",
            ),
        ] {
            assert_eq!(in_words(verdict, is_receipt), (words.to_owned(), 0));
        }
        let extending = Verdict::Sound {
            size: 3,
            records: 3,
            extends: Some(2),
        };
        let words = "sound: 3 of 3 records are as they were signed, and the ledger extends the checkpoint of 2 records";
        assert_eq!(in_words(extending, false), (words.to_owned(), 0));
    }

    #[test]
    fn records_that_wait_for_their_signature_are_counted() {
        assert_eq!(pending_message(0), None);
        let message = |pending| pending_message(pending).unwrap();
        assert!(message(1).starts_with("1 record waits for its signature"));
        assert!(message(2).starts_with("2 records wait for their signature"));
    }

    #[test]
    fn a_file_that_may_not_be_read_is_not_called_missing() {
        let verdict = Verdict::Unread {
            file: "proofs.json",
            why: std::io::ErrorKind::PermissionDenied,
        };
        let (words, code) = in_words(verdict, false);
        assert_eq!(
            words,
            "unreadable: proofs.json cannot be read: permission denied"
        );
        assert_eq!(code, 2);
    }
}
