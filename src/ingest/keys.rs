//! The keys a batch is sealed under, one for each conversation that something is written in.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::Error;
use crate::{
    records::keys,
    seal::{Keyring, Taken, WrappingKey},
};

/// How long a batch waits for keys that are being made, when more conversations are new than there were spare keys.
const PATIENCE: Duration = Duration::from_millis(400);

/// Keys for a batch, by conversation. To be told with [`Keys::settle`] once the batch is committed.
pub struct Keys {
    taken: HashMap<Uuid, Taken>,
}

impl Keys {
    /// Keys for so many items of each conversation, open until the transaction ends.
    pub async fn obtain(
        db: &mut PgConnection,
        keyring: &Keyring,
        items: &HashMap<Uuid, u32>,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let taken = keys::obtain(db, keyring, items, PATIENCE, now).await?;
        Ok(Self {
            taken: taken.ok_or(Error::NoKey)?,
        })
    }

    /// The key of a conversation.
    pub fn of(&self, conversation: Uuid) -> Result<&Arc<WrappingKey>, Error> {
        let taken = self.taken.get(&conversation).ok_or(Error::NoKey)?;
        Ok(&taken.key)
    }

    /// The batch is committed, and with it whose the keys are.
    pub fn settle(&self, keyring: &Keyring) {
        keys::settle(keyring, &self.taken);
    }
}
