//! Finds the contact and the conversation of each event of a batch, creates those that are new, and queues jobs for the
//! profiles and summaries that are due.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    incoming_event::{Change, EventKind, IncomingEvent},
    memory::{Learned, Memory, Person},
};
use crate::{
    line::event::Source,
    records::directory::{self, Wanted},
};

/// The rows that an event belongs to.
pub struct Resolved {
    /// The archive's id of the conversation that shows the event.
    pub conversation: Uuid,
    /// True for an event without a source; its conversation is the channel's own.
    pub without_source: bool,
    /// The contact whom LINE names in `source`; `None` if LINE names no user.
    pub contact: Option<Uuid>,
    /// Contacts whom the event shows to be in the conversation (true) or to have left it (false).
    pub members: Vec<(Uuid, bool)>,
}

impl Resolved {
    /// The conversation; `None` if LINE sent no source.
    pub fn source_conversation(&self) -> Option<Uuid> {
        (!self.without_source).then_some(self.conversation)
    }
}

/// Another replica may insert the same rows at the same moment, unseen by the first query; a later query finds them.
const TRIES: usize = 3;

/// Finds or creates all contacts and conversations of a batch, and queues the jobs that are due. The result has one
/// [`Resolved`] for each event, in the same order.
pub async fn resolve(
    db: &mut PgConnection,
    memory: &Memory,
    events: &[(i32, &IncomingEvent)],
    now: DateTime<Utc>,
) -> sqlx::Result<(Vec<Resolved>, Learned)> {
    let mut learned = Learned::default();
    let (people, due) = contacts(db, memory, events, now, &mut learned).await?;
    let conversations = conversations(db, memory, events, &people, now, &mut learned).await?;

    let mut resolved = Vec::with_capacity(events.len());
    let mut due_profiles: BTreeMap<Uuid, (i32, Uuid, Option<Uuid>)> = BTreeMap::new();
    for (channel_id, event) in events {
        let id_of = |user_id: &String| people.get(&(*channel_id, user_id.clone())).copied();
        let conversation = conversations
            .get(&(*channel_id, event.source.clone()))
            .copied();
        let conversation = conversation.ok_or(sqlx::Error::RowNotFound)?;
        let contact = event.user_id.as_ref().and_then(id_of);
        let in_group = matches!(event.source, Source::Group(_) | Source::Room(_));

        let mut members = vec![];
        if let EventKind::Other {
            change: Change::Members(user_ids, yes),
            ..
        } = &event.kind
        {
            members.extend(user_ids.iter().filter_map(id_of).map(|id| (id, *yes)));
        } else if let Some(contact) = contact.filter(|_| in_group)
            && !memory.is_present(conversation, contact, now)
        {
            members.push((contact, true));
        }
        for id in contact.iter().chain(members.iter().map(|(id, _)| id)) {
            if due.contains_key(id) {
                due_profiles.entry(*id).or_insert((
                    *channel_id,
                    *id,
                    in_group.then_some(conversation),
                ));
            }
        }
        learned.members.extend(
            members
                .iter()
                .map(|(id, yes)| (conversation, *id, *yes, event.at)),
        );
        resolved.push(Resolved {
            conversation,
            without_source: event.source == Source::Channel,
            contact,
            members,
        });
    }
    if !due_profiles.is_empty() {
        directory::queue_profile_jobs(db, &due_profiles.into_values().collect::<Vec<_>>(), now)
            .await?;
    }
    Ok((resolved, learned))
}

/// The ids of all users that an event names: its source and, for joins and leaves, the members.
fn named(event: &IncomingEvent) -> impl Iterator<Item = &String> {
    let members = match &event.kind {
        EventKind::Other {
            change: Change::Members(user_ids, _),
            ..
        } => user_ids.as_slice(),
        _ => &[],
    };
    event.user_id.iter().chain(members)
}

type Ids<K> = HashMap<K, Uuid>;

/// The key of a conversation: the archive's channel id and the source.
type ConversationKey = (i32, Source);

async fn contacts(
    db: &mut PgConnection,
    memory: &Memory,
    events: &[(i32, &IncomingEvent)],
    now: DateTime<Utc>,
    learned: &mut Learned,
) -> sqlx::Result<(Ids<Person>, Ids<Uuid>)> {
    let (mut ids, mut due) = (Ids::new(), Ids::new());
    let mut wanted: BTreeMap<Person, DateTime<Utc>> = BTreeMap::new();
    for (channel_id, event) in events {
        for user_id in named(event) {
            let person = (*channel_id, user_id.clone());
            match memory.contact(&person, now) {
                Some(id) => drop(ids.insert(person, id)),
                None => {
                    let at = wanted.entry(person).or_insert(event.at);
                    *at = event.at.max(*at);
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
        for found in directory::contacts(db, &channels, &user_ids, &at, now).await? {
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
    events: &[(i32, &IncomingEvent)],
    people: &Ids<Person>,
    now: DateTime<Utc>,
    learned: &mut Learned,
) -> sqlx::Result<Ids<ConversationKey>> {
    let (mut ids, mut wanted) = remembered_conversations(memory, events, now);
    let mut due = vec![];
    for _ in 0..TRIES {
        if wanted.is_empty() {
            break;
        }
        let rows: Vec<Wanted<'_>> = wanted
            .iter()
            .map(|(source, last_at)| conversation_row(source, *last_at, people))
            .collect();
        let by_name: HashMap<(i32, &str, &str), &ConversationKey> = wanted
            .keys()
            .map(|source| ((source.0, source.1.kind(), source.1.id()), source))
            .collect();
        for found in directory::conversations(db, &rows, now).await? {
            let name = (found.channel_id, &*found.kind, &*found.source_id);
            let Some(&source) = by_name.get(&name) else {
                continue;
            };
            ids.insert(source.clone(), found.id);
            learned.conversations.push((source.clone(), found.id));
            if found.due {
                due.push((source.0, found.id));
            }
        }
        wanted.retain(|source, _| !ids.contains_key(source));
    }
    if !due.is_empty() {
        directory::queue_summary_jobs(db, &due, now).await?;
    }
    Ok(ids)
}

/// The remembered ids of the events' conversations; and the conversations that are not remembered, with the time of
/// their newest event.
fn remembered_conversations(
    memory: &Memory,
    events: &[(i32, &IncomingEvent)],
    now: DateTime<Utc>,
) -> (
    Ids<ConversationKey>,
    BTreeMap<ConversationKey, DateTime<Utc>>,
) {
    let mut ids = Ids::new();
    let mut others: BTreeMap<ConversationKey, DateTime<Utc>> = BTreeMap::new();
    for (channel_id, event) in events {
        let source = (*channel_id, event.source.clone());
        match memory.conversation(&source, now) {
            Some(id) => drop(ids.insert(source, id)),
            None => {
                let last_at = others.entry(source).or_insert(event.at);
                *last_at = event.at.max(*last_at);
            }
        }
    }
    (ids, others)
}

fn conversation_row<'a>(
    (channel_id, source): &'a ConversationKey,
    last_at: DateTime<Utc>,
    people: &Ids<Person>,
) -> Wanted<'a> {
    Wanted {
        channel_id: *channel_id,
        kind: source.kind(),
        source_id: source.id(),
        contact_id: match source {
            Source::User(user_id) => people.get(&(*channel_id, user_id.clone())).copied(),
            _ => None,
        },
        last_at,
    }
}
