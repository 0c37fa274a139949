//! `GET /conversations/{id}/media`: what was sent in a conversation, apart from the words, the newest first. Each item
//! leads to its message. Links are found when the page is read: nothing that says where they are is kept.

use std::collections::HashMap;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Error, Shared, cursor, detached,
    list::Place,
    look::Look,
    names::{self, Name},
    preview,
    session::Viewer,
    shell::Shell,
    text::{self, Piece},
    thread::{self, File, Media},
    when::{Now, When},
};
use crate::{
    line::message::Content,
    records::{
        conversations::{self, Conversation, Cursor},
        gallery::{self, Looked, Way},
        timeline,
    },
    seal::Keyring,
};

/// Items of one page.
const PAGE: usize = 60;
/// Messages that are opened at most to find the links of one page.
const LOOKED_THROUGH: usize = 500;

/// The tabs: how each is named in the address, and what is read for it.
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
    shell: Shell,
    name: Name,
    /// Leads back to the conversation.
    back: String,
    tabs: Vec<Tab>,
    /// The current tab, as in the address.
    of: &'static str,
    /// The same for the same page of the same tab.
    key: String,
    items: Vec<Item>,
    newest: Option<String>,
    older: Option<String>,
    /// Only a part of the messages was looked through, and these are not all.
    partly: bool,
}

struct Tab {
    href: String,
    label: &'static str,
    current: bool,
}

/// What was sent, by whom and when.
struct Item {
    id: Uuid,
    /// Leads to the message.
    href: String,
    /// In groups.
    who: Option<Name>,
    when: When,
    what: What,
}

enum What {
    Photo(Media),
    Video(Media),
    Voice(Media),
    File(File),
    /// The addresses in a text, and how it begins.
    Links {
        links: Vec<Piece>,
        line: Vec<Piece>,
    },
    /// The message cannot be opened any more.
    Unreadable,
}

#[derive(Deserialize)]
pub(super) struct Query {
    of: Option<String>,
    before: Option<String>,
    channel: Option<String>,
    list: Option<String>,
}

/// The message's id and place, and who sent what.
type FoundItem = (Uuid, Cursor, Option<Uuid>, What);

/// What a page of a tab holds, and where the next one begins.
struct Found {
    items: Vec<FoundItem>,
    next: Option<Cursor>,
    partly: bool,
}

/// `GET /conversations/{id}/media?of=…&before=…`
pub(super) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    look: Look,
    id: web::Path<Uuid>,
    query: web::Query<Query>,
) -> Result<HttpResponse, Error> {
    let (id, query) = (*id, query.into_inner());
    detached(async move {
        let place = Place {
            channel: query.channel,
            before: query.list,
        };
        let wanted = query.of.as_deref().unwrap_or("photos");
        let (of, _, kind) = *TABS
            .iter()
            .find(|(of, ..)| *of == wanted)
            .ok_or(Error::NotFound)?;
        let before = match &query.before {
            Some(text) => Some(cursor::read(text).ok_or(Error::NotFound)?),
            None => None,
        };
        let mut shell = Shell::new(&viewer, &look, "conversations");
        // Before the first query: what changes from here on is told.
        shell.live = shared.live.mark().to_string();
        let now = Now {
            at: shared.clock.now(),
            zone: look.zone,
        };
        let keyring = &shared.keyring;
        let mut tx = shared.snapshot().await?;
        let conversation =
            conversations::find(&mut tx, keyring, &viewer.session.channels, id).await?;
        let conversation = conversation.ok_or(Error::NotFound)?;
        let from = before.unwrap_or(Cursor::NEWEST);
        let found = match kind {
            "" => links(&mut tx, keyring, id, from).await?,
            kind => files(&mut tx, keyring, id, kind, from).await?,
        };
        let members = conversations::members(&mut tx, keyring, id).await?;
        let name = names::conversation(
            &conversation.kind,
            &conversation.source_id,
            conversation.summary.as_deref(),
            conversation.profile.as_deref(),
            members.iter().filter_map(|one| one.profile.as_deref()),
        );
        let people = people(&mut tx, keyring, &conversation, &found).await?;
        tx.commit().await?;
        let items = found.items.into_iter().map(|(id, at, who, what)| Item {
            id,
            // The page that ends with it.
            href: place.message(conversation.id, id, at.at),
            who: who
                .filter(|_| conversation.kind != "user")
                .and_then(|who| people.get(&who).cloned()),
            when: now.dated(at.at),
            what,
        });
        let page = Page {
            shell,
            name,
            back: place.thread(id, None),
            tabs: TABS
                .iter()
                .map(|(tab, label, _)| Tab {
                    href: place.media(id, tab, None),
                    label,
                    current: *tab == of,
                })
                .collect(),
            of,
            key: format!("{id} {of} {}", query.before.as_deref().unwrap_or_default()),
            items: items.collect(),
            newest: before.map(|_| place.media(id, of, None)),
            older: found
                .next
                .map(|next| place.media(id, of, Some(cursor::text(next)))),
            partly: found.partly,
        };
        Ok(HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .body(page.render()?))
    })
    .await
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
        (Way::Back, before),
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
    let Some(event) = preview::parse(item.content.as_deref()) else {
        return What::Unreadable;
    };
    let file = &item.attachment;
    match Content::of(&event.body()["message"]) {
        Content::Image(_) => What::Photo(thread::image(file)),
        Content::Video(duration) => What::Video(thread::playable(file, duration)),
        Content::Audio(duration) => What::Voice(thread::playable(file, duration)),
        Content::File { name, size } => What::File(thread::file(file, name, size)),
        _ => What::Unreadable,
    }
}

/// Looks for links until a page is full, but through no more than [`LOOKED_THROUGH`] messages.
async fn links(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation: Uuid,
    before: Cursor,
) -> sqlx::Result<Found> {
    let limit = LOOKED_THROUGH as i64 + 1;
    let mut looked = gallery::texts(conn, keyring, conversation, before, limit).await?;
    let more = looked.len() > LOOKED_THROUGH;
    looked.truncate(LOOKED_THROUGH);
    let at = |one: &Looked| Cursor {
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
            // A later page begins behind the last item of this one.
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

fn linked(one: &Looked) -> Option<What> {
    let event = preview::parse(one.content.as_deref())?;
    let Content::Text(spans) = Content::of(&event.body()["message"]) else {
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

/// The names of those who sent what was found.
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
