//! Keeps the channels' secrets in memory, so that a webhook is verified without a query.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    records::channels::{self, ChannelSecrets},
    seal::Keyring,
    watchdog::watch,
};

/// Interval at which the channels are read: the service notices a new, rotated or removed channel within this time.
const REFRESH: Duration = Duration::from_secs(1);

/// How long the database may be silent while the channels are read.
const SILENCE: Duration = Duration::from_secs(10);

/// All channels with their secrets, by slug. Clones share the map.
#[derive(Clone)]
pub struct ChannelRegistry {
    keyring: Keyring,
    channels: Arc<RwLock<HashMap<String, Arc<ChannelSecrets>>>>,
}

impl ChannelRegistry {
    /// Reads all channels from the database.
    ///
    /// # Errors
    /// The database's error if the channels cannot be read.
    pub async fn load(pool: &PgPool, keyring: Keyring) -> sqlx::Result<Self> {
        let channels = Self {
            keyring,
            channels: Arc::default(),
        };
        channels.refresh(pool).await?;
        Ok(channels)
    }

    /// Reads all channels again.
    ///
    /// # Errors
    /// The database's error if the channels cannot be read; the channels of the last read stay.
    pub async fn refresh(&self, pool: &PgPool) -> sqlx::Result<()> {
        let mut db = pool.acquire().await?;
        let channels = channels::all_secrets(&mut db, &self.keyring).await?;
        let channels = channels
            .into_iter()
            .map(|channel| (channel.slug.clone(), Arc::new(channel)));
        *self
            .channels
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = channels.collect();
        Ok(())
    }

    /// Reads all channels again each second until cancelled. If that fails, the channels of the last read stay.
    pub async fn keep_fresh(self, pool: PgPool, cancel: CancellationToken) {
        while cancel
            .run_until_cancelled(tokio::time::sleep(REFRESH))
            .await
            .is_some()
        {
            if !matches!(watch(SILENCE, self.refresh(&pool)).await, Ok(Ok(()))) {
                tracing::warn!("could not read the channels; the last known channels stay in use");
            }
        }
    }

    pub(super) fn find(&self, slug: &str) -> Option<Arc<ChannelSecrets>> {
        let channels = self
            .channels
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        channels.get(slug).cloned()
    }
}
