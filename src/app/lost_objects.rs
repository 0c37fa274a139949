//! `objects lost`: gives up objects that are to be purged and are missing.

use super::{
    Confirm,
    counted::counted,
    database::{self, Purpose},
    stores,
};
use crate::{
    clock::Clock,
    config::StorageConfig,
    objects::ObjectKey,
    records::objects::{self, give_up},
};

/// Objects that are looked for with one query.
const BATCH_OBJECTS: i64 = 1000;
/// Objects that are named; the others are counted.
const MOST_NAMES: usize = 20;

/// Names objects that have to be purged and are missing in the object store. With `--confirm` it gives them up: erasures
/// that wait for them are completed.
///
/// # Errors
/// The database or the object store cannot be used.
pub async fn lost(
    storage: &StorageConfig,
    given: Confirm,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    database::with(storage, Purpose::Change, async |database| {
        let mut db = database.connect().await?;
        let store = stores::objects_alone(storage, &mut db, Purpose::Change).await?;
        let mut lost: Vec<ObjectKey> = vec![];
        let mut after = String::new();
        loop {
            let batch = objects::lost(&mut db, &after, BATCH_OBJECTS).await?;
            let Some(last) = batch.last() else {
                break;
            };
            after = last.to_string();
            for key in batch {
                if store.is_lost(key).await? {
                    lost.push(key);
                }
            }
        }
        if lost.is_empty() {
            say("No object that has to be purged is missing.");
            return Ok(());
        }
        for key in lost.iter().take(MOST_NAMES) {
            say(&key.to_string());
        }
        say(&format!(
            "{} to be purged, missing in {}",
            counted(lost.len(), "object"),
            store.place()
        ));
        if !given.confirm {
            say(
                "Nothing was changed. If these files are somewhere else, put them back: the service then deletes them. If they are \
                 lost for good, `objects lost --confirm` completes the erasures that wait for them.",
            );
            return Ok(());
        }
        give_up(&mut db, &lost, Clock::system().now()).await?;
        say(
            "The objects were given up. Erasures that wait for them are completed within a minute. Their keys are destroyed in any \
             case, so a file that comes back cannot be read; the reconcile deletes it.",
        );
        Ok(())
    })
    .await
}
