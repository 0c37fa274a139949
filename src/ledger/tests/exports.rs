use std::{fs, path::Path};

use super::*;
use crate::ledger::export::{verify, verify_since, write};

fn write_to(dir: &Path, records: &[Vec<u8>], first: usize, end: usize, earlier: Option<&str>) {
    let leaves = leaves(records);
    let export = Export {
        first: first as u64,
        records: &records[first..end],
        leaves: &leaves,
        note: &note_of(&leaves),
        vkey: &signer().vkey(),
        checkpointed_at: NOW,
        earlier,
    };
    write(dir, &export).unwrap();
}

#[test]
fn an_export_is_sound_for_a_day_and_stale_after_26_hours() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("new");
    write_to(&dir, &records(20), 0, 20, None);
    let key = signer().vkey();
    let sound = Verdict::Sound {
        size: 20,
        records: 20,
        extends: None,
    };
    assert_eq!(verify(&dir, None, NOW), sound);
    assert_eq!(verify(&dir, Some(&key), NOW + 26 * 3_600_000), sound);
    assert!(matches!(
        verify(&dir, Some(&key), NOW + 26 * 3_600_000 + 1),
        Verdict::Stale {
            size: 20,
            records: 20,
            extends: None,
            checkpointed_at: NOW
        }
    ));
    let other = Signer::from_seed("archive.example.org/ledger", &[8; 32]).vkey();
    assert!(matches!(
        verify(&dir, Some(&other), NOW),
        Verdict::Tampered { .. }
    ));
}

#[test]
fn no_byte_of_an_export_can_be_altered_but_the_unsigned_time() {
    let all = records(6);
    let earlier = note_of(&leaves(&all[..3]));
    for (first, end) in [(0, 6), (2, 5)] {
        let dir = tempfile::tempdir().unwrap();
        write_to(dir.path(), &all, first, end, Some(&earlier));
        let sound = verify(dir.path(), None, NOW);
        assert!(matches!(sound, Verdict::Sound { .. }));
        for file in fs::read_dir(dir.path()).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            for at in 0..bytes.len() {
                let mut altered = bytes.clone();
                altered[at] ^= 1;
                fs::write(&path, &altered).unwrap();
                let verdict = verify(dir.path(), None, NOW);
                let json = path.ends_with("proofs.json");
                let time = json && bytes[at].is_ascii_digit() && {
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    let from = text.find(&NOW.to_string()).unwrap();
                    (from..from + 13).contains(&at)
                };
                assert!(time || verdict != sound, "{} at {at}", path.display());
            }
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            assert_ne!(verify(dir.path(), None, NOW), sound);
            fs::remove_file(&path).unwrap();
            let gone = verify(dir.path(), None, NOW);
            assert!(matches!(gone, Verdict::Unreadable(_)));
            // A file that is there and cannot be read is not called missing.
            fs::create_dir(&path).unwrap();
            let unread = verify(dir.path(), None, NOW);
            assert!(matches!(unread, Verdict::Unread { file, .. } if path.ends_with(file)));
            fs::remove_dir(&path).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(verify(dir.path(), None, NOW), sound);
    }
}

#[test]
fn a_period_shows_its_records_and_that_the_ledger_only_grew() {
    let all = records(100);
    let kept = note_of(&leaves(&all[..37]));
    let dir = tempfile::tempdir().unwrap();
    write_to(dir.path(), &all, 50, 80, Some(&kept));
    let key = signer().vkey();
    let sound = Verdict::Sound {
        size: 100,
        records: 30,
        extends: Some(37),
    };
    assert_eq!(verify_since(dir.path(), Some(&key), &kept, NOW), sound);
    let unknown = note_of(&leaves(&all[..38]));
    assert!(matches!(
        verify_since(dir.path(), Some(&key), &unknown, NOW),
        Verdict::Unreadable(_)
    ));
    let mut forked = all[..37].to_vec();
    forked[5] = record(500).to_bytes();
    let forked = note_of(&leaves(&forked));
    assert!(matches!(
        verify_since(dir.path(), Some(&key), &forked, NOW),
        Verdict::Tampered { .. }
    ));
    let sound = parts(&all, 50, 80, None);
    let mut altered = sound.clone();
    altered.records[7][20] ^= 1;
    altered.leaves = leaves(&altered.records);
    assert!(matches!(
        export::check(&altered, None, None, NOW),
        Verdict::Tampered { seq: Some(57), .. }
    ));
}

#[test]
fn an_empty_ledger_can_be_exported() {
    let dir = tempfile::tempdir().unwrap();
    write_to(dir.path(), &[], 0, 0, None);
    let sound = Verdict::Sound {
        size: 0,
        records: 0,
        extends: None,
    };
    assert_eq!(verify(dir.path(), None, NOW), sound);
}

#[test]
fn what_would_not_be_sound_is_not_written() {
    let all = records(10);
    let dir = tempfile::tempdir().unwrap();
    let leaves = leaves(&all);
    let export = Export {
        first: 0,
        records: &all,
        leaves: &leaves,
        note: &note_of(&leaves[..9]),
        vkey: &signer().vkey(),
        checkpointed_at: NOW,
        earlier: None,
    };
    assert!(matches!(write(dir.path(), &export), Err(Error::Export(_))));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_table_holds_no_formula() {
    let formulas = ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", "a=1"];
    let all: Vec<Vec<u8>> = formulas
        .iter()
        .map(|text| Record {
            trigger: Some((*text).to_owned()),
            ..record(1)
        })
        .map(|record| record.to_bytes())
        .collect();
    let dir = tempfile::tempdir().unwrap();
    write_to(dir.path(), &all, 0, all.len(), None);
    let mut table = csv::Reader::from_path(dir.path().join("records.csv")).unwrap();
    let cells: Vec<String> = table
        .records()
        .map(|row| row.unwrap()[9].to_owned())
        .collect();
    let escape_formula: Vec<String> = formulas
        .iter()
        .map(|text| match *text {
            "a=1" => String::from("a=1"),
            text => format!("'{text}"),
        })
        .collect();
    assert_eq!(cells, escape_formula);
}

#[test]
fn a_receipt_shows_one_record_and_nothing_of_it_can_be_altered() {
    let all = records(11);
    let leaves = leaves(&all);
    let (note, key) = (note_of(&leaves), signer().vkey());
    let proof = tree::inclusion_proof(&leaves, 4);
    let receipt = receipt::write(&all[4], 4, 11, &proof, &note, &key);
    let sound = Verdict::Sound {
        size: 11,
        records: 1,
        extends: None,
    };
    assert_eq!(receipt::verify(&receipt, Some(&key)), sound);
    for at in 0..receipt.len() {
        let mut bytes = receipt.clone().into_bytes();
        if bytes[at].is_ascii_whitespace() {
            continue;
        }
        bytes[at] ^= 1;
        let altered = String::from_utf8(bytes).unwrap_or_default();
        assert_ne!(receipt::verify(&altered, Some(&key)), sound, "at {at}");
    }
    let other = Signer::from_seed("archive.example.org/ledger", &[8; 32]);
    assert!(matches!(
        receipt::verify(&receipt, Some(&other.vkey())),
        Verdict::Tampered { seq: None, .. }
    ));
}
