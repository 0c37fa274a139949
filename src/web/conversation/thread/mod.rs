//! The thread pane: a page of one conversation, oldest at the top.

mod album;
mod event;
mod load;
mod media;
mod message;
mod quote;
mod raw;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use uuid::Uuid;

pub(in crate::web) use album::{Album, Slot};
pub(in crate::web) use event::System;
pub(in crate::web) use load::{load, withheld};
pub(in crate::web) use media::{File, Media, file, image, playable};
pub(in crate::web) use quote::Quote;
pub(in crate::web) use raw::why_unreadable;

use album::{Albums, Beyond, Edges};

use super::{
    names::{self, Face, Name},
    text::Piece,
};
use crate::web::when::{Now, When};
use crate::{
    line::event::Event,
    records::{conversations::EntryKind, timeline},
};

/// Messages of one person that are less than this apart are shown as one run.
const RUN: TimeDelta = TimeDelta::minutes(10);

/// A page of a conversation.
pub(in crate::web) struct Thread {
    pub(in crate::web) entries: Vec<Entry>,
    /// Address of the page with the earlier messages; `None` if there are none.
    pub(in crate::web) older: Option<String>,
    /// Address of the newest page; `None` if this is it.
    pub(in crate::web) newest: Option<String>,
}

/// An entry of the thread: a message, another event, or the line in place of unsent or erased messages.
pub(in crate::web) struct Entry {
    pub(in crate::web) id: Uuid,
    /// The day, if this is its first entry on the page.
    pub(in crate::web) day: Option<String>,
    pub(in crate::web) when: When,
    /// The sender, if a run of one person's messages begins here.
    pub(in crate::web) sender: Option<Sender>,
    /// Earlier revisions, newest first; empty if the message was never edited.
    pub(in crate::web) edits: Vec<Edit>,
    pub(in crate::web) quote: Option<Quote>,
    pub(in crate::web) body: Body,
}

/// The sender of a message.
#[derive(Clone)]
pub(in crate::web) struct Sender {
    pub(in crate::web) name: Name,
    pub(in crate::web) face: Face,
    /// Language of the profile. It decides the language of characters that several languages share.
    language: Option<String>,
}

/// An earlier revision of a message.
pub(in crate::web) struct Edit {
    pub(in crate::web) when: When,
    pub(in crate::web) body: Body,
}

/// The content of an entry.
pub(in crate::web) enum Body {
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
        /// Address of the picture on LINE's host, if pages show pictures of stickers.
        picture: Option<String>,
        keywords: Vec<Vec<Piece>>,
    },
    /// A line about an event.
    System(System),
    /// The line in place of an unsent message, with the time of the unsend.
    Unsent(Option<When>),
    /// The line in place of `count` erased messages in a row, with the cause in words and the time of the last erasure.
    Erased {
        by: &'static str,
        at: Option<When>,
        count: usize,
    },
    /// A message or event that is not understood: a tile that opens its fields.
    Unknown {
        label: Vec<Piece>,
        fields: Vec<Piece>,
    },
    /// A message or event that cannot be read, and why.
    Unreadable {
        label: Vec<Piece>,
        why: &'static str,
    },
}

impl Body {
    /// True for content that a person sent: it is shown beside its sender.
    pub(in crate::web) fn is_said(&self) -> bool {
        !matches!(
            self,
            Self::System(_) | Self::Unsent(_) | Self::Erased { .. }
        )
    }

    /// True for an album of several pictures: each of them is a message.
    pub(in crate::web) fn is_several(&self) -> bool {
        matches!(self, Self::Photos(album) if album.is_several())
    }

    /// True for the bodies that are shown in a bubble.
    pub(in crate::web) fn is_text(&self) -> bool {
        matches!(self, Self::Text { .. })
    }
}

/// Everything besides the rows that [`compose`] needs.
struct Context {
    now: Now,
    /// True: stickers are shown with their pictures.
    stickers: bool,
    senders: HashMap<Uuid, Sender>,
    by_user_id: HashMap<String, Uuid>,
    quotes: HashMap<String, Quote>,
    edges: Edges,
    beyond: Vec<Beyond>,
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

/// A row of the timeline, with its content parsed.
struct Row {
    entry: timeline::Entry,
    /// The newest revision of the message, or the event; `None` if it cannot be read.
    event: Option<Event>,
    /// True if the bytes of the newest revision, or of the event, could be decrypted.
    is_opened: bool,
    earlier: Vec<(DateTime<Utc>, Event)>,
}

/// Makes entries of rows, and finds the days, runs and albums.
fn compose(rows: Vec<Row>, context: &Context) -> Vec<Entry> {
    let mut composer = Composer {
        context,
        entries: Vec::with_capacity(rows.len()),
        albums: Albums::default(),
        day: None,
        run: None,
        gone_at: None,
    };
    for row in rows {
        composer.add(row);
    }
    let Composer {
        mut entries,
        albums,
        ..
    } = composer;
    albums.complete(&mut entries, context);
    entries
}

/// The entries so far, and what the next one depends on.
struct Composer<'a> {
    context: &'a Context,
    entries: Vec<Entry>,
    albums: Albums,
    /// The day of the last entry.
    day: Option<NaiveDate>,
    /// Sender and time of the last entry, if a person sent it.
    run: Option<(Option<Uuid>, DateTime<Utc>)>,
    /// The latest time at which a message of the last entry was unsent or erased.
    gone_at: Option<DateTime<Utc>>,
}

impl Composer<'_> {
    fn add(&mut self, row: Row) {
        if self.join_album(&row) {
            return;
        }
        let occurred_at = row.entry.occurred_at;
        if matches!(row.entry.entry_kind, EntryKind::Unsent | EntryKind::Erased) {
            self.albums.note_erased(occurred_at);
        }
        let body = body(&row, self.context);
        let new_day = self.turn_to_day_of(occurred_at);
        if new_day.is_none() && self.join_erased(&row, &body) {
            return;
        }
        self.gone_at = row.entry.gone_at;
        let contact = row.entry.contact_id;
        let goes_on = new_day.is_none()
            && self
                .run
                .is_some_and(|(who, at)| who == contact && occurred_at - at < RUN);
        self.run = body.is_said().then_some((contact, occurred_at));
        let begins_run = body.is_said() && !goes_on;
        let entry = entry(row, body, new_day, begins_run, self.context);
        self.entries.push(entry);
    }

    /// Adds a picture to the album of its set. False if that has no entry yet, or if the row is no picture of a set.
    fn join_album(&mut self, row: &Row) -> bool {
        let next = self.entries.len();
        album::set_of(row).is_some_and(|set| self.albums.join(row, &set, next, &mut self.entries))
    }

    /// Returns the day of the next row, if the last entry is of another day.
    fn turn_to_day_of(&mut self, occurred_at: DateTime<Utc>) -> Option<NaiveDate> {
        let today = Some(self.context.now.date(occurred_at));
        let new_day = today.filter(|_| self.day != today);
        self.day = today;
        new_day
    }

    /// Adds an erased message to the last entry if that is of messages that were erased for the same cause. A retention
    /// rule erases thousands of messages in a row: they become one line, not pages of lines.
    fn join_erased(&mut self, row: &Row, body: &Body) -> bool {
        let now = self.context.now;
        if let Body::Erased { by, .. } = body
            && let Some(Entry {
                body:
                    Body::Erased {
                        by: before,
                        count,
                        at,
                    },
                ..
            }) = self.entries.last_mut()
            && before == by
        {
            *count += 1;
            if row.entry.gone_at > self.gone_at {
                self.gone_at = row.entry.gone_at;
                *at = self.gone_at.map(|at| now.dated(at));
            }
            return true;
        }
        false
    }
}

/// The entry of a row. `day`: it is the first one of this day. `begins_run`: it is shown with its sender.
fn entry(
    row: Row,
    body: Body,
    day: Option<NaiveDate>,
    begins_run: bool,
    context: &Context,
) -> Entry {
    let sender = row.entry.contact_id.and_then(|id| context.senders.get(&id));
    let earlier = row.earlier.iter().map(|(at, event)| Edit {
        when: context.now.dated(*at),
        body: message::body(event, &row.entry, sender, context.stickers),
    });
    Entry {
        id: row.entry.id,
        day: day.map(|day| context.now.day(day)),
        when: context.now.hour(row.entry.occurred_at),
        sender: sender.filter(|_| begins_run).cloned(),
        edits: earlier.collect(),
        quote: row
            .entry
            .quoted_message_id
            .map(|id| context.quotes.get(&id).cloned().unwrap_or(Quote::Unknown)),
        body,
    }
}

fn body(row: &Row, context: &Context) -> Body {
    match (row.entry.entry_kind, &row.event) {
        (EntryKind::Unsent, _) => Body::Unsent(gone(row, context)),
        (EntryKind::Erased, _) => Body::Erased {
            by: erased_by(&row.entry.kind),
            at: gone(row, context),
            count: 1,
        },
        (_, None) => raw::unreadable(&row.entry.kind, row.is_opened),
        (EntryKind::Event, Some(event)) => event::body(event, row.entry.contact_id, context),
        (EntryKind::Message, Some(event)) => {
            let sender = row.entry.contact_id.and_then(|id| context.senders.get(&id));
            message::body(event, &row.entry, sender, context.stickers)
        }
    }
}

/// When the message was unsent or erased: without the date if that was on the day on which it was sent.
fn gone(row: &Row, context: &Context) -> Option<When> {
    let now = context.now;
    row.entry
        .gone_at
        .map(|at| match now.date(at) == now.date(row.entry.occurred_at) {
            true => now.hour(at),
            false => now.dated(at),
        })
}

/// A cause of an erasure in words, to stand after "erased".
pub(in crate::web) fn erased_by(cause: &str) -> &'static str {
    match cause {
        "retention" => "by retention",
        "subject" => "on request",
        _ => "by an operator",
    }
}
