//! `keys lost`: gives up keys that are missing or damaged in the keyring.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Confirm, counted::counted, keys::with_attested};
use crate::{config::StorageConfig, records::keys};

/// Names the keys in use that are known to be missing or damaged. With `--confirm` it gives them up: erasures that wait
/// for them are completed, and the service destroys the rest of a key once something under it is erased.
///
/// # Errors
/// The database or the keyring cannot be used.
pub async fn lost(
    storage: &StorageConfig,
    given: Confirm,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    with_attested(storage, async |db, keyring| {
        let mut lost: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
        for id in keys::doubtful(db).await? {
            match keyring.verify(id).await {
                Ok(()) => {}
                Err(error) if error.is_permanent() => {
                    lost.entry(keyring.file_of(id)).or_default().push(id);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if lost.is_empty() {
            say("No key is known to be missing or damaged. `doctor` and the daily scrub read the keys.");
            return Ok(());
        }
        for (file, ids) in &lost {
            say(&format!("{file}: {} cannot be read", counted(ids.len(), "key")));
        }
        if !given.confirm {
            say(
                "Nothing was changed. If these files can be put back as they were, do that: then everything is readable again. If they \
                 are lost for good, `keys lost --confirm` gives the keys up.",
            );
            return Ok(());
        }
        let ids: Vec<Uuid> = lost.into_values().flatten().collect();
        keys::give_up(db, &ids).await?;
        say(
            "The keys were given up. Erasures that wait for them are completed within a minute. What they have sealed cannot be read.",
        );
        Ok(())
    })
    .await
}
