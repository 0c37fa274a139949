//! A bounded map whose entries expire (TTL). It holds the ids of rows that the committer knows to exist, so that a
//! message in an active conversation needs no look-up.

use std::{collections::HashMap, hash::Hash, time::Duration};

use chrono::{DateTime, Utc};

/// How long an entry is valid before the committer queries the database again. Only that query checks whether a profile
/// is due, so a profile's age is noticed at this granularity.
const TTL: Duration = Duration::from_secs(3600);

/// Entries in one generation; the memory is bounded by two of them.
const GENERATION_ENTRIES: usize = 100_000;

/// A map of at most two generations of [`GENERATION_ENTRIES`]. When the younger is full, the older is dropped; an entry
/// of it that is still in use is queried and inserted again.
pub struct TtlMap<K, V> {
    young: HashMap<K, (V, DateTime<Utc>)>,
    old: HashMap<K, (V, DateTime<Utc>)>,
}

impl<K: Hash + Eq, V: Copy> TtlMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// The value of `key`, if it is younger than [`TTL`].
    pub fn get(&self, key: &K, now: DateTime<Utc>) -> Option<V> {
        let (value, since) = self.young.get(key).or_else(|| self.old.get(key))?;
        (now - *since < chrono::Duration::from_std(TTL).ok()?).then_some(*value)
    }

    /// Inserts `value` as of `now`.
    pub fn put(&mut self, key: K, value: V, now: DateTime<Utc>) {
        if self.young.len() >= GENERATION_ENTRIES {
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
        let mut known = TtlMap::new();
        for key in 0..5 * GENERATION_ENTRIES {
            known.put(key, key, start);
        }
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION_ENTRIES);
        let last = 5 * GENERATION_ENTRIES - 1;
        assert_eq!(known.get(&last, start), Some(last));
        assert_eq!(known.get(&0, start), None);
        assert_eq!(known.get(&last, start + TTL), None);
    }
}
