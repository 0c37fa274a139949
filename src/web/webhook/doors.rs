//! The channels' secrets in memory: a webhook is verified without asking the database.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    records::channels::{self, Door},
    seal::Keyring,
};

/// A channel that was added, rotated or removed is noticed within this time.
const REFRESH: Duration = Duration::from_secs(1);

/// All channels by slug. Clones share.
#[derive(Clone)]
pub struct Doors {
    keyring: Keyring,
    doors: Arc<RwLock<HashMap<String, Arc<Door>>>>,
}

impl Doors {
    /// Reads the channels.
    ///
    /// # Errors
    /// The database's.
    pub async fn load(pool: &PgPool, keyring: Keyring) -> sqlx::Result<Self> {
        let doors = Self {
            keyring,
            doors: Arc::default(),
        };
        doors.refresh(pool).await?;
        Ok(doors)
    }

    /// Reads the channels anew.
    ///
    /// # Errors
    /// The database's; the channels stay as they were known.
    pub async fn refresh(&self, pool: &PgPool) -> sqlx::Result<()> {
        let mut db = pool.acquire().await?;
        let doors = channels::doors(&mut db, &self.keyring).await?;
        let doors = doors
            .into_iter()
            .map(|door| (door.slug.clone(), Arc::new(door)));
        *self
            .doors
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = doors.collect();
        Ok(())
    }

    /// Keeps reading them until cancelled.
    pub async fn keep_fresh(self, pool: PgPool, cancel: CancellationToken) {
        while cancel
            .run_until_cancelled(tokio::time::sleep(REFRESH))
            .await
            .is_some()
        {
            if self.refresh(&pool).await.is_err() {
                tracing::warn!("channels could not be read; they stay as known");
            }
        }
    }

    pub(super) fn find(&self, slug: &str) -> Option<Arc<Door>> {
        let doors = self
            .doors
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        doors.get(slug).cloned()
    }
}
