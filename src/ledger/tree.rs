//! The Merkle tree of RFC 6962 (and 9162) over SHA-256.
//!
//! Implemented here, because it is short and has published test vectors: the crates `ct-merkle` and `tlog_tiles` bring
//! a second version of `sha2` or require their own form of leaves. Leaves and nodes are hashed with different prefixes
//! (0x00, 0x01), so that a node cannot be passed off as a record.

use sha2::{Digest, Sha256};

use super::Hash;

/// The leaf hash of a record's bytes.
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(bytes)
        .finalize()
        .into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    // Hashed in one piece: a debug build spends more time on several pieces than on the digest.
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    Sha256::digest(bytes).into()
}

/// The right edge of a tree that only grows: enough to add leaves and to compute the root, in O(log n) memory.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    /// Roots of the complete subtrees, one for each bit of `size`, the largest first.
    peaks: Vec<Hash>,
    size: u64,
}

impl Frontier {
    /// The frontier of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut peak = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                peak = node(&left, &peak);
            }
        }
        self.peaks.push(peak);
        self.size += 1;
    }

    /// Number of leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over all leaves so far.
    pub fn root(&self) -> Hash {
        let peaks = self.peaks.iter().rev().copied();
        peaks
            .reduce(|right, left| node(&left, &right))
            .unwrap_or_else(|| Sha256::digest([]).into())
    }
}

/// The root over `leaves`.
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// The hashes of all complete subtrees of a tree, computed once, so that each of many proofs is cheap.
pub struct Levels(Vec<Vec<Hash>>);

impl Levels {
    /// Hashes the tree over `leaves`.
    pub fn new(leaves: &[Hash]) -> Self {
        let mut levels = vec![leaves.to_vec()];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let (pairs, _) = below.as_chunks();
            levels.push(
                pairs
                    .iter()
                    .map(|[left, right]| node(left, right))
                    .collect(),
            );
        }
        Self(levels)
    }

    /// The root over leaves `from..to`, where `from..` begins a subtree of RFC 6962's division.
    fn range(&self, from: usize, to: usize) -> Hash {
        let count = to - from;
        if count.is_power_of_two() {
            let level = count.trailing_zeros();
            return self.0[level as usize][from >> level];
        }
        let middle = from + split(count);
        node(&self.range(from, middle), &self.range(middle, to))
    }

    /// The proof that leaf `index` is in the tree; empty if it is not.
    pub fn inclusion(&self, index: usize) -> Vec<Hash> {
        let (mut from, mut to) = (0, self.0[0].len());
        let mut proof = Vec::new();
        if index >= to {
            return proof;
        }
        while to - from > 1 {
            let middle = from + split(to - from);
            if index < middle {
                proof.push(self.range(middle, to));
                to = middle;
            } else {
                proof.push(self.range(from, middle));
                from = middle;
            }
        }
        proof.reverse();
        proof
    }

    /// The proof that the tree begins with the tree of its first `old` leaves; empty unless `old` is at least 1 and
    /// less than the size of the tree.
    pub fn consistency(&self, old: usize) -> Vec<Hash> {
        let (mut from, mut to) = (0, self.0[0].len());
        let mut proof = Vec::new();
        if old == 0 || old >= to {
            return proof;
        }
        while old < to {
            let middle = from + split(to - from);
            if old <= middle {
                proof.push(self.range(middle, to));
                to = middle;
            } else {
                proof.push(self.range(from, middle));
                from = middle;
            }
        }
        // If the old tree is one complete subtree, the verifier already has its root.
        if from > 0 {
            proof.push(self.range(from, to));
        }
        proof.reverse();
        proof
    }
}

/// Number of leaves left of the root: the largest power of two below `count`, which must be 2 or more.
fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

/// The proof that leaf `index` is in the tree over all of `leaves`; empty if there is no such leaf.
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Vec<Hash> {
    Levels::new(leaves).inclusion(index)
}

/// The proof that the tree over all of `leaves` begins with the tree over its first `old`; empty as for
/// [`Levels::consistency`].
pub fn consistency_proof(leaves: &[Hash], old: usize) -> Vec<Hash> {
    Levels::new(leaves).consistency(old)
}

/// True if `proof` shows that `leaf` is number `index` of the `size` leaves under `root` (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// True if `proof` shows that the tree of `new_size` leaves begins with the one of `old_size` (RFC 9162, 2.1.4.2).
pub fn verify_consistency(
    old_size: u64,
    new_size: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> bool {
    if old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        // Every tree begins with the empty one.
        return proof.is_empty() && *old_root == root_of(&[]);
    }
    let (mut at, mut last) = (old_size - 1, new_size - 1);
    let shared = at.trailing_ones();
    at >>= shared;
    last >>= shared;
    let (first, rest) = match proof {
        [] => return false,
        _ if old_size.is_power_of_two() => (old_root, proof),
        [first, rest @ ..] => (first, rest),
    };
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old = node(sibling, &old);
            new = node(sibling, &new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new = node(&new, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *new_root
}
