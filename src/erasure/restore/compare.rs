//! Compares the ledger in the database with its copies.

use sqlx::PgConnection;

use super::Error;
use crate::{
    erasure::copies::{CopiedCheckpoint, Copies},
    ledger::tree::{Frontier, leaf_hash},
    objects::Objects,
    records, watchdog,
};

/// A copy of the ledger, the newest first: its checkpoint, and the object store that it is in.
type Copy = (CopiedCheckpoint, Objects);

/// The tree over the records in the database, as far as the copies reach.
///
/// # Errors
/// [`Error::Contradicted`] if a copy was signed over other records.
pub(super) async fn signed_part(
    conn: &mut PgConnection,
    sound: &[Copy],
) -> Result<Frontier, Error> {
    let signed = sound.first().map_or(0, |(newest, _)| newest.size);
    let size = records::ledger::size(conn).await?.min(signed);
    let mut tree = Frontier::new();
    while tree.size() < size {
        for leaf in records::ledger::leaves(conn, tree.size()).await? {
            if tree.size() < size {
                tree.push(leaf);
                agrees(&tree, sound)?;
            }
        }
        watchdog::progress();
    }
    Ok(tree)
}

/// Compares the root of `tree` with the copies that were signed at this size.
fn agrees(tree: &Frontier, sound: &[Copy]) -> Result<(), Error> {
    let signed = sound
        .iter()
        .filter(|(copied, _)| copied.size == tree.size());
    let mut others = signed.filter(|(copied, _)| copied.root != tree.root());
    match others.next() {
        None => Ok(()),
        Some((_, backend)) => Err(Error::Contradicted(backend.place().to_owned())),
    }
}

/// The records after those of `tree`, of the first copy that has all that are signed, and whole.
pub(super) async fn missing_records(
    sound: &[Copy],
    tree: &Frontier,
) -> Result<Vec<Vec<u8>>, Error> {
    let until = sound.first().map_or(0, |(newest, _)| newest.size);
    let mut result = Ok(vec![]);
    for (copied, backend) in sound.iter().filter(|(copied, _)| copied.size == until) {
        result = match Copies::records(backend, tree.size(), until).await {
            Ok(records) => {
                let mut tree = tree.clone();
                let agreed = records.iter().try_for_each(|record| {
                    tree.push(leaf_hash(record));
                    agrees(&tree, sound)
                });
                match agreed {
                    Ok(()) => return Ok(records),
                    // Perhaps only the records beside the checkpoint are damaged.
                    Err(error) => match Copies::verify_records(backend, copied).await {
                        Ok(()) => Err(error),
                        Err(damaged) => Err(damaged.into()),
                    },
                }
            }
            Err(error) => Err(error.into()),
        };
    }
    result
}
