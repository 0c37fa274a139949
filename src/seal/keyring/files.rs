//! The names of the files that hold keys, for messages.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::Keyring;

/// The most names of files in one line of the log: if a disk is damaged, thousands of keys may be.
const MAX_NAMES: usize = 3;

/// The files, or objects, that hold some keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFiles {
    /// Their number.
    pub files: usize,
    /// Up to [`MAX_NAMES`] of their names, and the number of the others.
    pub names: String,
}

impl Keyring {
    /// The name of the file or object that holds a key, for messages.
    pub fn file_of(&self, id: Uuid) -> String {
        self.0.key_store.name(id)
    }

    /// The files or objects that hold these keys, for one line of the log. `None`: there is no key.
    pub fn files_of(&self, ids: &[Uuid]) -> Option<KeyFiles> {
        let files: BTreeSet<String> = ids.iter().map(|id| self.file_of(*id)).collect();
        (!files.is_empty()).then(|| KeyFiles::new(&files))
    }
}

impl KeyFiles {
    fn new(all: &BTreeSet<String>) -> Self {
        let names: Vec<&str> = all.iter().take(MAX_NAMES).map(String::as_str).collect();
        let names = names.join(", ");
        Self {
            files: all.len(),
            names: match all.len().saturating_sub(MAX_NAMES) {
                0 => names,
                others => format!("{names} and {others} more"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_names_stand_for_all() {
        let named = |n: usize| KeyFiles::new(&(0..n).map(|n| format!("k{n}")).collect());
        assert_eq!(named(1).names, "k0");
        assert_eq!(named(3).names, "k0, k1, k2");
        let many = named(1024);
        assert_eq!(
            (many.files, &*many.names),
            (1024, "k0, k1, k10 and 1021 more")
        );
    }
}
