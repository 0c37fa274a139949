//! The wrapping keys that a batch is sealed under: one for each conversation that it writes to.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::item::Error;
use crate::{
    records::wrapping,
    seal::{Keyring, Taken, WrappingKey},
};

/// How long a batch waits for new keys when it has more new conversations than the keyring has spare keys.
const KEY_TIMEOUT: Duration = Duration::from_millis(400);

/// Keys for a batch, by conversation. The caller calls [`Keys::settle`] once the batch is committed.
pub struct Keys {
    taken: HashMap<Uuid, Taken>,
}

impl Keys {
    /// Takes keys for this number of items in each conversation; they stay open until the transaction ends.
    pub async fn obtain(
        db: &mut PgConnection,
        keyring: &Keyring,
        items: &HashMap<Uuid, u32>,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let taken = wrapping::obtain(db, keyring, items, KEY_TIMEOUT, now).await?;
        Ok(Self {
            taken: taken.ok_or(Error::NoKey)?,
        })
    }

    /// The key of a conversation; [`Error::NoKey`] if the batch obtained none for it.
    pub fn of(&self, conversation: Uuid) -> Result<&Arc<WrappingKey>, Error> {
        let taken = self.taken.get(&conversation).ok_or(Error::NoKey)?;
        Ok(&taken.key)
    }

    /// Tells the keyring that the batch is committed, and with it the conversation of each key.
    pub fn settle(&self, keyring: &Keyring) {
        wrapping::settle(keyring, &self.taken);
    }
}
