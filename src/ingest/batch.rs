//! Writes a batch of deliveries, of any channels, in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{
    Delivery, directory, fast_path,
    incoming_event::{EventKind, IncomingEvent},
    item::{Error, Item, Key},
    keys::Keys,
    memory::{Epoch, Memory},
    message_events, other_events,
};
use crate::{
    erasure,
    records::{
        channels,
        erasures::{Cause, Erased, NewErasure},
        holds,
        messages::{self, Mention, Ref},
        notify, retention,
    },
    seal::Keyring,
};

/// Writes all events of all deliveries, or none of them. `memory` remembers the rows that were found or created, if its
/// epoch is still `epoch` after the commit.
///
/// # Errors
/// If a statement fails, no key is available or an event cannot be sealed. The transaction is then rolled back, or the
/// connection is broken.
pub async fn write(
    db: &mut PgConnection,
    memory: &Memory,
    epoch: Epoch,
    keyring: &Keyring,
    deliveries: &[&Delivery],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let events: Vec<(i32, &IncomingEvent)> = deliveries
        .iter()
        .flat_map(|d| d.events.iter().map(|event| (d.channel_id, event)))
        .collect();
    if fast_path::write(db, memory, keyring, &events, now).await? {
        note_late_arrivals(db, &events, now).await?;
        record_last_webhook(db, memory, &events, now).await;
        return Ok(());
    }
    let mut tx = db.begin().await?;
    if deliveries.iter().any(|delivery| delivery.erases()) {
        // Before any row is locked: a transaction that sets a hold waits for all transactions that have entered.
        holds::enter(&mut tx).await?;
    }
    let (resolved, learned) = directory::resolve(&mut tx, memory, &events, now).await?;
    let items: Vec<Item<'_>> = events
        .iter()
        .zip(resolved)
        .map(|(&(channel_id, event), resolved)| Item {
            channel_id,
            event,
            resolved,
        })
        .collect();

    let refs = lock_message_refs(&mut tx, &items).await?;
    erase(&mut tx, &items, &refs, now).await?;
    let keys = Keys::obtain(&mut tx, keyring, &count_to_seal(&items, &refs), now).await?;
    message_events::write(&mut tx, &items, &refs, &keys, now).await?;
    other_events::write(&mut tx, &items, &keys, now).await?;
    touch(&mut tx, &items, &refs).await?;
    tx.commit().await?;
    keys.settle(keyring);
    memory.learn(learned, epoch, now);
    note_late_arrivals(db, &events, now).await?;
    record_last_webhook(db, memory, &events, now).await;
    Ok(())
}

/// Lets retention rules examine the channels again whose events are too old for a pass to find them. It runs outside of the
/// transaction, because a pass locks a rule before messages. If it fails the batch is not acknowledged, and comes again.
async fn note_late_arrivals(
    db: &mut PgConnection,
    events: &[(i32, &IncomingEvent)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let oldest = now - retention::LATE_ARRIVALS;
    let late = events.iter().filter(|(_, event)| event.at < oldest);
    let channels: BTreeSet<i32> = late.map(|(channel_id, _)| *channel_id).collect();
    match channels.is_empty() {
        true => Ok(()),
        false => retention::examine_again(db, &Vec::from_iter(channels)).await,
    }
}

/// Writes the last-webhook time of the channels, at most once a minute for each. It runs outside of the transaction,
/// which must not wait for a channel's row. If it fails, the next batch writes the time.
async fn record_last_webhook(
    db: &mut PgConnection,
    memory: &Memory,
    events: &[(i32, &IncomingEvent)],
    now: DateTime<Utc>,
) {
    let mut ids: Vec<i32> = events.iter().map(|(channel_id, _)| *channel_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let ids = memory.without_recent_webhook(&ids, now);
    if !ids.is_empty() && channels::record_last_webhook(db, &ids, now).await.is_ok() {
        memory.remember_last_webhook(&ids, now);
    }
}

/// The number of events to seal in each conversation. Unsends are not sealed, nor are messages with a tombstone.
fn count_to_seal(items: &[Item<'_>], refs: &HashMap<Key<'_>, Ref>) -> HashMap<Uuid, u32> {
    let mut counts = HashMap::new();
    for item in items {
        let kept = match (&item.event.kind, item.message()) {
            (EventKind::Unsend(_), _) => false,
            (_, Some((key, _))) => refs.get(&key).is_some_and(|found| !found.gone),
            (_, None) => true,
        };
        if kept {
            *counts.entry(item.resolved.conversation).or_default() += 1;
        }
    }
    counts
}

/// Locks every message id that the batch names, and inserts the tombstones of its unsends. The `BTreeMap` keeps the
/// rows in the order of their keys, so that two replicas cannot deadlock.
async fn lock_message_refs<'a>(
    db: &mut PgConnection,
    items: &[Item<'a>],
) -> sqlx::Result<HashMap<Key<'a>, Ref>> {
    let mut mentions: BTreeMap<Key<'a>, Mention<'a>> = BTreeMap::new();
    for item in items {
        let message = item.message().map(|(key, _)| key);
        let Some(key) = message.or_else(|| item.unsent()) else {
            continue;
        };
        let mention = mentions.entry(key).or_insert(Mention {
            channel_id: key.0,
            message_id: key.1,
            conversation_id: None,
            occurred_at: None,
            unsent_at: None,
        });
        let at = Some(item.event.at);
        mention.conversation_id = mention
            .conversation_id
            .or(item.resolved.source_conversation());
        if message.is_some() {
            mention.occurred_at = mention.occurred_at.min(at).or(at);
        } else {
            mention.unsent_at = mention.unsent_at.or(at);
        }
    }
    if mentions.is_empty() {
        return Ok(HashMap::new());
    }
    let mentions: Vec<Mention<'a>> = mentions.into_values().collect();
    let refs = messages::lock_message_refs(db, &mentions).await?;
    let mut found: HashMap<Key<'_>, Ref> = HashMap::with_capacity(refs.len());
    let mut refs: HashMap<(i32, String), Ref> = refs
        .into_iter()
        .map(|found| ((found.channel_id, found.message_id.clone()), found))
        .collect();
    for mention in &mentions {
        let key = (mention.channel_id, mention.message_id.to_owned());
        if let Some(one) = refs.remove(&key) {
            found.insert((mention.channel_id, mention.message_id), one);
        }
    }
    Ok(found)
}

async fn erase(
    db: &mut PgConnection,
    items: &[Item<'_>],
    refs: &HashMap<Key<'_>, Ref>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut seen = HashSet::new();
    let unsends: Vec<NewErasure<'_>> = items
        .iter()
        .filter_map(|item| {
            let key = item.unsent().filter(|key| seen.insert(*key))?;
            let found = refs.get(&key)?;
            Some(NewErasure {
                id: Uuid::now_v7(),
                channel_id: key.0,
                erased: Erased::Message(key.1),
                target: found.id,
                conversation_id: found.conversation_id,
                webhook_event_id: Some(&item.event.webhook_event_id),
                requested_at: item.event.at,
            })
        })
        .collect();
    if unsends.is_empty() {
        return Ok(());
    }
    erasure::erase(db, &unsends, Cause::Unsend, now).await?;
    Ok(())
}

async fn touch(
    db: &mut PgConnection,
    items: &[Item<'_>],
    refs: &HashMap<Key<'_>, Ref>,
) -> sqlx::Result<()> {
    let mut newest: BTreeMap<Uuid, DateTime<Utc>> = BTreeMap::new();
    for item in items {
        // LINE may omit the source of an unsend; the pages of the message's conversation are notified all the same.
        let erased_in = item
            .unsent()
            .and_then(|key| refs.get(&key)?.conversation_id);
        if let Some(place) = erased_in {
            newest.entry(place).or_insert(item.event.at);
        }
        let at = newest
            .entry(item.resolved.conversation)
            .or_insert(item.event.at);
        *at = item.event.at.max(*at);
    }
    if newest.is_empty() {
        return Ok(());
    }
    notify::touch(db, &newest.into_iter().collect::<Vec<_>>()).await
}
