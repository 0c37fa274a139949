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

pub(in crate::web) use album::{Album, Slot};
pub(in crate::web) use event::System;
pub(in crate::web) use load::{load, withheld};
pub(in crate::web) use media::{File, Media, file, image, playable};
pub(in crate::web) use quote::Quote;

use album::Albums;

use super::{
    names::{self, Face, Name},
    text::Piece,
};
use crate::web::when::{Now, When};
use crate::{line::event::Event, records::timeline};

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
        fields: Option<Vec<Piece>>,
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
    earlier: Vec<(DateTime<Utc>, Event)>,
}

/// Makes entries of rows, and finds the days, runs and albums.
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
        // A retention rule erases thousands of messages in a row: they become one line, not pages of lines.
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
