use super::*;
use crate::ledger::tree::*;

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The leaves of certificate-transparency's reference tests.
fn reference() -> Vec<Hash> {
    [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    .iter()
    .map(|leaf| leaf_hash(&hex(leaf)))
    .collect()
}

/// RFC 6962, 2.1, word for word.
fn by_definition(leaves: &[Hash]) -> Hash {
    use sha2::{Digest, Sha256};
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            let mut bytes = vec![1];
            bytes.extend(by_definition(&leaves[..k]));
            bytes.extend(by_definition(&leaves[k..]));
            Sha256::digest(&bytes).into()
        }
    }
}

fn many(count: usize) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

#[test]
fn roots_are_those_of_the_reference_implementation() {
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(root_of(&reference()[..size]).to_vec(), hex(root), "{size}");
    }
}

#[test]
fn proofs_are_those_of_the_reference_implementation() {
    let leaves = reference();
    let expect = |proof: Vec<Hash>, expected: &[&str]| {
        let expected: Vec<Vec<u8>> = expected.iter().map(|hash| hex(hash)).collect();
        let proof: Vec<Vec<u8>> = proof.iter().map(|hash| hash.to_vec()).collect();
        assert_eq!(proof, expected);
    };
    expect(
        inclusion_proof(&leaves, 0),
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    );
    expect(
        consistency_proof(&leaves, 6),
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    );
}

#[test]
fn a_frontier_has_the_root_of_the_definition_at_every_size() {
    let leaves = many(64);
    let mut frontier = Frontier::new();
    for size in 0..=leaves.len() {
        assert_eq!(frontier.size(), size as u64);
        assert_eq!(frontier.root(), by_definition(&leaves[..size]), "{size}");
        if let Some(leaf) = leaves.get(size) {
            frontier.push(*leaf);
        }
    }
}

#[test]
fn every_leaf_is_proven_in_its_place_alone_at_every_size() {
    let all = many(64);
    for size in 1..=all.len() {
        let leaves = &all[..size];
        let root = root_of(leaves);
        for index in 0..size {
            let proof = inclusion_proof(leaves, index);
            let holds = |leaf: &Hash, index: usize, proof: &[Hash]| {
                verify_inclusion(leaf, index as u64, size as u64, proof, &root)
            };
            assert!(holds(&leaves[index], index, &proof), "{index} of {size}");
            for other in (0..=size).filter(|other| *other != index) {
                assert!(!holds(&leaves[index], other, &proof));
                let leaf = all.get(other).unwrap_or(&root);
                assert!(!holds(leaf, index, &proof) || *leaf == leaves[index]);
            }
            let mut longer = proof.clone();
            longer.push(root);
            assert!(!holds(&leaves[index], index, &longer));
            for at in 0..proof.len() {
                let mut altered = proof.clone();
                altered[at][0] ^= 1;
                assert!(!holds(&leaves[index], index, &altered));
                assert!(!holds(&leaves[index], index, &proof[..at]));
            }
        }
        assert!(inclusion_proof(leaves, size).is_empty());
    }
}

#[test]
fn growth_is_proven_between_all_sizes_and_nothing_else_is() {
    let all = many(64);
    let roots: Vec<Hash> = (0..=64).map(|size| root_of(&all[..size])).collect();
    for new in 0..=64 {
        for old in 0..=new {
            let proof = consistency_proof(&all[..new], old);
            let holds = |old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
                verify_consistency(old as u64, new as u64, old_root, new_root, proof)
            };
            assert!(holds(&roots[old], &roots[new], &proof), "{old} to {new}");
            let mut other = roots[old];
            other[31] ^= 1;
            assert!(!holds(&other, &roots[new], &proof));
            let mut longer = proof.clone();
            longer.push(other);
            assert!(!holds(&roots[old], &roots[new], &longer));
            if old == 0 {
                // Every tree begins with the empty tree, and the proof of that is empty.
                continue;
            }
            assert!(!holds(&roots[old], &other, &proof));
            for at in 0..proof.len() {
                let mut altered = proof.clone();
                altered[at][0] ^= 1;
                assert!(!holds(&roots[old], &roots[new], &altered));
                assert!(!holds(&roots[old], &roots[new], &proof[..at]));
            }
        }
    }
    assert!(!verify_consistency(2, 1, &roots[2], &roots[1], &[]));
}
