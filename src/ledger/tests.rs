use uuid::Uuid;

use super::{
    export::{self, Export, Parts},
    *,
};

mod exports;
mod mutations;
mod trees;

const NOW: i64 = 1_795_000_000_000;

fn signer() -> Signer {
    Signer::from_seed("archive.example.org/ledger", &[7; 32])
}

fn record(number: usize) -> Record {
    Record {
        v: 1,
        kind: Kind::Purged,
        erasure: Uuid::from_u128(number as u128),
        channel: None,
        message_id: Some(format!("{}", 14_353_798_921_116_u64 + number as u64)),
        event: None,
        conversation: None,
        cause: None,
        trigger: None,
        asked_at: None,
        at: NOW + number as i64,
        rows: Some(3),
        objects: None,
        keys: None,
        software: String::from("line-chat-archive 0.1.0"),
    }
}

fn records(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| record(number).to_bytes()).collect()
}

fn leaves(records: &[Vec<u8>]) -> Vec<Hash> {
    records.iter().map(|bytes| tree::leaf_hash(bytes)).collect()
}

fn note_of(leaves: &[Hash]) -> String {
    signer().checkpoint(leaves.len() as u64, &tree::root_of(leaves))
}

/// An export of the records `first..end`.
fn parts(records: &[Vec<u8>], first: usize, end: usize, earlier: Option<&str>) -> Parts {
    let leaves = leaves(records);
    export::parts(&Export {
        first: first as u64,
        records: &records[first..end],
        leaves: &leaves,
        note: &note_of(&leaves),
        vkey: &signer().vkey(),
        checkpointed_at: NOW,
        earlier,
    })
    .unwrap()
}

#[test]
fn a_record_is_compact_json_with_its_fields_in_order_and_comes_back() {
    let bytes = record(1).to_bytes();
    assert_eq!(
        String::from_utf8(bytes.clone()).unwrap(),
        r#"{"v":1,"kind":"purged","erasure":"00000000-0000-0000-0000-000000000001","message_id":"14353798921117","at":1795000000001,"rows":3,"software":"line-chat-archive 0.1.0"}"#
    );
    assert_eq!(Record::parse(&bytes), Some(record(1)));
    let later = Record { v: 2, ..record(1) };
    assert_eq!(Record::parse(&later.to_bytes()), None);
}

#[test]
fn a_note_of_the_go_implementation_opens() {
    // The example of golang.org/x/mod/sumdb/note.
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let note = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n\n\
                \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let verifier = Verifier::from_vkey(vkey).unwrap();
    assert!(verifier.signed(note).unwrap().ends_with("problem is.\n"));
    assert!(matches!(verifier.open(note), Err(Error::Note)));
}

#[test]
fn a_checkpoint_opens_as_it_was_signed_and_no_byte_of_it_can_be_altered() {
    let verifier = Verifier::from_vkey(&signer().vkey()).unwrap();
    let note = signer().checkpoint(1000, &[9; 32]);
    let opened = verifier.open(&note).unwrap();
    assert_eq!(opened.origin, "archive.example.org/ledger");
    assert_eq!((opened.size, opened.root), (1000, [9; 32]));
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            if let Ok(altered) = String::from_utf8(bytes) {
                assert!(verifier.open(&altered).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
    // A witness's signature beside the ledger's own does no harm.
    let witness = Signer::from_seed("witness.example.org", &[8; 32]).checkpoint(1000, &[9; 32]);
    let line = witness.lines().last().unwrap();
    assert_eq!(verifier.open(&format!("{note}{line}\n")).unwrap(), opened);
    let twice = note.lines().last().unwrap();
    assert!(verifier.open(&format!("{note}{twice}\n")).is_err());
}

#[test]
fn a_signed_text_that_is_no_strict_checkpoint_does_not_open() {
    let root = text::encode(&[9; 32]);
    for body in [
        format!("{{}}\n1000\n{root}\nextension\n"),
        format!("{{}}\n01000\n{root}\n"),
        format!("{{}}\n+1000\n{root}\n"),
        format!("{{}}\n\n{root}\n"),
        format!("other\n1000\n{root}\n"),
        format!("{{}}\n1000\n{}\n", root.trim_end_matches('=')),
        format!("{{}}\n1000\n{root}\n\n"),
        String::from("{}\n1000\n"),
    ] {
        let body = body.replace("{}", "archive.example.org/ledger");
        let note = signer().sign(&body);
        let verifier = Verifier::from_vkey(&signer().vkey()).unwrap();
        assert!(matches!(verifier.open(&note), Err(Error::Note)), "{body}");
        let sound = signer().sign(&format!("archive.example.org/ledger\n1000\n{root}\n"));
        assert!(verifier.open(&sound).is_ok());
    }
}

#[test]
fn a_key_that_is_not_exactly_one_is_refused_and_a_signer_shows_none() {
    let vkey = signer().vkey();
    assert!(Verifier::from_vkey(&vkey).is_ok());
    for wrong in [
        vkey.replace("archive", "another"),
        vkey.replace('+', " "),
        format!("{vkey}\n"),
        vkey[..vkey.len() - 4].to_owned(),
        String::new(),
    ] {
        assert!(matches!(Verifier::from_vkey(&wrong), Err(Error::Key)));
    }
    let odd = Signer::from_seed("our archive+1", &[7; 32]);
    let verifier = Verifier::from_vkey(&odd.vkey()).unwrap();
    assert!(verifier.open(&odd.checkpoint(0, &[0; 32])).is_ok());
    assert_eq!(
        format!("{:?}", signer()),
        r#"Signer { name: "archive.example.org/ledger", .. }"#
    );
}
