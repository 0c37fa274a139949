//! The fast path: writes new messages without files in known conversations, which is nearly every batch, as one
//! statement. The statement is a transaction of its own. [`super::batch`] writes everything else.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Delivery,
    incoming_event::{EventKind, IncomingEvent, MessageEvent},
    item::Error,
    memory::Memory,
    message_events::is_file,
};
use crate::{
    line::event::Source,
    records::messages::{self, NewMessage, NewRevision, Written},
    seal::{Keyring, SealContext},
};

/// Writes the batch if the fast path can. Returns `false` if it cannot, if one of the messages was seen before, or if a
/// key was closed: no message is written then (the statement may still insert `message_ref` rows and move conversations
/// up the list), and [`super::batch`] has to write the whole batch.
///
/// # Errors
/// If the statement fails or an event cannot be sealed; nothing is written then.
pub async fn write(
    db: &mut PgConnection,
    memory: &Memory,
    keyring: &Keyring,
    events: &[(i32, &IncomingEvent)],
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let Some(new) = new_messages(memory, events, now) else {
        return Ok(false);
    };
    let Some((revisions, keys)) = seal(keyring, &new, events)? else {
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
        Written::Known => Ok(false),
        Written::Closed(open) => {
            let closed = keys.into_iter().filter(|key| !open.contains(key));
            keyring.forget(&closed.collect::<Vec<_>>());
            Ok(false)
        }
    }
}

type Sealed<'a> = (Vec<NewRevision<'a>>, Vec<Uuid>);

/// Seals each original under the key of its conversation; returns the revisions and the ids of the keys. `None` if the
/// keyring has no key for a conversation, or one that the database does not know yet.
fn seal<'a>(
    keyring: &Keyring,
    new: &[NewMessage<'a>],
    events: &[(i32, &'a IncomingEvent)],
) -> Result<Option<Sealed<'a>>, Error> {
    let mut keys = HashSet::new();
    let mut revisions = Vec::with_capacity(new.len());
    for (message, (_, event)) in new.iter().zip(events) {
        let taken = keyring.take(message.conversation_id, 1);
        let Some(taken) = taken.filter(|taken| taken.claimed) else {
            return Ok(None);
        };
        keys.insert(taken.key.id());
        revisions.push(NewRevision {
            message: message.id,
            webhook_event_id: &event.webhook_event_id,
            occurred_at: event.at,
            edited: false,
            content: taken
                .key
                .seal(SealContext::Message(message.id), &event.raw)?,
        });
    }
    Ok(Some((revisions, keys.into_iter().collect())))
}

fn new_messages<'a>(
    memory: &Memory,
    events: &[(i32, &'a IncomingEvent)],
    now: DateTime<Utc>,
) -> Option<Vec<NewMessage<'a>>> {
    let mut ids = HashSet::new();
    let mut new = vec![];
    for (channel_id, event) in events {
        let (message, conversation_id, contact_id) = known(memory, *channel_id, event, now)?;
        if !ids.insert((*channel_id, &message.message_id)) {
            return None;
        }
        new.push(NewMessage {
            id: Uuid::now_v7(),
            channel_id: *channel_id,
            message_id: &message.message_id,
            conversation_id,
            contact_id,
            kind: &message.kind,
            occurred_at: event.at,
            quoted_message_id: message.quoted_message_id.as_deref(),
        });
    }
    Some(new)
}

/// The message, conversation and contact of an event. `None` unless it is an original without a file, and the memory
/// has the conversation, the contact and, in a group or room, the membership.
fn known<'a>(
    memory: &Memory,
    channel_id: i32,
    event: &'a IncomingEvent,
    now: DateTime<Utc>,
) -> Option<(&'a MessageEvent, Uuid, Option<Uuid>)> {
    let EventKind::Message(message) = &event.kind else {
        return None;
    };
    if message.edited || is_file(&message.kind) {
        return None;
    }
    let source = (channel_id, event.source.clone());
    let conversation = memory.conversation(&source, now)?;
    let contact = match &event.user_id {
        Some(user_id) => Some(memory.contact(&(channel_id, user_id.clone()), now)?),
        None => None,
    };
    if let (Source::Group(_) | Source::Room(_), Some(contact)) = (&source.1, contact)
        && !memory.is_present(conversation, contact, now)
    {
        return None;
    }
    Some((message, conversation, contact))
}

/// True if [`write()`] will most likely take the delivery.
pub fn takes(memory: &Memory, keyring: &Keyring, delivery: &Delivery, now: DateTime<Utc>) -> bool {
    delivery.events.iter().all(|event| {
        let known = known(memory, delivery.channel_id, event, now);
        known.is_some_and(|(_, conversation, _)| keyring.has(conversation))
    })
}
