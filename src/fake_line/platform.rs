//! The state and its lock, as handles and the server share them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::world::World;

/// The state that handles and the server share.
pub(super) struct Platform {
    pub(super) world: Mutex<World>,
    pub(super) sender: reqwest::Client,
    pub(super) url: String,
}

impl Platform {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
