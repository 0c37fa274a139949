//! The thread pane: a page of one conversation, oldest at the top.

mod album;
mod event;
mod load;
mod media;
mod message;
mod quote;
mod raw;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

pub(super) use album::{Album, Slot};
pub(super) use event::System;
pub(super) use load::{load, withheld};
pub(super) use media::{File, Media, file, image, playable};
pub(super) use quote::Quote;

use album::Albums;

use super::{
    names::{self, Face, Name},
    text::Piece,
    when::{Now, When},
};
use crate::{line::event::Event, records::timeline};

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

/// Rows become entries: days, runs and albums are found here.
fn compose(rows: Vec<Row>, context: &Context) -> (Vec<Entry>, Albums) {
    let mut entries: Vec<Entry> = Vec::with_capacity(rows.len());
    let mut albums = Albums::default();
    let mut day = None;
    let mut run: Option<(Option<Uuid>, DateTime<Utc>)> = None;
    let mut gone_at = None;
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
                body:
                    Body::Erased {
                        by: before,
                        count,
                        at,
                    },
                ..
            }) = entries.last_mut()
            && before == by
        {
            *count += 1;
            if row.entry.gone_at > gone_at {
                gone_at = row.entry.gone_at;
                *at = gone_at.map(|at| context.now.dated(at));
            }
            continue;
        }
        gone_at = row.entry.gone_at;
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
