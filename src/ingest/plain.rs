//! The batch that nearly every batch is: new messages without files, in chats that are known. It goes to the database
//! as one statement, which is a transaction of its own; everything else takes the long way of [`super::batch`].

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    arrival::{Arrival, Meaning},
    batch::is_file,
    memory::Memory,
};
use crate::{
    line::event::Place,
    records::messages::{self, NewMessage, NewRevision},
};

/// Writes the batch if it is a plain one. `false`: it is not, or one of its messages was met before; then it has to go
/// the long way, whole.
///
/// # Errors
/// The database's; nothing is written then.
pub async fn write(
    db: &mut PgConnection,
    memory: &Memory,
    arrivals: &[(i32, &Arrival)],
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let Some((new, revisions)) = plain(memory, arrivals, now) else {
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
    messages::write_new(db, &new, &revisions, &newest, now).await
}

type Written<'a> = (Vec<NewMessage<'a>>, Vec<NewRevision<'a>>);

fn plain<'a>(
    memory: &Memory,
    arrivals: &[(i32, &'a Arrival)],
    now: DateTime<Utc>,
) -> Option<Written<'a>> {
    let mut ids = HashSet::new();
    let (mut new, mut revisions) = (vec![], vec![]);
    for (channel_id, arrival) in arrivals {
        let Meaning::Message(said) = &arrival.meaning else {
            return None;
        };
        if said.edited || is_file(&said.kind) || !ids.insert((*channel_id, &said.message_id)) {
            return None;
        }
        let place = (*channel_id, arrival.source.place.clone());
        let conversation_id = memory.conversation(&place, now)?;
        let contact_id = match &arrival.source.user_id {
            Some(user_id) => Some(memory.contact(&(*channel_id, user_id.clone()), now)?),
            None => None,
        };
        if let (Place::Group(_) | Place::Room(_), Some(contact)) = (&place.1, contact_id)
            && !memory.is_present(conversation_id, contact, now)
        {
            return None;
        }
        let id = Uuid::now_v7();
        new.push(NewMessage {
            id,
            channel_id: *channel_id,
            message_id: &said.message_id,
            conversation_id,
            contact_id,
            kind: &said.kind,
            occurred_at: arrival.at,
            quoted_message_id: said.quoted_message_id.as_deref(),
        });
        revisions.push(NewRevision {
            message: id,
            webhook_event_id: &arrival.webhook_event_id,
            occurred_at: arrival.at,
            edited: false,
            content: &arrival.raw,
        });
    }
    Some((new, revisions))
}
