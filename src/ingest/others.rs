//! Events that are neither a message nor an unsend, and what they change: who follows, who is in which group.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    arrival::{Change, Meaning},
    batch::{Error, Item},
    keys::Keys,
};
use crate::{
    records::{
        events::{self, NewEvent},
        places::{self as rows, Standing},
    },
    seal::Place,
};

/// Writes them, and what they change.
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
        let at = item.arrival.at;
        let newest = |standing: &mut (bool, DateTime<Utc>), yes| {
            if standing.1 <= at {
                *standing = (yes, at);
            }
        };
        for (member, yes) in &item.placed.members {
            let key = (item.placed.conversation, *member);
            newest(members.entry(key).or_insert((*yes, at)), *yes);
        }
        let Meaning::Other { kind, change } = &item.arrival.meaning else {
            continue;
        };
        let (id, key) = (Uuid::now_v7(), keys.of(item.placed.conversation)?);
        others.push(NewEvent {
            id,
            channel_id: item.channel_id,
            webhook_event_id: &item.arrival.webhook_event_id,
            conversation_id: item.placed.conversation,
            contact_id: item.placed.contact,
            kind,
            occurred_at: at,
            content: key.seal(Place::Event(id), &item.arrival.raw)?,
        });
        match (change, item.placed.contact) {
            (Change::Follows(yes), Some(contact)) => {
                newest(follows.entry(contact).or_insert((*yes, at)), *yes);
            }
            (Change::Present(yes), _) => {
                newest(
                    presence
                        .entry(item.placed.conversation)
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
        rows::follows(db, &standings(follows)).await?;
    }
    if !presence.is_empty() {
        let mut places: Vec<Uuid> = items.iter().map(|item| item.placed.conversation).collect();
        places.sort_unstable();
        places.dedup();
        rows::lock(db, &places).await?;
        rows::presence(db, &standings(presence)).await?;
    }
    if !members.is_empty() {
        let members: Vec<_> = members
            .into_iter()
            .map(|((place, who), (yes, at))| (place, who, yes, at))
            .collect();
        rows::members(db, &members).await?;
    }
    Ok(())
}

fn standings(changes: BTreeMap<Uuid, (bool, DateTime<Utc>)>) -> Vec<Standing> {
    changes
        .into_iter()
        .map(|(id, (yes, at))| Standing { id, yes, at })
        .collect()
}
