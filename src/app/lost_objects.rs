//! `objects lost`: gives up objects that are missing.

use sqlx::PgConnection;

use super::{
    Confirm,
    counted::counted,
    database::{self, Purpose},
    stores,
};
use crate::{
    clock::Clock,
    config::StorageConfig,
    objects::{ObjectKey, Objects},
    records::lost_objects,
};

/// Objects that are looked for with one query.
const BATCH_OBJECTS: i64 = 1000;
/// Objects that are named; the others are counted.
const MOST_NAMES: usize = 20;

/// Names objects that are missing in the object store: those that have to be purged, and those in use that are known to be
/// missing. With `--confirm` it gives them up: no erasure waits for them, now or later.
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
        let (lost, there) = look(&mut db, &store).await?;
        let now = Clock::system().now();
        lost_objects::purge_again(&mut db, &there, now).await?;
        if lost.is_empty() {
            say("No object is known to be missing.");
            return Ok(());
        }
        for key in lost.iter().take(MOST_NAMES) {
            say(&key.to_string());
        }
        say(&format!(
            "{} missing in {}",
            counted(lost.len(), "object"),
            store.place()
        ));
        if !given.confirm {
            say(
                "Nothing was changed. If these files are somewhere else, put them back: the service deletes those that have to go. If \
                 they are lost for good, `objects lost --confirm` gives them up, so that no erasure waits for them.",
            );
            return Ok(());
        }
        lost_objects::give_up(&mut db, &lost, now).await?;
        say(
            "The objects were given up. The service completes erasures that wait for them within a minute. The key of an erased file \
             is destroyed in any case: if the file comes back, it cannot be read, and is deleted.",
        );
        Ok(())
    })
    .await
}

/// Looks for the objects that may be missing. Returns those that are missing, and those that are there.
async fn look(
    db: &mut PgConnection,
    store: &Objects,
) -> anyhow::Result<(Vec<ObjectKey>, Vec<ObjectKey>)> {
    let (mut lost, mut there) = (vec![], vec![]);
    let mut after = String::new();
    loop {
        let batch = lost_objects::doubtful(db, &after, BATCH_OBJECTS).await?;
        let Some(last) = batch.last() else {
            return Ok((lost, there));
        };
        after = last.to_string();
        for key in batch {
            match store.has(key).await? {
                true => there.push(key),
                false => lost.push(key),
            }
        }
    }
}
