//! Eight kinds of later changes to a ledger of 1,000 records, each tried at every position.

use super::*;

const COUNT: usize = 1000;

struct Scene {
    records: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    /// The newest checkpoint, as a third party kept it.
    kept: String,
    vkey: String,
    sound: Parts,
}

fn scene() -> Scene {
    let records = records(COUNT);
    let leaves = leaves(&records);
    Scene {
        kept: note_of(&leaves),
        vkey: signer().vkey(),
        sound: parts(&records, 0, COUNT, None),
        records,
        leaves,
    }
}

fn seq_of(verdict: Verdict) -> Option<u64> {
    match verdict {
        Verdict::Tampered { seq, .. } => seq,
        other => panic!("not detected: {other:?}"),
    }
}

impl Scene {
    /// The leaves of `records`. Hashes only records that differ from the scene's, because hashing 8,000 whole ledgers
    /// is slow.
    fn leaves_of(&self, records: &[Vec<u8>]) -> Vec<Hash> {
        let same = |(mine, other): &(&Vec<u8>, &Vec<u8>)| mine == other;
        let head = self.records.iter().zip(records).take_while(same).count();
        let (mine, other) = (&self.records[head..], &records[head..]);
        let ends = mine.iter().rev().zip(other.iter().rev());
        let tail = ends.take_while(same).count();
        let mut all = self.leaves[..head].to_vec();
        all.extend(leaves(&other[..other.len() - tail]));
        all.extend(&self.leaves[COUNT - tail..]);
        all
    }

    /// Checks as a recipient does who has the trusted key but no checkpoint.
    fn check(&self, parts: &Parts) -> Verdict {
        export::check(parts, Some(&self.vkey), None, NOW)
    }

    /// Applies `change` at each position. With the old leaves the check names the position; with matching leaves it
    /// still detects the change.
    fn each(&self, change: impl Fn(&mut Vec<Vec<u8>>, usize), positions: usize) {
        let sound = Verdict::Sound {
            size: COUNT as u64,
            records: COUNT as u64,
            extends: None,
        };
        assert_eq!(self.check(&self.sound), sound);
        let mut parts = self.sound.clone();
        for position in 0..positions {
            change(&mut parts.records, position);
            assert_eq!(seq_of(self.check(&parts)), Some(position as u64));
            parts.leaves = self.leaves_of(&parts.records);
            assert_eq!(seq_of(self.check(&parts)), None, "at {position}");
            parts.records.clone_from(&self.records);
            parts.leaves.clone_from(&self.leaves);
        }
        assert_eq!(self.check(&parts), sound);
    }
}

#[test]
fn a_flipped_bit_is_found_and_named() {
    let flip = |records: &mut Vec<Vec<u8>>, at: usize| {
        let byte = at * 7 % records[at].len();
        records[at][byte] ^= 1 << (at % 8);
    };
    scene().each(flip, COUNT);
}

#[test]
fn a_deleted_record_is_found_and_named() {
    scene().each(|records, at| drop(records.remove(at)), COUNT);
}

#[test]
fn a_deleted_tail_is_found_and_named() {
    scene().each(|records, at| records.truncate(at), COUNT);
}

#[test]
fn an_inserted_record_is_found_and_named() {
    scene().each(
        |records, at| records.insert(at, record(COUNT + at).to_bytes()),
        COUNT + 1,
    );
}

#[test]
fn swapped_neighbours_are_found_and_named() {
    scene().each(|records, at| records.swap(at, at + 1), COUNT - 1);
}

#[test]
fn an_older_checkpoint_is_found_out() {
    let scene = scene();
    let mut frontier = tree::Frontier::new();
    for size in 0..COUNT {
        let mut parts = scene.sound.clone();
        parts.note = signer().checkpoint(size as u64, &frontier.root());
        seq_of(scene.check(&parts));
        // With a matching proofs.json there are too many records.
        parts.proofs.size = size as u64;
        seq_of(scene.check(&parts));
        // With matching records too, it equals an earlier state of the ledger: only a later checkpoint reveals it.
        parts.records.truncate(size);
        parts.leaves.truncate(size);
        let verdict = export::check(&parts, Some(&scene.vkey), Some(&scene.kept), NOW);
        seq_of(verdict);
        frontier.push(scene.leaves[size]);
    }
}

#[test]
fn another_key_is_found_out() {
    let scene = scene();
    let root = tree::root_of(&scene.leaves);
    for position in 0..COUNT {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&position.to_be_bytes());
        let other = Signer::from_seed("archive.example.org/ledger", &seed);
        let mut parts = scene.sound.clone();
        parts.note = other.checkpoint(COUNT as u64, &root);
        // The key inside the export is enough to detect this; no trusted key is needed.
        seq_of(export::check(&parts, None, None, NOW));
        parts.key = other.vkey();
        seq_of(scene.check(&parts));
    }
}

#[test]
fn a_fork_that_the_right_key_signed_is_found_by_who_kept_a_checkpoint() {
    let scene = scene();
    for position in 0..COUNT {
        let mut other = scene.records.clone();
        other[position] = record(2 * COUNT + position).to_bytes();
        let mut other_leaves = scene.leaves_of(&other);
        other.push(record(COUNT).to_bytes());
        other_leaves.push(tree::leaf_hash(&other[COUNT]));
        let mut parts = scene.sound.clone();
        parts.note = note_of(&other_leaves);
        parts.proofs.size = other.len() as u64;
        (parts.records, parts.leaves) = (other, other_leaves);
        if position == 0 {
            assert!(matches!(scene.check(&parts), Verdict::Sound { .. }));
        }
        let verdict = export::check(&parts, Some(&scene.vkey), Some(&scene.kept), NOW);
        seq_of(verdict);
    }
    let records = records(COUNT + 1);
    let grown = parts(&records, 0, COUNT + 1, None);
    let verdict = export::check(&grown, Some(&scene.vkey), Some(&scene.kept), NOW);
    assert!(matches!(verdict, Verdict::Sound { size: 1001, .. }));
}
