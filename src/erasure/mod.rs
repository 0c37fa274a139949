//! Erasure: removes messages, events and what is known of a contact for good. No other part of the program does.
//!
//! # Guarantees
//!
//! Once an unsend is acknowledged, no page shows the message, no row holds it, and no later delivery brings it back.
//! Soon after, its objects are deleted and confirmed gone. A record without content stays in the ledger. The same holds
//! for every other cause of an erasure: a retention rule, a subject request, an operator's order. All causes erase
//! messages and events with [`erase`]. They differ in what they select, and in which holds stop them.
//!
//! # The lock that everything depends on
//!
//! `message_ref` has one row for each LINE message id, and the row is never deleted. Every writer of a message's
//! content (the message, an edit, later anything derived from it) holds the lock of that row while it writes, and
//! checks `unsent_at` and `erased_at` under the lock. An unsend takes the same lock, sets `unsent_at`, which makes the
//! row a tombstone, and deletes the message. Every other cause does the same with `erased_at`. So a writer and an
//! erasure always run one after the other:
//!
//! - *The unsend is second*: it waits until the writer has committed, sees all rows of the writer and deletes them.
//! - *The unsend is first*: the writer waits, then sees the tombstone and writes nothing. The same happens to a message
//!   that arrives late, is delivered again, or waited in one of the archive's own queues.
//! - *Both are in one batch*: the batch inserts the tombstone before it writes any content.
//!
//! When it was measured, a plain "look, then insert" without the shared lock brought back two of three messages.
//!
//! # Files
//!
//! A download belongs to a job, the job to an attachment, and the attachment to a message. The unsend locks the
//! attachment, hands every object that was ever begun for it to the sweep, and deletes the message; the attachment and
//! its jobs are deleted with the message. A download that is in progress finds no attachment when it tries to finish,
//! and removes what it has written. If its process is suspended for long and resumes after the sweep has deleted the
//! object, it may write the object again. The sweep checks a second time after the writer's lease has ended, and finds
//! that object. Locks are always taken in the order `message_ref`, attachment, object.
//!
//! # Keys
//!
//! A deleted row stays in PostgreSQL's files until vacuum has processed it, and in the WAL, in replicas and in backups.
//! The content of rows is therefore sealed, and so are objects. An erasure marks the wrapping keys that its rows and
//! objects are sealed under. [`keys`] closes the marked keys, rewraps what survives under other keys, and destroys the
//! marked ones (crypto-shredding). From then on every copy of the erased content is noise, wherever it is stored.
//!
//! # Exports
//!
//! A copy that was made for a person contains messages that can be unsent at any moment. An erasure of anything in the
//! copy withdraws the copy in the same transaction, whether it is complete or half made, and another copy is made. Only
//! the person's own erasure request does not: their copy stays until it expires. A copy begins only after all erasures
//! have ended that looked for copies before it existed: erasures hold a shared lock, and the start of a copy takes the
//! same lock exclusively.
//!
//! # Holds
//!
//! A hold stops retention rules and operator orders. If it says so, it also stops subject requests, and if it says that
//! too, unsends. A message that is unsent under a hold that covers unsends is withheld ([`withheld`]): it leaves its
//! conversation in the transaction of the unsend, and is erased when the hold is lifted. Until then it stays sealed
//! like everything else, and only the page of the hold shows it.
//!
//! # Accepted limits
//!
//! - An unsend for a message that was never archived leaves a tombstone and a record with a count of zero, because the
//!   message may still arrive.
//! - The unsend event itself is not kept: it contains only ids, and the record has those.
//! - A message that was erased for another cause and is unsent later has one erasure, that of the first cause. Its
//!   tombstone says that it was also unsent.

mod batch;
pub mod copies;
pub mod holds;
pub mod keys;
pub mod ledger_signer;
pub mod order;
pub mod restore;
pub mod retention;
pub mod subject;
pub mod withheld;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    ledger::Kind,
    records::{
        erasures::{self, Cause, NewErasure, Requested},
        exports, ledger,
    },
};

/// Erases messages and events in the caller's transaction. The caller must hold the locks of the messages and must have
/// inserted their tombstones: with [`lock_message_refs`](crate::records::messages::lock_message_refs) for an unsend,
/// with [`insert_tombstones`](crate::records::messages::insert_tombstones) for every other cause. Idempotent. Returns
/// the number of messages and events that were erased for the first time.
///
/// An unsend that a hold covers is not counted: its message is withheld. For unsends the transaction must have called
/// [`holds::enter`](crate::records::holds::enter) before it took any lock.
///
/// # Errors
/// The database fails. Then nothing is erased, because the caller's transaction fails.
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
    let requested = erase_rows(db, &left, cause, now).await?;
    append_record(db, &requested, now).await?;
    Ok(requested.len())
}

/// Adds the records of new erasures to the pending records of the ledger, in the same transaction.
async fn append_record(
    db: &mut PgConnection,
    requested: &[Requested],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<_> = requested.iter().map(|requested| requested.id).collect();
    let kinds = [Kind::Requested, Kind::Purged, Kind::KeysDestroyed];
    ledger::append_pending(db, &ids, &kinds, now).await
}

/// As [`erase`], for erasures whose `Requested` record is in the ledger already, because the database was restored from
/// an older backup. Adds no second `Requested` record.
///
/// # Errors
/// As [`erase`].
pub async fn erase_again(
    db: &mut PgConnection,
    targets: &[NewErasure<'_>],
    cause: Cause<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let requested = erase_rows(db, targets, cause, now).await?;
    append_replayed_record(db, &requested, now).await
}

async fn append_replayed_record(
    db: &mut PgConnection,
    requested: &[Requested],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<_> = requested.iter().map(|requested| requested.id).collect();
    ledger::append_pending(db, &ids, &[Kind::Purged, Kind::KeysDestroyed], now).await
}

async fn erase_rows(
    db: &mut PgConnection,
    targets: &[NewErasure<'_>],
    cause: Cause<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Requested>> {
    let requested = erasures::insert(db, targets, cause, now).await?;
    if requested.is_empty() {
        return Ok(requested);
    }
    let ids: Vec<_> = requested
        .iter()
        .map(|requested| requested.message)
        .collect();
    erasures::lock(db, &ids).await?;
    // A person's own erasure request does not withdraw the copy that was made for them: it stays until it expires.
    if !matches!(cause, Cause::Subject(_)) {
        let affected = exports::affected(db, &ids).await?;
        exports::withdraw(db, &affected, &requested, now).await?;
    }
    let next_attempt_at = match cause {
        // The sweep purges the objects of unsends before those of all other causes.
        Cause::Unsend => DateTime::UNIX_EPOCH,
        _ => now,
    };
    erasures::delete(db, &requested, now, next_attempt_at).await?;
    Ok(requested)
}
