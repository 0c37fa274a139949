//! `GET /conversations` and `GET /conversations/{id}`: the list, the conversation, the person; three panes on a desk,
//! one at a time on a phone.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Error, Shared, cursor, detached, headers,
    list::{self, List, Place},
    look::Look,
    person::{self, Person},
    session::Viewer,
    shell::Shell,
    thread::{self, Thread},
    when::Now,
};
use crate::records::conversations;

#[derive(Template)]
#[template(path = "conversations.html")]
struct Page {
    shell: Shell,
    list: List,
    /// The list without a conversation: where a phone goes back to.
    back: String,
    open: Option<Open>,
}

/// The conversation that is open.
struct Open {
    id: Uuid,
    /// The same for the same page of the same conversation: the script then mends it instead of replacing it.
    key: String,
    thread: Thread,
    /// Leads to the gallery.
    media: String,
    person: Person,
    /// In groups the sender's name stands above the bubbles.
    several: bool,
    /// The viewer may erase and hold.
    governs: bool,
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    channel: Option<String>,
    before: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ThreadQuery {
    channel: Option<String>,
    list: Option<String>,
    before: Option<String>,
}

/// `GET /conversations?channel=…&before=…`
pub(super) async fn list(
    shared: web::Data<Shared>,
    viewer: Viewer,
    look: Look,
    query: web::Query<ListQuery>,
) -> Result<HttpResponse, Error> {
    let query = query.into_inner();
    let place = Place {
        channel: query.channel,
        before: query.before,
    };
    page(shared, viewer, look, place, None).await
}

/// `GET /conversations/{id}?channel=…&list=…&before=…`
pub(super) async fn conversation(
    shared: web::Data<Shared>,
    viewer: Viewer,
    look: Look,
    id: web::Path<Uuid>,
    query: web::Query<ThreadQuery>,
) -> Result<HttpResponse, Error> {
    let query = query.into_inner();
    let place = Place {
        channel: query.channel,
        before: query.list,
    };
    page(shared, viewer, look, place, Some((*id, query.before))).await
}

async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    look: Look,
    place: Place,
    open: Option<(Uuid, Option<String>)>,
) -> Result<HttpResponse, Error> {
    detached(async move {
        let mut shell = Shell::new(&viewer, &look, "conversations");
        // Before the first query: what changes from here on is told.
        shell.live = shared.live.mark().to_string();
        let now = Now {
            at: shared.clock.now(),
            zone: look.zone,
        };
        let (allowed, keyring) = (&viewer.session.channels, &shared.keyring);
        let mut tx = shared.snapshot().await?;
        let current = open.as_ref().map(|(id, _)| *id);
        let list = list::load(&mut tx, keyring, allowed, &place, current, now).await?;
        let open = match open {
            None => None,
            Some((id, before)) => {
                let key = format!("{id} {}", before.as_deref().unwrap_or_default());
                let before = match before {
                    Some(text) => Some(cursor::read(&text).ok_or(Error::NotFound)?),
                    None => None,
                };
                let conversation = conversations::find(&mut tx, keyring, allowed, id)
                    .await?
                    .ok_or(Error::NotFound)?;
                Some(Open {
                    id,
                    key,
                    media: place.media(id, "photos", None),
                    thread: thread::load(
                        &mut tx,
                        keyring,
                        &conversation,
                        &place,
                        before,
                        now,
                        shared.stickers,
                    )
                    .await?,
                    person: person::load(&mut tx, keyring, &conversation, now).await?,
                    several: conversation.kind != "user",
                    governs: viewer.sees_erasures(),
                })
            }
        };
        tx.commit().await?;
        let page = Page {
            shell,
            list,
            back: place.list(),
            open,
        };
        let mut response = HttpResponse::Ok();
        if shared.stickers {
            // The list too: a conversation is opened within its page, whose policy then is the one that counts.
            response.insert_header(headers::with_stickers());
        }
        Ok(response
            .content_type("text/html; charset=utf-8")
            .body(page.render()?))
    })
    .await
}
