//! `GET /conversations/{id}/media`: the photos, videos, files, voice messages and links of a conversation, the newest
//! first. Each item leads to its message. Links are found when the page is read: no index of them is stored.

use std::collections::HashMap;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    cursor,
    list::ListState,
    names::{self, Name},
    preview,
    text::{self, Piece},
    thread::{self, File, Media},
};
use crate::web::{
    Error, Shared,
    auth::session::Viewer,
    detached,
    files::fetch::Missing,
    layout::Layout,
    page,
    preferences::Preferences,
    when::{Now, When},
};
use crate::{
    line::message::Content,
    records::{
        conversations::{self, Conversation, Cursor},
        gallery::{self, Direction, LinkCandidate},
        timeline,
    },
    seal::Keyring,
};

/// Items of one page.
const PAGE: usize = 60;
/// The most messages that are opened to find the links of one page.
const MAX_SEARCHED_MESSAGES: usize = 500;

/// The tabs: the name in the address, the label, and the kind of message to read (empty: the links in texts).
const TABS: [(&str, &str, &str); 5] = [
    ("photos", "Photos", "image"),
    ("videos", "Videos", "video"),
    ("files", "Files", "file"),
    ("voice", "Voice", "audio"),
    ("links", "Links", ""),
];

#[derive(Template)]
#[template(path = "gallery.html")]
struct Page {
    layout: Layout,
    name: Name,
    /// Address of the conversation.
    back: String,
    tabs: Vec<Tab>,
    missing: Missing,
    /// The current tab, as in the address.
    of: &'static str,
    /// Equal for two versions of one page of one tab: the script then patches the list instead of replacing it.
    key: String,
    items: Vec<Item>,
    newest: Option<String>,
    older: Option<String>,
    /// True if the search ended after [`MAX_SEARCHED_MESSAGES`] messages, before the page was full: older messages may hold
    /// more links.
    partly: bool,
}

struct Tab {
    href: String,
    label: &'static str,
    current: bool,
}

/// One item of the gallery, with its sender and time.
struct Item {
    id: Uuid,
    /// Address of the message in its conversation.
    href: String,
    /// The sender; `None` in a chat with one user, or if the sender is not known.
    who: Option<Name>,
    when: When,
    what: What,
}

enum What {
    Photo(Media),
    Video(Media),
    Voice(Media),
    File(File),
    /// The web addresses in a text, and the beginning of the text.
    Links {
        links: Vec<Piece>,
        line: Vec<Piece>,
    },
    /// The message cannot be read, and why.
    Unreadable(&'static str),
}

#[derive(Deserialize)]
pub(in crate::web) struct Query {
    of: Option<String>,
    before: Option<String>,
    asked: Option<u32>,
    channel: Option<String>,
    list: Option<String>,
}

/// The message's id, its cursor, the contact who sent it, and its content.
type FoundItem = (Uuid, Cursor, Option<Uuid>, What);

/// The items of one page of a tab, and the cursor at which the next page begins.
struct Found {
    items: Vec<FoundItem>,
    next: Option<Cursor>,
    partly: bool,
}

/// `GET /conversations/{id}/media?of=…&before=…`
pub(in crate::web) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    id: web::Path<Uuid>,
    query: web::Query<Query>,
) -> Result<HttpResponse, Error> {
    let (id, query) = (*id, query.into_inner());
    detached(async move {
        let address = PageAddress::read(id, query)?;
        let mut layout = Layout::new(&viewer, &preferences, "conversations");
        // Taken before the first query, so that the live stream reports every change from here on.
        layout.live = shared.live.mark().to_string();
        let now = page::now(&shared, preferences);
        let channels = &viewer.session.channels;
        let mut tx = shared.snapshot().await?;
        let contents = load(&mut tx, &shared.keyring, channels, &address).await?;
        tx.commit().await?;
        let page = contents.page(layout, address, now);
        page::html(&page)
    })
    .await
}

/// The address of one page of one tab.
struct PageAddress {
    /// The conversation.
    id: Uuid,
    state: ListState,
    /// The tab, and the kind of its messages: two of the values in [`TABS`].
    of: &'static str,
    kind: &'static str,
    before: Option<Cursor>,
    asked: Option<u32>,
    /// [`Page::key`].
    key: String,
}

impl PageAddress {
    /// Fails with [`Error::NotFound`] for an unknown tab, and for a cursor that cannot be read.
    fn read(id: Uuid, query: Query) -> Result<Self, Error> {
        let wanted = query.of.as_deref().unwrap_or("photos");
        let (of, _, kind) = *TABS
            .iter()
            .find(|(of, ..)| *of == wanted)
            .ok_or(Error::NotFound)?;
        let before = match &query.before {
            Some(text) => Some(cursor::read(text).ok_or(Error::NotFound)?),
            None => None,
        };
        Ok(Self {
            id,
            of,
            kind,
            before,
            asked: query.asked,
            key: format!("{id} {of} {}", query.before.as_deref().unwrap_or_default()),
            state: ListState {
                channel: query.channel,
                before: query.list,
            },
        })
    }
}

/// The rows that a page shows.
struct Contents {
    conversation: Conversation,
    name: Name,
    found: Found,
    missing: Missing,
    /// The names of the senders, by the contact's id.
    people: HashMap<Uuid, Name>,
}

async fn load(
    conn: &mut PgConnection,
    keyring: &Keyring,
    channels: &[i32],
    address: &PageAddress,
) -> Result<Contents, Error> {
    let id = address.id;
    let conversation = conversations::find(conn, keyring, channels, id).await?;
    let conversation = conversation.ok_or(Error::NotFound)?;
    let from = address.before.unwrap_or(Cursor::NEWEST);
    let found = match address.kind {
        "" => links(conn, keyring, id, from).await?,
        kind => files(conn, keyring, id, kind, from).await?,
    };
    let members = conversations::members(conn, keyring, id).await?;
    let name = names::conversation(
        &conversation.kind,
        &conversation.source_id,
        conversation.summary.as_deref(),
        conversation.profile.as_deref(),
        members.iter().filter_map(|one| one.profile.as_deref()),
    );
    Ok(Contents {
        people: people(conn, keyring, &conversation, &found).await?,
        missing: Missing::load(conn, channels, id, address.asked).await?,
        conversation,
        name,
        found,
    })
}

impl Contents {
    fn page(self, layout: Layout, address: PageAddress, now: Now) -> Page {
        let (id, of, state) = (address.id, address.of, &address.state);
        let (conversation, people) = (self.conversation, self.people);
        let items = self.found.items.into_iter();
        let items = items.map(|(message, at, who, what)| Item {
            id: message,
            // The page of the conversation that ends with this message.
            href: state.message(conversation.id, message, at.at),
            who: who
                .filter(|_| conversation.kind != "user")
                .and_then(|who| people.get(&who).cloned()),
            when: now.dated(at.at),
            what,
        });
        let older = self.found.next;
        Page {
            layout,
            name: self.name,
            back: state.thread(id, None),
            tabs: tabs(state, id, of),
            missing: self.missing,
            of,
            items: items.collect(),
            newest: address.before.map(|_| state.media(id, of, None)),
            older: older.map(|next| state.media(id, of, Some(cursor::text(next)))),
            partly: self.found.partly,
            key: address.key,
        }
    }
}

fn tabs(state: &ListState, id: Uuid, current: &str) -> Vec<Tab> {
    TABS.iter()
        .map(|(tab, label, _)| Tab {
            href: state.media(id, tab, None),
            label,
            current: *tab == current,
        })
        .collect()
}

async fn files(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation: Uuid,
    kind: &str,
    before: Cursor,
) -> sqlx::Result<Found> {
    let limit = PAGE as i64 + 1;
    let mut items = gallery::files(
        conn,
        keyring,
        conversation,
        kind,
        (Direction::Older, before),
        limit,
    )
    .await?;
    let more = items.len() > PAGE;
    items.truncate(PAGE);
    let items: Vec<_> = items
        .into_iter()
        .map(|item| {
            let at = Cursor {
                at: item.occurred_at,
                id: item.id,
            };
            (item.id, at, item.contact_id, what(&item))
        })
        .collect();
    Ok(Found {
        next: items.last().filter(|_| more).map(|(_, at, ..)| *at),
        items,
        partly: false,
    })
}

fn what(item: &gallery::Item) -> What {
    let why = thread::why_unreadable(item.content.is_some());
    let Some(event) = preview::parse(item.content.as_deref()) else {
        return What::Unreadable(why);
    };
    let file = &item.attachment;
    match event.content() {
        Content::Image(_) => What::Photo(thread::image(file)),
        Content::Video(duration) => What::Video(thread::playable(file, duration)),
        Content::Audio(duration) => What::Voice(thread::playable(file, duration)),
        Content::File { name, size } => What::File(thread::file(file, name, size)),
        _ => What::Unreadable(why),
    }
}

/// Searches texts for links until a page is full. Reads at most [`MAX_SEARCHED_MESSAGES`] messages.
async fn links(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation: Uuid,
    before: Cursor,
) -> sqlx::Result<Found> {
    let limit = MAX_SEARCHED_MESSAGES as i64 + 1;
    let mut looked = gallery::texts(conn, keyring, conversation, before, limit).await?;
    let more = looked.len() > MAX_SEARCHED_MESSAGES;
    looked.truncate(MAX_SEARCHED_MESSAGES);
    let at = |one: &LinkCandidate| Cursor {
        at: one.occurred_at,
        id: one.id,
    };
    let end = looked.last().map(at);
    let mut items: Vec<FoundItem> = vec![];
    for one in &looked {
        let Some(what) = linked(one) else {
            continue;
        };
        if items.len() == PAGE {
            // The next page begins after the last item of this one.
            let next = items.last().map(|(_, at, ..)| *at);
            return Ok(Found {
                items,
                next,
                partly: false,
            });
        }
        items.push((one.id, at(one), one.contact_id, what));
    }
    Ok(Found {
        items,
        next: end.filter(|_| more),
        partly: more,
    })
}

fn linked(one: &LinkCandidate) -> Option<What> {
    let event = preview::parse(one.content.as_deref())?;
    let Content::Text(spans) = event.content() else {
        return None;
    };
    let pieces = text::message(&spans);
    let links: Vec<_> = pieces
        .iter()
        .filter(|piece| matches!(piece, Piece::Link(_)))
        .cloned()
        .collect();
    (!links.is_empty()).then(|| What::Links {
        line: text::snippet(pieces),
        links,
    })
}

/// The names of the senders of the items, by the contact's id.
async fn people(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation: &Conversation,
    found: &Found,
) -> sqlx::Result<HashMap<Uuid, Name>> {
    let ids: Vec<_> = found
        .items
        .iter()
        .filter_map(|(_, _, who, _)| *who)
        .collect();
    let people = timeline::people(conn, keyring, conversation.channel_id, &ids, &[]).await?;
    Ok(people
        .into_iter()
        .map(|one| (one.id, names::person(one.profile.as_deref(), &one.user_id)))
        .collect())
}
