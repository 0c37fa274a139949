//! The thread pane: a page of one conversation, oldest at the top.

mod album;
mod event;
mod media;
mod message;
mod quote;
mod raw;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub(super) use album::{Album, Slot};
pub(super) use event::System;
pub(super) use media::{File, Media, file, image, playable};
pub(super) use quote::Quote;

use album::Albums;

use super::{
    cursor,
    list::Place,
    names::{self, Face, Name},
    preview,
    text::Piece,
    when::{Now, When},
};
use crate::{
    line::event::Event,
    records::{
        conversations::{Conversation, Cursor},
        timeline::{self, Revision},
    },
    seal::Keyring,
};

/// Entries of one page.
const PAGE: usize = 60;
/// Messages of one person closer than this stand together.
const RUN: TimeDelta = TimeDelta::minutes(10);

/// A page of a conversation.
pub(super) struct Thread {
    pub(super) entries: Vec<Entry>,
    /// Where the earlier messages are.
    pub(super) older: Option<String>,
    /// Where the newest are, if they are not here.
    pub(super) newest: Option<String>,
}

/// One thing that happened.
pub(super) struct Entry {
    pub(super) id: Uuid,
    /// The day, where a new one begins.
    pub(super) day: Option<String>,
    pub(super) when: When,
    /// Who, where the run of one person's messages begins.
    pub(super) sender: Option<Sender>,
    /// Earlier forms, newest first; empty if it was never edited.
    pub(super) edits: Vec<Edit>,
    pub(super) quote: Option<Quote>,
    pub(super) body: Body,
}

/// Who wrote.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) name: Name,
    pub(super) face: Face,
    /// The language of the profile, which decides about characters several languages share.
    language: Option<String>,
}

/// What a message said before.
pub(super) struct Edit {
    pub(super) when: When,
    pub(super) body: Body,
}

/// What is shown of an entry.
pub(super) enum Body {
    /// A text bubble.
    Text {
        pieces: Vec<Piece>,
        lang: Option<&'static str>,
    },
    /// One picture or several that were sent together.
    Photos(Album),
    Video(Media),
    Audio(Media),
    File(File),
    Location {
        title: Vec<Piece>,
        address: Vec<Piece>,
        lang: Option<&'static str>,
        map: Option<String>,
    },
    Sticker {
        text: Vec<Piece>,
        /// LINE's numbers of the sticker and of its package.
        number: String,
        package: String,
        /// Where LINE has its picture, if it is to be shown.
        picture: Option<String>,
        keywords: Vec<Vec<Piece>>,
    },
    /// A quiet line.
    System(System),
    /// The place of a message that was unsent, and when that was.
    Unsent(Option<When>),
    /// The places of so many messages in a row that were erased: by what, and when the last of them was.
    Erased {
        by: &'static str,
        at: Option<When>,
        count: usize,
    },
    /// A tile that opens its fields.
    Unknown {
        label: Vec<Piece>,
        fields: Option<Vec<Piece>>,
    },
}

impl Body {
    /// True for what a person said: it stands at the side of who said it.
    pub(super) fn is_said(&self) -> bool {
        !matches!(
            self,
            Self::System(_) | Self::Unsent(_) | Self::Erased { .. }
        )
    }

    /// True for an album: each of its pictures is a message.
    pub(super) fn is_several(&self) -> bool {
        matches!(self, Self::Photos(album) if album.is_several())
    }

    /// True for the bodies that stand in a bubble.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Text { .. })
    }
}

/// What has to be at hand to make entries of rows.
struct Context {
    now: Now,
    /// Stickers have their pictures.
    stickers: bool,
    senders: HashMap<Uuid, Sender>,
    by_user_id: HashMap<String, Uuid>,
    quotes: HashMap<String, Quote>,
}

impl Context {
    fn name(&self, contact: Option<Uuid>) -> Option<Name> {
        Some(self.senders.get(&contact?)?.name.clone())
    }

    fn name_by_user_id(&self, user_id: &str) -> Name {
        self.name(self.by_user_id.get(user_id).copied())
            .unwrap_or_else(|| names::person(None, user_id))
    }
}

/// A row, with its content read.
struct Row {
    entry: timeline::Entry,
    /// The event that counts; `None` if it can't be read.
    event: Option<Event>,
    earlier: Vec<(DateTime<Utc>, Event)>,
}

/// Reads a page in a fixed number of queries, and two more for each edge that cuts through an album. `stickers`: with their
/// pictures, which come from LINE.
pub(super) async fn load(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation: &Conversation,
    place: &Place,
    before: Option<Cursor>,
    now: Now,
    stickers: bool,
) -> sqlx::Result<Thread> {
    let id = conversation.id;
    let whose = (conversation, id);
    let (entries, older) = page(conn, keyring, whose, place, before, now, stickers).await?;
    Ok(Thread {
        entries,
        older: older.map(|cursor| place.thread(id, Some(cursor::text(cursor)))),
        newest: before.map(|_| place.thread(id, None)),
    })
}

/// Reads what a hold on the conversation withholds of it.
pub(super) async fn withheld(
    conn: &mut PgConnection,
    keyring: &Keyring,
    (conversation, hold): (&Conversation, Uuid),
    before: Option<Cursor>,
    now: Now,
) -> sqlx::Result<Thread> {
    let place = Place::default();
    let whose = (conversation, hold);
    let (entries, older) = page(conn, keyring, whose, &place, before, now, false).await?;
    let link = |cursor| format!("/holds/{hold}?before={}", cursor::text(cursor));
    Ok(Thread {
        entries,
        older: older.map(link),
        newest: before.map(|_| format!("/holds/{hold}")),
    })
}

/// A page of what belongs to `id`: the conversation itself, or a hold on it. And where the page before it begins.
async fn page(
    conn: &mut PgConnection,
    keyring: &Keyring,
    (conversation, id): (&Conversation, Uuid),
    place: &Place,
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
    let context = Context {
        now,
        stickers,
        quotes: quote::load(conn, keyring, conversation, place, &rows).await?,
        ..people(conn, keyring, conversation, &rows, now).await?
    };
    let (mut entries, albums) = compose(rows, &context);
    let (older, newer) = (oldest.filter(|_| more), newest.filter(|_| before.is_some()));
    albums
        .complete(conn, keyring, id, &mut entries, older, newer)
        .await?;
    Ok((entries, older))
}

/// Reads the contents; oldest first.
async fn read(
    conn: &mut PgConnection,
    keyring: &Keyring,
    entries: Vec<timeline::Entry>,
) -> sqlx::Result<Vec<Row>> {
    let ids: Vec<_> = entries
        .iter()
        .filter(|entry| entry.what == "message")
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

/// Everybody who is named on the page.
async fn people(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation: &Conversation,
    rows: &[Row],
    now: Now,
) -> sqlx::Result<Context> {
    let ids: Vec<_> = rows.iter().filter_map(|row| row.entry.contact_id).collect();
    let user_ids: Vec<_> = rows
        .iter()
        .filter(|row| row.entry.what == "event")
        .filter_map(|row| row.event.as_ref())
        .flat_map(Event::members)
        .collect();
    let people = timeline::people(conn, keyring, conversation.channel_id, &ids, &user_ids).await?;
    let mut context = Context {
        now,
        stickers: false,
        senders: HashMap::new(),
        by_user_id: HashMap::new(),
        quotes: HashMap::new(),
    };
    for person in people {
        let name = names::person(person.profile.as_deref(), &person.user_id);
        let face = Face::new(person.id, &name, "contacts", person.picture_key.as_deref());
        let document = names::Document::read(person.profile.as_deref());
        let sender = Sender {
            name,
            face,
            language: document.text("language").map(str::to_owned),
        };
        context.by_user_id.insert(person.user_id, person.id);
        context.senders.insert(person.id, sender);
    }
    Ok(context)
}

/// Rows become entries: days, runs and albums are found here.
fn compose(rows: Vec<Row>, context: &Context) -> (Vec<Entry>, Albums) {
    let mut entries: Vec<Entry> = Vec::with_capacity(rows.len());
    let mut albums = Albums::default();
    let mut day = None;
    let mut run: Option<(Option<Uuid>, DateTime<Utc>)> = None;
    for row in rows {
        if let Some(set) = album::set_of(&row) {
            let next = entries.len();
            if albums.join(&row, &set, next, &mut entries) {
                continue;
            }
        }
        if matches!(row.entry.what.as_str(), "unsent" | "erased") {
            albums.note_gone(row.entry.occurred_at);
        }
        let occurred_at = row.entry.occurred_at;
        let contact = row.entry.contact_id;
        let body = body(&row, context);
        let today = Some(context.now.date(occurred_at));
        let new_day = today.filter(|_| day != today);
        day = today;
        // A rule erases thousands of messages in a row: one line for them, not pages.
        if let Body::Erased { by, .. } = &body
            && new_day.is_none()
            && let Some(Entry {
                body: Body::Erased {
                    by: before, count, ..
                },
                ..
            }) = entries.last_mut()
            && before == by
        {
            *count += 1;
            continue;
        }
        let goes_on = new_day.is_none()
            && run.is_some_and(|(who, at)| who == contact && occurred_at - at < RUN);
        run = body.is_said().then_some((contact, occurred_at));
        let sender = contact.and_then(|id| context.senders.get(&id));
        let earlier = row.earlier.iter().map(|(at, event)| Edit {
            when: context.now.dated(*at),
            body: message::body(event, &row.entry, sender, context.stickers),
        });
        entries.push(Entry {
            id: row.entry.id,
            day: new_day.map(|day| context.now.day(day)),
            when: context.now.hour(occurred_at),
            sender: sender.filter(|_| body.is_said() && !goes_on).cloned(),
            edits: earlier.collect(),
            quote: row
                .entry
                .quoted_message_id
                .map(|id| context.quotes.get(&id).cloned().unwrap_or(Quote::Unknown)),
            body,
        });
    }
    (entries, albums)
}

fn body(row: &Row, context: &Context) -> Body {
    match (row.entry.what.as_str(), &row.event) {
        ("unsent", _) => Body::Unsent(gone(row, context)),
        ("erased", _) => Body::Erased {
            by: erased_by(&row.entry.kind),
            at: gone(row, context),
            count: 1,
        },
        (_, None) => raw::unreadable(&row.entry.kind),
        ("event", Some(event)) => event::body(event, row.entry.contact_id, context),
        (_, Some(event)) => {
            let sender = row.entry.contact_id.and_then(|id| context.senders.get(&id));
            message::body(event, &row.entry, sender, context.stickers)
        }
    }
}

/// When it was unsent or erased.
fn gone(row: &Row, context: &Context) -> Option<When> {
    let now = context.now;
    row.entry
        .gone_at
        .map(|at| match now.date(at) == now.date(row.entry.occurred_at) {
            true => now.hour(at),
            false => now.dated(at),
        })
}

/// A cause in words, after "erased".
pub(super) fn erased_by(cause: &str) -> &'static str {
    match cause {
        "retention" => "by retention",
        "subject" => "on request",
        _ => "by an operator",
    }
}
