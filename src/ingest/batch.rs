//! A batch of deliveries, of any channels, in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{
    Delivery,
    arrival::{Arrival, Meaning, Said},
    keys::Keys,
    memory::{Epoch, Memory},
    others,
    places::{self, Placed},
    plain,
};
use crate::{
    erasure,
    records::{
        channels,
        erasures::{Cause, Erased, NewErasure},
        holds,
        messages::{self, Mention, NewAttachment, NewMessage, NewRevision, Ref},
        news,
    },
    seal::{self, Keyring, Place},
};

/// Why a batch is not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// No key was left, and none was made in time.
    #[error("no key was at hand")]
    NoKey,
    /// An event could not be sealed.
    #[error(transparent)]
    Seal(#[from] seal::Error),
}

/// An event with its channel and where it belongs.
pub struct Item<'a> {
    /// The channel.
    pub channel_id: i32,
    /// The event.
    pub arrival: &'a Arrival,
    /// Where it belongs.
    pub placed: Placed,
}

/// Writes all events of all deliveries, or nothing. What is learned is believed if it is still the same `epoch` then.
///
/// # Errors
/// The transaction is rolled back then, or the connection is broken.
pub async fn write(
    db: &mut PgConnection,
    memory: &Memory,
    epoch: Epoch,
    keyring: &Keyring,
    deliveries: &[&Delivery],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let arrivals: Vec<(i32, &Arrival)> = deliveries
        .iter()
        .flat_map(|d| d.arrivals.iter().map(|arrival| (d.channel_id, arrival)))
        .collect();
    if plain::write(db, memory, keyring, &arrivals, now).await? {
        hear(db, memory, &arrivals, now).await;
        return Ok(());
    }
    let mut tx = db.begin().await?;
    if deliveries.iter().any(|delivery| delivery.erases()) {
        // Before any row is locked: whoever sets a hold waits for all who have entered.
        holds::enter(&mut tx).await?;
    }
    let (places, learned) = places::resolve(&mut tx, memory, &arrivals, now).await?;
    let items: Vec<Item<'_>> = arrivals
        .iter()
        .zip(places)
        .map(|(&(channel_id, arrival), placed)| Item {
            channel_id,
            arrival,
            placed,
        })
        .collect();

    let refs = meet(&mut tx, &items).await?;
    erase(&mut tx, &items, &refs, now).await?;
    let keys = Keys::obtain(&mut tx, keyring, &sealed(&items, &refs), now).await?;
    write_messages(&mut tx, &items, &refs, &keys, now).await?;
    others::write(&mut tx, &items, &keys, now).await?;
    touch(&mut tx, &items, &refs).await?;
    tx.commit().await?;
    keys.settle(keyring);
    memory.learn(learned, epoch, now);
    hear(db, memory, &arrivals, now).await;
    Ok(())
}

/// Puts on record, once a minute, which channels are heard from. Outside of the transaction, which must not wait for a
/// channel's row; if it fails, the next batch will do.
async fn hear(
    db: &mut PgConnection,
    memory: &Memory,
    arrivals: &[(i32, &Arrival)],
    now: DateTime<Utc>,
) {
    let mut heard: Vec<i32> = arrivals.iter().map(|(channel_id, _)| *channel_id).collect();
    heard.sort_unstable();
    heard.dedup();
    let heard = memory.unheard(&heard, now);
    if !heard.is_empty() && channels::heard(db, &heard, now).await.is_ok() {
        memory.hear(&heard, now);
    }
}

/// How many events of each conversation have to be sealed.
fn sealed(items: &[Item<'_>], refs: &HashMap<Key<'_>, Ref>) -> HashMap<Uuid, u32> {
    let mut counts = HashMap::new();
    for item in items {
        let kept = match (&item.arrival.meaning, item.said()) {
            (Meaning::Unsend(_), _) => false,
            (_, Some((key, _))) => refs.get(&key).is_some_and(|found| !found.gone),
            (_, None) => true,
        };
        if kept {
            *counts.entry(item.placed.conversation).or_default() += 1;
        }
    }
    counts
}

type Key<'a> = (i32, &'a str);

impl<'a> Item<'a> {
    fn said(&self) -> Option<(Key<'a>, &'a Said)> {
        match &self.arrival.meaning {
            Meaning::Message(said) => Some(((self.channel_id, said.message_id.as_str()), said)),
            _ => None,
        }
    }

    fn unsent(&self) -> Option<Key<'a>> {
        match &self.arrival.meaning {
            Meaning::Unsend(message_id) => Some((self.channel_id, message_id.as_str())),
            _ => None,
        }
    }
}

/// Locks every message id the batch speaks of, and lays its tombstones. In the order of the keys: `BTreeMap`.
async fn meet<'a>(
    db: &mut PgConnection,
    items: &[Item<'a>],
) -> sqlx::Result<HashMap<Key<'a>, Ref>> {
    let mut mentions: BTreeMap<Key<'a>, Mention<'a>> = BTreeMap::new();
    for item in items {
        let said = item.said().map(|(key, _)| key);
        let Some(key) = said.or_else(|| item.unsent()) else {
            continue;
        };
        let mention = mentions.entry(key).or_insert(Mention {
            channel_id: key.0,
            message_id: key.1,
            conversation_id: None,
            occurred_at: None,
            unsent_at: None,
        });
        let at = Some(item.arrival.at);
        mention.conversation_id = mention.conversation_id.or(item.placed.spoken_in());
        if said.is_some() {
            mention.occurred_at = mention.occurred_at.min(at).or(at);
        } else {
            mention.unsent_at = mention.unsent_at.or(at);
        }
    }
    if mentions.is_empty() {
        return Ok(HashMap::new());
    }
    let mentions: Vec<Mention<'a>> = mentions.into_values().collect();
    let refs = messages::meet(db, &mentions).await?;
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
                webhook_event_id: Some(&item.arrival.webhook_event_id),
                asked_at: item.arrival.at,
            })
        })
        .collect();
    if unsends.is_empty() {
        return Ok(());
    }
    erasure::erase(db, &unsends, Cause::Unsend, now).await?;
    Ok(())
}

async fn write_messages(
    db: &mut PgConnection,
    items: &[Item<'_>],
    refs: &HashMap<Key<'_>, Ref>,
    keys: &Keys,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let living: Vec<(&Item<'_>, &Said, &Ref)> = items
        .iter()
        .filter_map(|item| {
            let (key, said) = item.said()?;
            let found = refs.get(&key).filter(|found| !found.gone)?;
            Some((item, said, found))
        })
        .collect();
    if living.is_empty() {
        return Ok(());
    }
    let met_before: Vec<Uuid> = living
        .iter()
        .filter(|l| !l.2.fresh)
        .map(|l| l.2.id)
        .collect();
    let mut with_original: HashSet<Uuid> = match &met_before[..] {
        [] => HashSet::new(),
        ids => messages::with_original(db, ids)
            .await?
            .into_iter()
            .collect(),
    };

    let mut new: HashMap<Uuid, NewMessage<'_>> = HashMap::new();
    let (mut revisions, mut attachments, mut edited) = (vec![], vec![], vec![]);
    for (item, said, found) in living {
        if said.edited {
            edited.push(found.id);
        } else if !with_original.insert(found.id) {
            continue; // A redelivery, whatever its webhookEventId.
        }
        if is_file(&said.kind) && !said.edited {
            attachments.push(NewAttachment {
                message: found.id,
                channel_id: item.channel_id,
                kind: &said.kind,
                external: said.external,
                sender: item.placed.contact.unwrap_or(item.placed.conversation),
            });
        }
        let key = keys.of(item.placed.conversation)?;
        revisions.push(NewRevision {
            message: found.id,
            webhook_event_id: &item.arrival.webhook_event_id,
            occurred_at: item.arrival.at,
            edited: said.edited,
            content: key.seal(Place::Message(found.id), &item.arrival.raw)?,
        });
        let message = new.entry(found.id).or_insert(NewMessage {
            id: found.id,
            channel_id: item.channel_id,
            message_id: &said.message_id,
            conversation_id: item.placed.conversation,
            contact_id: item.placed.contact,
            kind: &said.kind,
            occurred_at: item.arrival.at,
            quoted_message_id: None,
        });
        message.occurred_at = message.occurred_at.min(item.arrival.at);
        message.contact_id = message.contact_id.or(item.placed.contact);
        message.quoted_message_id = message
            .quoted_message_id
            .or(said.quoted_message_id.as_deref());
    }
    if revisions.is_empty() {
        return Ok(());
    }
    let mut new: Vec<NewMessage<'_>> = new.into_values().collect();
    new.sort_by_key(|message| message.id);
    messages::write(db, &new, &revisions, now).await?;
    if !edited.is_empty() {
        messages::mark_edited(db, &edited).await?;
    }
    if !attachments.is_empty() {
        messages::attach(db, &attachments, now).await?;
    }
    Ok(())
}

/// True for LINE's message types that come with a file.
pub fn is_file(kind: &str) -> bool {
    matches!(kind, "image" | "video" | "audio" | "file")
}

async fn touch(
    db: &mut PgConnection,
    items: &[Item<'_>],
    refs: &HashMap<Key<'_>, Ref>,
) -> sqlx::Result<()> {
    let mut newest: BTreeMap<Uuid, DateTime<Utc>> = BTreeMap::new();
    for item in items {
        // LINE may not say where a message was unsent; its pages have to hear of it all the same.
        let erased_in = item
            .unsent()
            .and_then(|key| refs.get(&key)?.conversation_id);
        if let Some(place) = erased_in {
            newest.entry(place).or_insert(item.arrival.at);
        }
        let at = newest
            .entry(item.placed.conversation)
            .or_insert(item.arrival.at);
        *at = item.arrival.at.max(*at);
    }
    if newest.is_empty() {
        return Ok(());
    }
    news::touch(db, &newest.into_iter().collect::<Vec<_>>()).await
}
