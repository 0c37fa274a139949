//! The batch that nearly every batch is: new messages without files, in chats that are known. It goes to the database
//! as one statement, which is a transaction of its own; everything else takes the long way of [`super::batch`].

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Delivery,
    arrival::{Arrival, Meaning, Said},
    batch::{Error, is_file},
    memory::Memory,
};
use crate::{
    line::event::Place,
    records::messages::{self, NewMessage, NewRevision, Written},
    seal::{Keyring, Place as Lies},
};

/// Writes the batch if it is a plain one. `false`: it is not, or one of its messages was met before; then it has to go
/// the long way, whole.
///
/// # Errors
/// The database's; nothing is written then.
pub async fn write(
    db: &mut PgConnection,
    memory: &Memory,
    keyring: &Keyring,
    arrivals: &[(i32, &Arrival)],
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let Some(new) = plain(memory, arrivals, now) else {
        return Ok(false);
    };
    let Some((revisions, keys)) = seal(keyring, &new, arrivals)? else {
        return Ok(false);
    };
    let mut newest: BTreeMap<Uuid, DateTime<Utc>> = BTreeMap::new();
    for message in &new {
        let at = newest
            .entry(message.conversation_id)
            .or_insert(message.occurred_at);
        *at = message.occurred_at.max(*at);
    }
    let newest: Vec<_> = newest.into_iter().collect();
    match messages::write_new(db, &new, &revisions, &newest, &keys, now).await? {
        Written::All => Ok(true),
        Written::Met => Ok(false),
        Written::Closed(open) => {
            let closed = keys.into_iter().filter(|key| !open.contains(key));
            keyring.forget(&closed.collect::<Vec<_>>());
            Ok(false)
        }
    }
}

type Sealed<'a> = (Vec<NewRevision<'a>>, Vec<Uuid>);

/// The originals, each sealed under its conversation's key, and those keys. `None`: one of them the database does not
/// know yet.
fn seal<'a>(
    keyring: &Keyring,
    new: &[NewMessage<'a>],
    arrivals: &[(i32, &'a Arrival)],
) -> Result<Option<Sealed<'a>>, Error> {
    let mut keys = HashSet::new();
    let mut revisions = Vec::with_capacity(new.len());
    for (message, (_, arrival)) in new.iter().zip(arrivals) {
        let taken = keyring.take(message.conversation_id, 1);
        let Some(taken) = taken.filter(|taken| taken.claimed) else {
            return Ok(None);
        };
        keys.insert(taken.key.id());
        revisions.push(NewRevision {
            message: message.id,
            webhook_event_id: &arrival.webhook_event_id,
            occurred_at: arrival.at,
            edited: false,
            content: taken.key.seal(Lies::Message(message.id), &arrival.raw)?,
        });
    }
    Ok(Some((revisions, keys.into_iter().collect())))
}

fn plain<'a>(
    memory: &Memory,
    arrivals: &[(i32, &'a Arrival)],
    now: DateTime<Utc>,
) -> Option<Vec<NewMessage<'a>>> {
    let mut ids = HashSet::new();
    let mut new = vec![];
    for (channel_id, arrival) in arrivals {
        let (said, conversation_id, contact_id) = known(memory, *channel_id, arrival, now)?;
        if !ids.insert((*channel_id, &said.message_id)) {
            return None;
        }
        new.push(NewMessage {
            id: Uuid::now_v7(),
            channel_id: *channel_id,
            message_id: &said.message_id,
            conversation_id,
            contact_id,
            kind: &said.kind,
            occurred_at: arrival.at,
            quoted_message_id: said.quoted_message_id.as_deref(),
        });
    }
    Some(new)
}

/// What is said, where and by whom, if it is a new message without a file and both are known.
fn known<'a>(
    memory: &Memory,
    channel_id: i32,
    arrival: &'a Arrival,
    now: DateTime<Utc>,
) -> Option<(&'a Said, Uuid, Option<Uuid>)> {
    let Meaning::Message(said) = &arrival.meaning else {
        return None;
    };
    if said.edited || is_file(&said.kind) {
        return None;
    }
    let place = (channel_id, arrival.source.place.clone());
    let conversation = memory.conversation(&place, now)?;
    let contact = match &arrival.source.user_id {
        Some(user_id) => Some(memory.contact(&(channel_id, user_id.clone()), now)?),
        None => None,
    };
    if let (Place::Group(_) | Place::Room(_), Some(contact)) = (&place.1, contact)
        && !memory.is_present(conversation, contact, now)
    {
        return None;
    }
    Some((said, conversation, contact))
}

/// True if [`write()`] will most likely do for the delivery.
pub fn is_plain(
    memory: &Memory,
    keyring: &Keyring,
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> bool {
    delivery.arrivals.iter().all(|arrival| {
        let known = known(memory, delivery.channel_id, arrival, now);
        known.is_some_and(|(_, conversation, _)| keyring.has(conversation))
    })
}
