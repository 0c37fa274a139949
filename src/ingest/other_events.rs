//! Writes events that are neither messages nor unsends, and applies their effects: who follows, who is in which group.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    batch::{Error, Item},
    incoming_event::{Change, EventKind},
    keys::Keys,
};
use crate::{
    records::{
        directory::{self, Standing},
        events::{self, NewEvent},
    },
    seal::SealContext,
};

/// Writes these events of a batch with their effects, and the memberships that all its events show. Of several changes
/// to the same row the one with the latest timestamp counts.
pub async fn write(
    db: &mut PgConnection,
    items: &[Item<'_>],
    keys: &Keys,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut others = vec![];
    let (mut follows, mut presence, mut members) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for item in items {
        let at = item.event.at;
        let newest = |standing: &mut (bool, DateTime<Utc>), yes| {
            if standing.1 <= at {
                *standing = (yes, at);
            }
        };
        for (member, yes) in &item.resolved.members {
            let key = (item.resolved.conversation, *member);
            newest(members.entry(key).or_insert((*yes, at)), *yes);
        }
        let EventKind::Other { kind, change } = &item.event.kind else {
            continue;
        };
        let (id, key) = (Uuid::now_v7(), keys.of(item.resolved.conversation)?);
        others.push(NewEvent {
            id,
            channel_id: item.channel_id,
            webhook_event_id: &item.event.webhook_event_id,
            conversation_id: item.resolved.conversation,
            contact_id: item.resolved.contact,
            kind,
            occurred_at: at,
            content: key.seal(SealContext::Event(id), &item.event.raw)?,
        });
        match (change, item.resolved.contact) {
            (Change::Follows(yes), Some(contact)) => {
                newest(follows.entry(contact).or_insert((*yes, at)), *yes);
            }
            (Change::Present(yes), _) => {
                newest(
                    presence
                        .entry(item.resolved.conversation)
                        .or_insert((*yes, at)),
                    *yes,
                );
            }
            _ => {}
        }
    }
    if !others.is_empty() {
        events::write(db, &others, now).await?;
    }
    if !follows.is_empty() {
        directory::follows(db, &standings(follows)).await?;
    }
    if !presence.is_empty() {
        let mut conversations: Vec<Uuid> = items
            .iter()
            .map(|item| item.resolved.conversation)
            .collect();
        conversations.sort_unstable();
        conversations.dedup();
        directory::lock(db, &conversations).await?;
        directory::presence(db, &standings(presence)).await?;
    }
    if !members.is_empty() {
        let members: Vec<_> = members
            .into_iter()
            .map(|((conversation, contact), (yes, at))| (conversation, contact, yes, at))
            .collect();
        directory::members(db, &members).await?;
    }
    Ok(())
}

fn standings(changes: BTreeMap<Uuid, (bool, DateTime<Utc>)>) -> Vec<Standing> {
    changes
        .into_iter()
        .map(|(id, (yes, at))| Standing { id, yes, at })
        .collect()
}
