//! `GET /conversations` and `GET /conversations/{id}`: the list, the open conversation and the person, as three panes
//! on a wide screen and one pane at a time on a phone.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    cursor,
    list::{self, List, ListState},
    person::{self, Person},
    thread::{self, Thread},
};
use crate::records::conversations;
use crate::web::{
    Error, Shared, auth::session::Viewer, detached, http::headers, layout::Layout, page,
    preferences::Preferences, when::Now,
};

#[derive(Template)]
#[template(path = "conversations.html")]
struct Page {
    layout: Layout,
    list: List,
    /// Address of the list without a conversation: the target of the back button on a phone.
    back: String,
    open: Option<Open>,
}

/// The conversation that is open.
struct Open {
    id: Uuid,
    /// Equal for two versions of one page of one conversation: the script then patches the pane instead of replacing
    /// it.
    key: String,
    thread: Thread,
    /// Address of the gallery.
    media: String,
    person: Person,
    /// True in groups and rooms: the sender's name is then shown above the bubbles.
    several: bool,
    /// The viewer may erase and hold.
    governs: bool,
}

#[derive(Deserialize)]
pub(in crate::web) struct ListQuery {
    channel: Option<String>,
    before: Option<String>,
}

#[derive(Deserialize)]
pub(in crate::web) struct ThreadQuery {
    channel: Option<String>,
    list: Option<String>,
    before: Option<String>,
}

/// `GET /conversations?channel=…&before=…`
pub(in crate::web) async fn list(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    query: web::Query<ListQuery>,
) -> Result<HttpResponse, Error> {
    let query = query.into_inner();
    let state = ListState {
        channel: query.channel,
        before: query.before,
    };
    page(shared, viewer, preferences, state, None).await
}

/// `GET /conversations/{id}?channel=…&list=…&before=…`
pub(in crate::web) async fn conversation(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    id: web::Path<Uuid>,
    query: web::Query<ThreadQuery>,
) -> Result<HttpResponse, Error> {
    let query = query.into_inner();
    let state = ListState {
        channel: query.channel,
        before: query.list,
    };
    page(
        shared,
        viewer,
        preferences,
        state,
        Some((*id, query.before)),
    )
    .await
}

async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    state: ListState,
    open: Option<(Uuid, Option<String>)>,
) -> Result<HttpResponse, Error> {
    detached(async move {
        let mut layout = Layout::new(&viewer, &preferences, "conversations");
        // Taken before the first query, so that the live stream reports every change from here on.
        layout.live = shared.live.mark().to_string();
        let now = page::now(&shared, preferences);
        let (allowed, keyring) = (&viewer.session.channels, &shared.keyring);
        let mut tx = shared.snapshot().await?;
        let current = open.as_ref().map(|(id, _)| *id);
        let list = list::load(&mut tx, keyring, allowed, &state, current, now).await?;
        let open = match open {
            Some(open) => Some(load_open(&mut tx, &shared, &viewer, &state, open, now).await?),
            None => None,
        };
        tx.commit().await?;
        let page = Page {
            layout,
            list,
            back: state.list(),
            open,
        };
        respond(&page, shared.stickers)
    })
    .await
}

/// Reads the open conversation: its id, and the cursor of its page as text. Fails with [`Error::NotFound`] if it is not
/// in scope, or if the cursor cannot be read.
async fn load_open(
    conn: &mut PgConnection,
    shared: &Shared,
    viewer: &Viewer,
    state: &ListState,
    (id, before): (Uuid, Option<String>),
    now: Now,
) -> Result<Open, Error> {
    let (allowed, keyring) = (&viewer.session.channels, &shared.keyring);
    let stickers = shared.stickers;
    let key = format!("{id} {}", before.as_deref().unwrap_or_default());
    let before = match before {
        Some(text) => Some(cursor::read(&text).ok_or(Error::NotFound)?),
        None => None,
    };
    let conversation = conversations::find(conn, keyring, allowed, id).await?;
    let conversation = conversation.ok_or(Error::NotFound)?;
    Ok(Open {
        id,
        key,
        media: state.media(id, "photos", None),
        thread: thread::load(conn, keyring, &conversation, state, before, now, stickers).await?,
        person: person::load(conn, keyring, &conversation, now).await?,
        several: conversation.kind != "user",
        governs: viewer.sees_erasures(),
    })
}

fn respond(page: &Page, stickers: bool) -> Result<HttpResponse, Error> {
    let mut response = HttpResponse::Ok();
    if stickers {
        // Also without an open conversation: the script opens a conversation within the list's page, and the policy of
        // that page then applies.
        response.insert_header(headers::with_stickers());
    }
    page::html_in(response, page)
}
