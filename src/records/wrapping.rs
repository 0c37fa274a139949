//! Gives subjects wrapping keys for the documents that a transaction is about to write.

use std::{collections::HashMap, io, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use tokio::time::timeout;
use uuid::Uuid;

use super::keys::{claim, open};
use crate::seal::{Keyring, Taken};

/// How long [`key_for`] waits for keys that are being made.
const KEY_TIMEOUT: Duration = Duration::from_secs(2);

/// A key may have been closed since it was last used, and so may its successor, but hardly a third one.
const TRIES: usize = 3;

/// Gives each subject a wrapping key for this many more documents, open until the caller's transaction ends. After the
/// commit the caller tells the keyring with [`settle`]. `None`: no spare key was left and none was made within
/// `patience`, or each key that was tried had been closed.
pub async fn obtain(
    conn: &mut PgConnection,
    keyring: &Keyring,
    items: &HashMap<Uuid, u32>,
    patience: Duration,
    now: DateTime<Utc>,
) -> Result<Option<HashMap<Uuid, Taken>>> {
    let mut taken: HashMap<Uuid, Taken> = HashMap::new();
    if items.is_empty() {
        return Ok(Some(taken));
    }
    for _ in 0..TRIES {
        let (mut new, mut subjects) = (vec![], vec![]);
        for (subject, items) in items {
            if taken.contains_key(subject) {
                continue;
            }
            let one = match keyring.take(*subject, *items) {
                Some(one) => one,
                // A caller does not wait for keys that cannot be made.
                None if keyring.is_failing() => return Ok(None),
                None => match timeout(patience, keyring.take_soon(*subject, *items)).await {
                    Ok(one) => one,
                    Err(_) => return Ok(None),
                },
            };
            if !one.claimed {
                new.push(one.key.id());
                subjects.push(*subject);
            }
            taken.insert(*subject, one);
        }
        if !new.is_empty() {
            let ours = claim(conn, &new, &subjects, now).await?;
            for (id, subject) in new.iter().zip(&subjects) {
                if !ours.contains(id) {
                    keyring.forget(&[*id]);
                    taken.remove(subject);
                }
            }
        }
        let ids: Vec<Uuid> = taken.values().map(|one| one.key.id()).collect();
        let open = open(conn, &ids).await?;
        taken.retain(|_, one| {
            let is_open = open.contains(&one.key.id());
            if !is_open {
                keyring.forget(&[one.key.id()]);
            }
            is_open
        });
        if taken.len() == items.len() {
            return Ok(Some(taken));
        }
    }
    Ok(None)
}

/// Tells the keyring, after the commit, which subject each key belongs to.
pub fn settle(keyring: &Keyring, taken: &HashMap<Uuid, Taken>) {
    for (subject, one) in taken.iter().filter(|(_, one)| !one.claimed) {
        keyring.claimed(*subject, one.key.id());
    }
}

/// As [`obtain`], for one subject and a caller that may wait; after the commit the caller tells the keyring with
/// [`Keyring::claimed`].
pub async fn key_for(
    conn: &mut PgConnection,
    keyring: &Keyring,
    subject: Uuid,
    items: u32,
    now: DateTime<Utc>,
) -> Result<Taken> {
    let items = HashMap::from([(subject, items)]);
    let taken = obtain(conn, keyring, &items, KEY_TIMEOUT, now).await?;
    let one = taken.and_then(|mut taken| taken.remove(&subject));
    one.ok_or_else(|| sqlx::Error::Io(io::ErrorKind::TimedOut.into()))
}
