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

/// A key may have been closed since it was last used; its successor too, but hardly once more.
const TRIES: usize = 3;

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
        let mut taken = HashMap::new();
        for _ in 0..TRIES {
            let (mut new, mut subjects) = (vec![], vec![]);
            for (subject, items) in items {
                if taken.contains_key(subject) {
                    continue;
                }
                let one = match keyring.take(*subject, *items) {
                    Some(one) => one,
                    // Nobody is kept waiting for what does not come.
                    None if keyring.is_failing() => return Err(Error::NoKey),
                    None => {
                        let one = keyring.take_soon(*subject, *items);
                        let one = tokio::time::timeout(PATIENCE, one).await;
                        one.map_err(|_| Error::NoKey)?
                    }
                };
                if !one.claimed {
                    new.push(one.key.id());
                    subjects.push(*subject);
                }
                taken.insert(*subject, one);
            }
            if !new.is_empty() {
                let ours = keys::claim(db, &new, &subjects, now).await?;
                for (id, subject) in new.iter().zip(&subjects) {
                    if !ours.contains(id) {
                        keyring.forget(*id);
                        taken.remove(subject);
                    }
                }
            }
            let ids: Vec<Uuid> = taken.values().map(|one| one.key.id()).collect();
            let open = keys::open(db, &ids).await?;
            taken.retain(|_, one| {
                let is_open = open.contains(&one.key.id());
                if !is_open {
                    keyring.forget(one.key.id());
                }
                is_open
            });
            if taken.len() == items.len() {
                return Ok(Self { taken });
            }
        }
        Err(Error::NoKey)
    }

    /// The key of a conversation.
    pub fn of(&self, conversation: Uuid) -> Result<&Arc<WrappingKey>, Error> {
        let taken = self.taken.get(&conversation).ok_or(Error::NoKey)?;
        Ok(&taken.key)
    }

    /// The batch is committed, and with it whose the keys are.
    pub fn settle(&self, keyring: &Keyring) {
        for (subject, one) in self.taken.iter().filter(|(_, one)| !one.claimed) {
            keyring.claimed(*subject, one.key.id());
        }
    }
}
