//! What the committer remembers of rows that are there, so that a conversation that goes on costs no look-up.

use std::{collections::HashMap, hash::Hash, time::Duration};

use chrono::{DateTime, Utc};

/// How long something is believed before the database is asked again. Also the finest grain in which the age of a
/// profile is noticed.
const BELIEVED: Duration = Duration::from_secs(3600);

/// Entries in one generation; the memory is bounded by two of them.
const GENERATION: usize = 100_000;

/// A bounded memory. When a generation is full the one before it is forgotten; what is still in use is learned again.
pub struct Known<K, V> {
    young: HashMap<K, (V, DateTime<Utc>)>,
    old: HashMap<K, (V, DateTime<Utc>)>,
}

impl<K: Hash + Eq, V: Copy> Known<K, V> {
    /// An empty memory.
    pub fn new() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// What is remembered of `key`, if it is young enough to be believed.
    pub fn get(&self, key: &K, now: DateTime<Utc>) -> Option<V> {
        let (value, since) = self.young.get(key).or_else(|| self.old.get(key))?;
        (now - *since < chrono::Duration::from_std(BELIEVED).ok()?).then_some(*value)
    }

    /// Remembers `key` as of `now`.
    pub fn put(&mut self, key: K, value: V, now: DateTime<Utc>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, (value, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_ages() {
        let start = DateTime::UNIX_EPOCH;
        let mut known = Known::new();
        for key in 0..5 * GENERATION {
            known.put(key, key, start);
        }
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION);
        let last = 5 * GENERATION - 1;
        assert_eq!(known.get(&last, start), Some(last));
        assert_eq!(known.get(&0, start), None);
        assert_eq!(known.get(&last, start + BELIEVED), None);
    }
}
