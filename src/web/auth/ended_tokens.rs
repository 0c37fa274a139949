//! Tokens of sessions that have ended. A token proves that this archive made it, so its holder could cause a query for
//! each request for as long as they like: the tokens that were looked up in vain are refused without one.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The most tokens that are remembered; beyond that, all are forgotten and looked up once more.
const MOST: usize = 10_000;

/// Hashes of tokens whose sessions have ended. A session that has ended never begins again.
#[derive(Default)]
pub(in crate::web) struct EndedTokens(Mutex<HashSet<[u8; 32]>>);

impl EndedTokens {
    pub(in crate::web) fn contains(&self, token_hash: &[u8; 32]) -> bool {
        self.lock().contains(token_hash)
    }

    pub(in crate::web) fn add(&self, token_hash: [u8; 32]) {
        let mut ended = self.lock();
        if ended.len() >= MOST {
            ended.clear();
        }
        ended.insert(token_hash);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<[u8; 32]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
