//! Which contact and which conversation each event of a batch belongs to; those that are new are made, and what LINE
//! has to be asked about them is asked for.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    arrival::{Arrival, Change, Meaning},
    memory::{Learned, Memory, Person},
};
use crate::{
    line::event::Place,
    records::places::{self as rows, Wanted},
};

/// Where an event belongs.
pub struct Placed {
    /// The conversation it is shown in.
    pub conversation: Uuid,
    /// True for events without a source, which are shown with the channel.
    pub nowhere: bool,
    /// Whom LINE named as the source.
    pub contact: Option<Uuid>,
    /// Who is now in the conversation, or out of it, by this event.
    pub members: Vec<(Uuid, bool)>,
}

impl Placed {
    /// The conversation, unless LINE did not say where.
    pub fn spoken_in(&self) -> Option<Uuid> {
        (!self.nowhere).then_some(self.conversation)
    }
}

/// Another replica may make the same rows at the same moment; asked again they are there.
const TRIES: usize = 3;

/// Finds or makes all contacts and conversations of a batch.
pub async fn resolve(
    db: &mut PgConnection,
    memory: &Memory,
    arrivals: &[(i32, &Arrival)],
    now: DateTime<Utc>,
) -> sqlx::Result<(Vec<Placed>, Learned)> {
    let mut learned = Learned::default();
    let (people, due) = contacts(db, memory, arrivals, now, &mut learned).await?;
    let places = conversations(db, memory, arrivals, &people, now, &mut learned).await?;

    let mut placed = Vec::with_capacity(arrivals.len());
    let mut asked: BTreeMap<Uuid, (i32, Uuid, Option<Uuid>)> = BTreeMap::new();
    for (channel_id, arrival) in arrivals {
        let id_of = |user_id: &String| people.get(&(*channel_id, user_id.clone())).copied();
        let conversation = places
            .get(&(*channel_id, arrival.source.place.clone()))
            .copied();
        let conversation = conversation.ok_or(sqlx::Error::RowNotFound)?;
        let contact = arrival.source.user_id.as_ref().and_then(id_of);
        let in_group = matches!(arrival.source.place, Place::Group(_) | Place::Room(_));

        let mut members = vec![];
        if let Meaning::Other {
            change: Change::Members(user_ids, yes),
            ..
        } = &arrival.meaning
        {
            members.extend(user_ids.iter().filter_map(id_of).map(|id| (id, *yes)));
        } else if let Some(contact) = contact.filter(|_| in_group)
            && !memory.is_present(conversation, contact, now)
        {
            members.push((contact, true));
        }
        for id in contact.iter().chain(members.iter().map(|(id, _)| id)) {
            if due.contains_key(id) {
                asked
                    .entry(*id)
                    .or_insert((*channel_id, *id, in_group.then_some(conversation)));
            }
        }
        learned.members.extend(
            members
                .iter()
                .map(|(id, yes)| (conversation, *id, *yes, arrival.at)),
        );
        placed.push(Placed {
            conversation,
            nowhere: arrival.source.place == Place::Channel,
            contact,
            members,
        });
    }
    if !asked.is_empty() {
        rows::ask_for_profiles(db, &asked.into_values().collect::<Vec<_>>(), now).await?;
    }
    Ok((placed, learned))
}

/// Every person an event names: its source and, for joins and leaves, the members.
fn named(arrival: &Arrival) -> impl Iterator<Item = &String> {
    let members = match &arrival.meaning {
        Meaning::Other {
            change: Change::Members(user_ids, _),
            ..
        } => user_ids.as_slice(),
        _ => &[],
    };
    arrival.source.user_id.iter().chain(members)
}

type Ids<K> = HashMap<K, Uuid>;

async fn contacts(
    db: &mut PgConnection,
    memory: &Memory,
    arrivals: &[(i32, &Arrival)],
    now: DateTime<Utc>,
    learned: &mut Learned,
) -> sqlx::Result<(Ids<Person>, Ids<Uuid>)> {
    let (mut ids, mut due) = (Ids::new(), Ids::new());
    let mut wanted: BTreeMap<Person, DateTime<Utc>> = BTreeMap::new();
    for (channel_id, arrival) in arrivals {
        for user_id in named(arrival) {
            let person = (*channel_id, user_id.clone());
            match memory.contact(&person, now) {
                Some(id) => drop(ids.insert(person, id)),
                None => {
                    let at = wanted.entry(person).or_insert(arrival.at);
                    *at = arrival.at.max(*at);
                }
            }
        }
    }
    for _ in 0..TRIES {
        if wanted.is_empty() {
            break;
        }
        let channels: Vec<i32> = wanted.keys().map(|(channel, _)| *channel).collect();
        let user_ids: Vec<&str> = wanted.keys().map(|(_, user_id)| user_id.as_str()).collect();
        let at: Vec<DateTime<Utc>> = wanted.values().copied().collect();
        for found in rows::contacts(db, &channels, &user_ids, &at, now).await? {
            let person = (found.channel_id, found.user_id);
            ids.insert(person.clone(), found.id);
            learned.contacts.push((person, found.id));
            if found.due {
                due.insert(found.id, found.id);
            }
        }
        wanted.retain(|person, _| !ids.contains_key(person));
    }
    Ok((ids, due))
}

async fn conversations(
    db: &mut PgConnection,
    memory: &Memory,
    arrivals: &[(i32, &Arrival)],
    people: &Ids<Person>,
    now: DateTime<Utc>,
    learned: &mut Learned,
) -> sqlx::Result<Ids<(i32, Place)>> {
    let mut ids = Ids::new();
    let mut wanted: BTreeMap<(i32, Place), DateTime<Utc>> = BTreeMap::new();
    for (channel_id, arrival) in arrivals {
        let place = (*channel_id, arrival.source.place.clone());
        match memory.conversation(&place, now) {
            Some(id) => drop(ids.insert(place, id)),
            None => {
                let last_at = wanted.entry(place).or_insert(arrival.at);
                *last_at = arrival.at.max(*last_at);
            }
        }
    }
    let mut wanted: Vec<_> = wanted.into_iter().collect();
    let mut due = vec![];
    for _ in 0..TRIES {
        if wanted.is_empty() {
            break;
        }
        let rows: Vec<Wanted<'_>> = wanted
            .iter()
            .map(|((channel_id, place), last_at)| Wanted {
                channel_id: *channel_id,
                kind: place.kind(),
                source_id: place.id(),
                contact_id: match place {
                    Place::User(user_id) => people.get(&(*channel_id, user_id.clone())).copied(),
                    _ => None,
                },
                last_at: *last_at,
            })
            .collect();
        let by_name: HashMap<(i32, &str, &str), &(i32, Place)> = wanted
            .iter()
            .map(|(place, _)| ((place.0, place.1.kind(), place.1.id()), place))
            .collect();
        for found in rows::conversations(db, &rows, now).await? {
            let name = (found.channel_id, &*found.kind, &*found.source_id);
            let Some(&place) = by_name.get(&name) else {
                continue;
            };
            ids.insert(place.clone(), found.id);
            learned.conversations.push((place.clone(), found.id));
            if found.due {
                due.push((place.0, found.id));
            }
        }
        wanted.retain(|(place, _)| !ids.contains_key(place));
    }
    if !due.is_empty() {
        rows::ask_for_summaries(db, &due, now).await?;
    }
    Ok(ids)
}
