//! The one door out of the archive.
//!
//! # What is promised
//!
//! Once an unsend is acknowledged, no page shows the message, no row holds it and no later delivery brings it back.
//! Its objects are deleted and seen to be gone soon after. A record without content stays. The same is true of what is
//! erased for another cause: a retention rule, a person who wants to be forgotten, an operator's order. [`erase`] is the
//! one verb for all of them; they differ in what they choose, and in what a hold stops.
//!
//! # What everything rests on
//!
//! `message_ref` has one row for every LINE message id, for ever. Whoever writes content of a message (the message,
//! an edit, later everything derived from it) holds that row's lock while it does, and looks at `unsent_at` and `erased_at`
//! under the lock. An unsend takes the same lock, sets `unsent_at` and deletes; every other cause does the same with
//! `erased_at`. So the two cannot pass each other:
//!
//! - *Unsend second*: it waits for the writer's commit, sees all its rows and deletes them.
//! - *Unsend first*: the writer waits, then sees the tombstone and writes nothing. This is also what becomes of a
//!   message that arrives late, again, or from a queue of ours.
//! - *Both in one batch*: the tombstone is laid before anything of the batch is written.
//!
//! A plain "look, then insert" without the shared lock brought back two of three messages when it was measured.
//!
//! # Files
//!
//! A download belongs to a job, the job to an attachment, the attachment to the message. The unsend locks the
//! attachment, hands every object that was ever begun for it to the sweep, and deletes the message; attachment and jobs
//! go with it. A download that is under way finds no attachment when it wants to finish, and removes what it has
//! written. Should its process be stopped for long and wake up after the sweep has passed, the sweep's second look,
//! after the longest lease, finds the object. Locks are always taken in the order message_ref, attachment, object.
//!
//! # Keys
//!
//! Deleted rows stay in PostgreSQL's files until vacuum has passed over them, in its WAL, in replicas and in backups. They
//! are sealed, and so are objects; the unsend notes the keys they are under. [`keys`] closes those keys, moves what
//! survives to others and destroys them: then what remains is noise, wherever it lies.
//!
//! # Exports
//!
//! A copy made for a person holds what can be unsent any moment. Whoever erases something of theirs takes the copy away in
//! the same transaction, whole or half made, and another one is made. A copy begins only when all who have not seen it have
//! ended: they share a lock which it takes alone.
//!
//! # Holds
//!
//! A hold stops rules and orders; if it says so, also what a person has asked for; and if it says that too, unsends. What is
//! unsent under such a hold is [`withheld`]: it leaves its conversation in the transaction of the unsend, and is erased
//! when the hold is lifted. Until then it is sealed like everything else, and only the hold's own page shows it.
//!
//! # Accepted
//!
//! - An unsend for a message that was never archived leaves a tombstone and a record with a count of zero: the
//!   message may still be on its way.
//! - The unsend event itself is not kept: it has nothing but ids, and those are in the record.
//! - A message that was erased for another cause and is unsent later has one record, that of the first cause; that it was
//!   unsent stands in its tombstone.

pub mod copies;
pub mod export;
pub mod keys;
pub mod order;
pub mod restore;
pub mod retention;
pub mod sealer;
pub mod subject;
pub mod withheld;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    ledger::Kind,
    records::{
        erasures::{self, Asked, Cause, NewErasure},
        exports, ledger,
    },
};

/// Erases messages and events within the caller's transaction, which holds the locks of the messages and has laid their
/// tombstones: [`meet`](crate::records::messages::meet) for an unsend, [`entomb`](crate::records::messages::entomb) for
/// every other cause. Doing it again does nothing. Returns how many are erased for the first time.
///
/// An unsend that a hold covers is not one of them: its message is withheld. For unsends the transaction has entered
/// ([`holds::enter`](crate::records::holds::enter)) before it took a lock.
///
/// # Errors
/// The database's; nothing is erased then, because the caller's transaction fails.
pub async fn erase(
    db: &mut PgConnection,
    targets: &[NewErasure<'_>],
    cause: Cause<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<usize> {
    let left = match cause {
        Cause::Unsend => withheld::withhold(db, targets, now).await?,
        _ => targets.to_vec(),
    };
    let asked = go(db, &left, cause, now).await?;
    tell(db, &asked, now).await?;
    Ok(asked.len())
}

/// Puts erasures that were just done into the ledger, in the same transaction.
async fn tell(db: &mut PgConnection, asked: &[Asked], now: DateTime<Utc>) -> sqlx::Result<()> {
    let ids: Vec<_> = asked.iter().map(|asked| asked.id).collect();
    let kinds = [Kind::Requested, Kind::Purged, Kind::KeysDestroyed];
    ledger::tell(db, &ids, &kinds, now).await
}

/// As [`erase`], of what the ledger has as asked for already: the database was restored from before it.
///
/// # Errors
/// As [`erase`].
pub async fn erase_again(
    db: &mut PgConnection,
    targets: &[NewErasure<'_>],
    cause: Cause<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let asked = go(db, targets, cause, now).await?;
    tell_again(db, &asked, now).await
}

async fn tell_again(
    db: &mut PgConnection,
    asked: &[Asked],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<_> = asked.iter().map(|asked| asked.id).collect();
    ledger::tell(db, &ids, &[Kind::Purged, Kind::KeysDestroyed], now).await
}

async fn go(
    db: &mut PgConnection,
    targets: &[NewErasure<'_>],
    cause: Cause<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Asked>> {
    let asked = erasures::ask(db, targets, cause, now).await?;
    if asked.is_empty() {
        return Ok(asked);
    }
    let ids: Vec<_> = asked.iter().map(|asked| asked.message).collect();
    erasures::lock(db, &ids).await?;
    // A person's own erasure leaves the copy that was made for them to its end.
    if !matches!(cause, Cause::Subject(_)) {
        let affected = exports::affected(db, &ids).await?;
        exports::withdraw(db, &affected, &asked, now).await?;
    }
    let look_at = match cause {
        // Before all that waits to be purged for another cause.
        Cause::Unsend => DateTime::UNIX_EPOCH,
        _ => now,
    };
    erasures::delete(db, &asked, now, look_at).await?;
    Ok(asked)
}
