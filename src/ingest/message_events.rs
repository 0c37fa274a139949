//! Writes messages and edits, with their revisions and attachments.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    incoming_event::MessageEvent,
    item::{Error, Item, Key},
    keys::Keys,
};
use crate::{
    records::messages::{self, NewAttachment, NewMessage, NewRevision, Ref},
    seal::SealContext,
};

/// Writes the message events of a batch. Messages with a tombstone and redelivered originals are left out.
pub async fn write(
    db: &mut PgConnection,
    items: &[Item<'_>],
    refs: &HashMap<Key<'_>, Ref>,
    keys: &Keys,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let living = living(items, refs);
    if living.is_empty() {
        return Ok(());
    }
    let with_original = with_original(db, &living).await?;
    let rows = MessageRows::new(&living, with_original, keys)?;
    rows.write(db, now).await?;
    Ok(())
}

/// A message event whose message has no tombstone, with the `message_ref` row of the message.
struct Living<'a> {
    item: &'a Item<'a>,
    message: &'a MessageEvent,
    found: &'a Ref,
}

fn living<'a>(items: &'a [Item<'a>], refs: &'a HashMap<Key<'a>, Ref>) -> Vec<Living<'a>> {
    items
        .iter()
        .filter_map(|item| {
            let (key, message) = item.message()?;
            let found = refs.get(&key).filter(|found| !found.gone)?;
            Some(Living {
                item,
                message,
                found,
            })
        })
        .collect()
}

/// The messages whose original is stored already, by our ids.
async fn with_original(
    db: &mut PgConnection,
    living: &[Living<'_>],
) -> sqlx::Result<HashSet<Uuid>> {
    let seen_before: Vec<Uuid> = living
        .iter()
        .filter(|one| !one.found.fresh)
        .map(|one| one.found.id)
        .collect();
    if seen_before.is_empty() {
        return Ok(HashSet::new());
    }
    let ids = messages::with_original(db, &seen_before).await?;
    Ok(ids.into_iter().collect())
}

/// The rows to write for the messages of a batch.
#[derive(Default)]
struct MessageRows<'a> {
    messages: HashMap<Uuid, NewMessage<'a>>,
    revisions: Vec<NewRevision<'a>>,
    attachments: Vec<NewAttachment<'a>>,
    /// Our ids of the messages with an edit.
    edited: Vec<Uuid>,
}

impl<'a> MessageRows<'a> {
    fn new(
        living: &[Living<'a>],
        mut with_original: HashSet<Uuid>,
        keys: &Keys,
    ) -> Result<Self, Error> {
        let mut rows = Self::default();
        for one in living {
            if one.message.edited {
                rows.edited.push(one.found.id);
            } else if !with_original.insert(one.found.id) {
                continue; // A redelivery, whatever its webhookEventId.
            }
            if is_file(&one.message.kind) && !one.message.edited {
                rows.attachments.push(one.attachment());
            }
            rows.revisions.push(one.revision(keys)?);
            rows.add_message(one);
        }
        Ok(rows)
    }

    /// Adds the message, or completes it if another event of the batch has added it.
    fn add_message(&mut self, one: &Living<'a>) {
        let (event, contact) = (one.item.event, one.item.resolved.contact);
        let row = self.messages.entry(one.found.id).or_insert(NewMessage {
            id: one.found.id,
            channel_id: one.item.channel_id,
            message_id: &one.message.message_id,
            conversation_id: one.item.resolved.conversation,
            contact_id: contact,
            kind: &one.message.kind,
            occurred_at: event.at,
            quoted_message_id: None,
        });
        row.occurred_at = row.occurred_at.min(event.at);
        row.contact_id = row.contact_id.or(contact);
        row.quoted_message_id = row
            .quoted_message_id
            .or(one.message.quoted_message_id.as_deref());
    }

    async fn write(self, db: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<()> {
        if self.revisions.is_empty() {
            return Ok(());
        }
        let mut new: Vec<NewMessage<'_>> = self.messages.into_values().collect();
        new.sort_by_key(|message| message.id);
        messages::write(db, &new, &self.revisions, now).await?;
        if !self.edited.is_empty() {
            messages::mark_edited(db, &self.edited).await?;
        }
        if !self.attachments.is_empty() {
            messages::attach(db, &self.attachments, now).await?;
        }
        Ok(())
    }
}

impl<'a> Living<'a> {
    fn attachment(&self) -> NewAttachment<'a> {
        let resolved = &self.item.resolved;
        NewAttachment {
            message: self.found.id,
            channel_id: self.item.channel_id,
            kind: &self.message.kind,
            external: self.message.external,
            sender: resolved.contact.unwrap_or(resolved.conversation),
        }
    }

    fn revision(&self, keys: &Keys) -> Result<NewRevision<'a>, Error> {
        let event = self.item.event;
        let key = keys.of(self.item.resolved.conversation)?;
        Ok(NewRevision {
            message: self.found.id,
            webhook_event_id: &event.webhook_event_id,
            occurred_at: event.at,
            edited: self.message.edited,
            content: key.seal(SealContext::Message(self.found.id), &event.raw)?,
        })
    }
}

/// True for LINE's message types that come with a file.
pub fn is_file(kind: &str) -> bool {
    matches!(kind, "image" | "video" | "audio" | "file")
}
