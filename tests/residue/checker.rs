//! Tests of the checker itself: it finds planted marks in every form, and finds nothing where nothing was planted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::Path,
};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use crate::{
    marks::marks,
    residue::{Form, Residue, forms},
};

const BORDER: usize = 4 << 20;

/// Bytes without a mark, some of which look like the beginning of a stream.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(vec![], Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn plant(directory: &Path, name: &str, bytes: &[u8]) {
    fs::write(directory.join(name), bytes).unwrap();
}

#[test]
fn every_form_is_found_wherever_it_lies() {
    let marks = marks(40);
    let residue = Residue::new(&marks);
    for (form, written) in forms(&marks[7]) {
        let written = match form {
            Form::Hex => written.to_ascii_uppercase(),
            _ => written,
        };
        let directory = tempfile::tempdir().unwrap();
        let around = |before: usize| [&noise(before)[..], &written, &noise(1000)].concat();
        plant(directory.path(), "alone", &written);
        plant(directory.path(), "within", &around(300));
        plant(
            directory.path(),
            "border",
            &around(BORDER - written.len() / 2),
        );
        plant(directory.path(), "last", &around(BORDER - 1));
        plant(
            directory.path(),
            "zlib",
            &[&noise(77)[..], &zlib(&around(5000)), b"tail"].concat(),
        );
        plant(
            directory.path(),
            "gzip",
            &[&noise(77)[..], &gzip(&around(5000)), b"tail"].concat(),
        );
        // Surrounded by compressible text: incompressible bytes would appear unchanged in the outer stream.
        let packs = [&b"abcd".repeat(999)[..], &written, &b"efgh".repeat(999)].concat();
        let deep = gzip(&[b"head", &zlib(&packs)[..]].concat());
        plant(directory.path(), "deep", &deep);
        let streams = [&noise(BORDER - 100)[..], &zlib(&around(5000))].concat();
        plant(directory.path(), "stream across the border", &streams);

        let report = residue.search(&[directory.path()]).unwrap();
        assert_eq!(report.files, 8);
        let mut found = BTreeMap::new();
        for find in &report.found {
            assert_eq!((find.form, find.mark), (form, 7), "{find}");
            let name = find.path.file_name().unwrap().to_str().unwrap();
            let first = found.entry((name, find.depth)).or_insert(find.offset);
            *first = (*first).min(find.offset);
        }
        // The compressor decides whether the mark is also visible in the compressed inner stream.
        found.remove(&("deep", 1));
        let border = BORDER as u64;
        let half = written.len() as u64 / 2;
        let expected = [
            (("alone", 0), Some(0)),
            (("border", 0), Some(border - half)),
            (("deep", 2), Some(0)),
            (("gzip", 1), Some(77)),
            (("last", 0), Some(border - 1)),
            (("stream across the border", 1), Some(border - 100)),
            (("within", 0), Some(300)),
            (("zlib", 1), Some(77)),
        ];
        assert_eq!(found, BTreeMap::from(expected), "{form:?}");
    }
}

#[test]
fn base64_of_anything_around_a_mark_is_found() {
    use base64::{Engine, engine::general_purpose};
    let marks = marks(3);
    let residue = Residue::new(&marks);
    for before in 0..9 {
        let directory = tempfile::tempdir().unwrap();
        let whole = [&noise(before)[..], marks[1].as_bytes(), &noise(5)].concat();
        plant(
            directory.path(),
            "standard",
            general_purpose::STANDARD.encode(&whole).as_bytes(),
        );
        plant(
            directory.path(),
            "url",
            general_purpose::URL_SAFE_NO_PAD.encode(&whole).as_bytes(),
        );
        let report = residue.search(&[directory.path()]).unwrap();
        assert_eq!(report.found.len(), 4, "two halves in two files, {before}");
        assert_eq!(report.marks(), [1]);
    }
}

#[test]
fn a_mark_that_is_cut_anywhere_is_found() {
    let marks = marks(3);
    let directory = tempfile::tempdir().unwrap();
    for cut in 1..20 {
        let (before, after) = marks[1].as_bytes().split_at(cut);
        let page = [before, b"the next page", after].concat();
        plant(directory.path(), &cut.to_string(), &page);
    }
    let report = Residue::new(&marks).search(&[directory.path()]).unwrap();
    let files: BTreeSet<_> = report.found.iter().map(|find| &find.path).collect();
    assert_eq!(files.len(), 19);
}

#[test]
fn a_mark_in_a_file_name_is_found() {
    let marks = marks(3);
    let directory = tempfile::tempdir().unwrap();
    plant(
        directory.path(),
        &format!("photo-{}.jpg", marks[2].to_lowercase()),
        b"",
    );
    let report = Residue::new(&marks).search(&[directory.path()]).unwrap();
    assert_eq!(report.marks(), [2]);
    assert_eq!(report.found[0].offset, None);
}

#[test]
fn where_nothing_is_planted_nothing_is_found() {
    let marks = marks(1000);
    let directory = tempfile::tempdir().unwrap();
    plant(directory.path(), "noise", &noise(10 << 20));
    plant(directory.path(), "stream", &zlib(&noise(1 << 20)));
    // Less than half of the mark on either side.
    let almost = [&marks[3].as_bytes()[..9], b"-", &marks[3].as_bytes()[11..]].concat();
    plant(directory.path(), "almost", &almost);
    let report = Residue::new(&marks).search(&[directory.path()]).unwrap();
    assert_eq!(report.files, 3);
    assert!(report.bytes > 11 << 20);
    assert!(report.found.is_empty());
}

#[test]
fn a_place_that_is_not_there_is_no_clean_place() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent");
    assert!(Residue::new(&marks(1)).search(&[&absent]).is_err());
}
