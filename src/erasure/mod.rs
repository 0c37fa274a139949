//! The one door out of the archive.
//!
//! # What is promised
//!
//! Once an unsend is acknowledged, no page shows the message, no row holds it and no later delivery brings it back.
//! Its objects are deleted and seen to be gone soon after. A record without content stays.
//!
//! # What everything rests on
//!
//! `message_ref` has one row for every LINE message id, for ever. Whoever writes content of a message (the message,
//! an edit, later everything derived from it) holds that row's lock while it does, and looks at `unsent_at` under the
//! lock. An unsend takes the same lock, sets `unsent_at` and deletes. So the two cannot pass each other:
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
//! # Accepted
//!
//! - An unsend for a message that was never archived leaves a tombstone and a record with a count of zero: the
//!   message may still be on its way.
//! - The unsend event itself is not kept: it has nothing but ids, and those are in the record.

pub mod copies;
pub mod keys;
pub mod restore;
pub mod sealer;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    ledger::Kind,
    records::{
        erasures::{self, Asked, NewErasure},
        ledger,
    },
};

/// Erases unsent messages within the caller's transaction, in which [`meet`](crate::records::messages::meet) has laid their tombstones and
/// holds their locks. Doing it again does nothing.
///
/// # Errors
/// The database's; nothing is erased then, because the caller's transaction fails.
pub async fn unsend(
    db: &mut PgConnection,
    unsends: &[NewErasure<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let asked = erase(db, unsends, now).await?;
    let ids: Vec<_> = asked.iter().map(|asked| asked.id).collect();
    let kinds = [Kind::Requested, Kind::Purged, Kind::KeysDestroyed];
    ledger::tell(db, &ids, &kinds, now).await
}

/// As [`unsend`], of messages whose request is in the ledger already: the database was restored from before it.
///
/// # Errors
/// As [`unsend`].
pub async fn unsend_again(
    db: &mut PgConnection,
    unsends: &[NewErasure<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let asked = erase(db, unsends, now).await?;
    let ids: Vec<_> = asked.iter().map(|asked| asked.id).collect();
    ledger::tell(db, &ids, &[Kind::Purged, Kind::KeysDestroyed], now).await
}

async fn erase(
    db: &mut PgConnection,
    unsends: &[NewErasure<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Asked>> {
    let asked = erasures::ask(db, unsends, now).await?;
    if asked.is_empty() {
        return Ok(asked);
    }
    let ids: Vec<_> = asked.iter().map(|asked| asked.message).collect();
    erasures::lock_attachments(db, &ids).await?;
    erasures::condemn_objects(db, &asked, now).await?;
    erasures::condemn_keys(db, &asked, now).await?;
    erasures::delete_messages(db, &asked, now).await?;
    Ok(asked)
}
