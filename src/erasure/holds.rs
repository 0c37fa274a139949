//! Sets and lifts legal holds, and adds both to the ledger.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use crate::{
    ledger::{Kind, Record},
    records::{
        holds::{self, Held, NewHold},
        ledger, retention,
    },
};

/// Sets a hold, in a transaction. `false`: the conversation is not in scope.
///
/// # Errors
/// The database fails.
pub async fn set(
    db: &mut PgConnection,
    channels: &[i32],
    hold: &NewHold<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    holds::keep_out(db).await?;
    let id = Uuid::now_v7();
    if !holds::insert(db, channels, id, hold, now).await? {
        return Ok(false);
    }
    let held = holds::held_by(db, id).await?;
    append_record(db, Kind::HoldSet, id, &held, hold.by, now).await?;
    Ok(true)
}

/// Lifts a hold, in a transaction, and lets the rules of its channel examine everything again. Returns the conversation;
/// `None`: no such hold is in force and in scope.
///
/// # Errors
/// The database fails.
pub async fn lift(
    db: &mut PgConnection,
    channels: &[i32],
    id: Uuid,
    by: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>> {
    if !holds::end(db, channels, id, by, now).await? {
        return Ok(None);
    }
    let held = holds::held_by(db, id).await?;
    retention::examine_again(db, &[held.channel_id]).await?;
    append_record(db, Kind::HoldLifted, id, &held, by, now).await?;
    Ok(Some(held.conversation_id))
}

/// Adds to the ledger that a hold began or ended, and by which operator; not the reason, which is free text.
async fn append_record(
    db: &mut PgConnection,
    kind: Kind,
    id: Uuid,
    held: &Held,
    by: Uuid,
    now: DateTime<Utc>,
) -> Result<()> {
    let (slug, conversation) = (held.slug.clone(), held.conversation_id);
    let record = Record {
        trigger: Some(by.to_string()),
        ..ledger::record(kind, id, Some(slug), Some(conversation), now)
    };
    ledger::pend(db, &[record], now).await
}
