//! Reads a page of a conversation from the database.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Context, Entry, Face, Row, Sender, Thread,
    album::{self, Edges},
    compose, quote,
};
use crate::web::{
    conversation::{cursor, list::ListState, names, preview},
    when::Now,
};
use crate::{
    line::event::Event,
    records::{
        conversations::{Conversation, Cursor, EntryKind},
        timeline::{self, Revision},
    },
    seal::Keyring,
};

/// Entries of one page.
const PAGE: usize = 60;

/// Reads a page in a fixed number of queries, and one more for each edge that cuts through an album. `stickers`: show
/// the pictures of stickers, which come from LINE's host.
pub(in crate::web) async fn load(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation: &Conversation,
    state: &ListState,
    before: Option<Cursor>,
    now: Now,
    stickers: bool,
) -> sqlx::Result<Thread> {
    let id = conversation.id;
    let whose = (conversation, id);
    let (entries, older) = page(conn, keyring, whose, state, before, now, stickers).await?;
    Ok(Thread {
        entries,
        older: older.map(|cursor| state.thread(id, Some(cursor::text(cursor)))),
        newest: before.map(|_| state.thread(id, None)),
    })
}

/// Reads a page of the messages that a hold on the conversation withholds.
pub(in crate::web) async fn withheld(
    conn: &mut PgConnection,
    keyring: &Keyring,
    (conversation, hold): (&Conversation, Uuid),
    before: Option<Cursor>,
    now: Now,
) -> sqlx::Result<Thread> {
    let state = ListState::default();
    let whose = (conversation, hold);
    let (entries, older) = page(conn, keyring, whose, &state, before, now, false).await?;
    let link = |cursor| format!("/holds/{hold}?before={}", cursor::text(cursor));
    Ok(Thread {
        entries,
        older: older.map(link),
        newest: before.map(|_| format!("/holds/{hold}")),
    })
}

/// Reads a page of the entries that belong to `id`: the conversation itself, or a hold on it. Also returns the cursor
/// at which the page before it begins.
async fn page(
    conn: &mut PgConnection,
    keyring: &Keyring,
    (conversation, id): (&Conversation, Uuid),
    state: &ListState,
    before: Option<Cursor>,
    now: Now,
    stickers: bool,
) -> sqlx::Result<(Vec<Entry>, Option<Cursor>)> {
    let from = before.unwrap_or(Cursor::NEWEST);
    let mut entries = timeline::page(conn, keyring, id, from, PAGE as i64 + 1).await?;
    let more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let oldest = entries.last().map(|entry| Cursor {
        at: entry.occurred_at,
        id: entry.id,
    });
    let newest = entries.first().map(|entry| entry.occurred_at);
    let rows = read(conn, keyring, entries).await?;
    let edges = Edges {
        older: oldest.filter(|_| more),
        newer: newest.filter(|_| before.is_some()),
    };
    let (senders, by_user_id) = people(conn, keyring, conversation, &rows).await?;
    let context = Context {
        now,
        stickers,
        senders,
        by_user_id,
        quotes: quote::load(conn, keyring, conversation, state, &rows).await?,
        beyond: album::load(conn, keyring, id, edges.cutting_sets(&rows)).await?,
        edges,
    };
    Ok((compose(rows, &context), edges.older))
}

/// Reads and parses the contents of the entries. Returns the rows oldest first.
async fn read(
    conn: &mut PgConnection,
    keyring: &Keyring,
    entries: Vec<timeline::Entry>,
) -> sqlx::Result<Vec<Row>> {
    let ids: Vec<_> = entries
        .iter()
        .filter(|entry| entry.entry_kind == EntryKind::Message)
        .map(|entry| entry.id)
        .collect();
    let mut revisions: HashMap<Uuid, Vec<Revision>> = HashMap::new();
    for revision in timeline::revisions(conn, keyring, &ids).await? {
        revisions
            .entry(revision.message_id)
            .or_default()
            .push(revision);
    }
    let rows = entries.into_iter().rev().map(|mut entry| {
        let mut revisions = revisions.remove(&entry.id).unwrap_or_default().into_iter();
        let raw = revisions.next().and_then(|revision| revision.content);
        let raw = raw.or_else(|| entry.content.take());
        Row {
            event: preview::parse(raw.as_deref()),
            is_opened: raw.is_some(),
            earlier: revisions
                .filter_map(|revision| {
                    Some((
                        revision.occurred_at,
                        preview::parse(revision.content.as_deref())?,
                    ))
                })
                .collect(),
            entry,
        }
    });
    Ok(rows.collect())
}

/// Reads everybody who is named on the page: by our id, and our ids by LINE's user id.
async fn people(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation: &Conversation,
    rows: &[Row],
) -> sqlx::Result<(HashMap<Uuid, Sender>, HashMap<String, Uuid>)> {
    let ids: Vec<_> = rows.iter().filter_map(|row| row.entry.contact_id).collect();
    let user_ids: Vec<_> = rows
        .iter()
        .filter(|row| row.entry.entry_kind == EntryKind::Event)
        .filter_map(|row| row.event.as_ref())
        .flat_map(Event::members)
        .collect();
    let people = timeline::people(conn, keyring, conversation.channel_id, &ids, &user_ids).await?;
    let (mut senders, mut by_user_id) = (HashMap::new(), HashMap::new());
    for person in people {
        let name = names::person(person.profile.as_deref(), &person.user_id);
        let face = Face::new(person.id, &name, "contacts", person.picture_key.as_deref());
        let document = names::Document::read(person.profile.as_deref());
        let sender = Sender {
            name,
            face,
            language: document.text("language").map(str::to_owned),
        };
        by_user_id.insert(person.user_id, person.id);
        senders.insert(person.id, sender);
    }
    Ok((senders, by_user_id))
}
