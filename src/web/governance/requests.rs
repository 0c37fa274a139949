//! `/contacts/{id}/requests`: the subject requests of one person, for an export or an erasure. The page says what an
//! erasure removes, and what stays.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use crate::records::{
    conversations, export_failure,
    exports::MAX_ATTEMPTS,
    subjects::{self, RequestKind},
};
use crate::web::{
    Error, Shared,
    auth::session::Viewer,
    conversation::names::{self, Name},
    detached,
    http::form::FormBody,
    layout::Layout,
    page,
    preferences::Preferences,
    see_other,
    when::When,
};

#[derive(Template)]
#[template(path = "requests.html")]
struct Page {
    layout: Layout,
    id: Uuid,
    name: Name,
    requests: Vec<Request>,
    /// An erasure is under way.
    erasing: bool,
}

struct Request {
    id: Uuid,
    asked: (String, When),
    export: String,
    exported: Option<When>,
    /// Set if the last attempt to make the export failed.
    failure: Option<Failed>,
    erase_asked: Option<(String, When)>,
    erased: Option<When>,
    messages: i32,
    events: i32,
}

impl Request {
    /// True while the erasure waits for an export that is not made yet.
    fn waits(&self) -> bool {
        matches!(&*self.export, "asked" | "running")
    }
}

struct Failed {
    attempts: i32,
    why: export_failure::Failure,
    /// Time of the next attempt; `None`: no attempt is due.
    again: Option<When>,
}

#[derive(Deserialize)]
pub(in crate::web) struct Confirmation {
    sure: Option<String>,
}

/// `GET /contacts/{id}/requests`
pub(in crate::web) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let now = page::now(&shared, preferences);
        let allowed = &viewer.session.channels;
        let mut conn = shared.pool.acquire().await?;
        let contact = conversations::contact(&mut conn, &shared.keyring, allowed, *id).await?;
        let (user_id, profile) = contact.ok_or(Error::NotFound)?;
        let requests = subjects::of(&mut conn, allowed, *id).await?;
        let erasing = |request: &subjects::Request| {
            request.erase_requested_at.is_some() && request.erased_at.is_none()
        };
        let page = Page {
            layout: Layout::new(&viewer, &preferences, "conversations"),
            id: *id,
            name: names::person(profile.as_deref(), &user_id),
            erasing: requests.iter().any(erasing),
            requests: requests
                .into_iter()
                .map(|request| Request {
                    id: request.id,
                    asked: (request.requested_by, now.dated(request.requested_at)),
                    export: request.export_state,
                    failure: request.export_failure.map(|why| Failed {
                        attempts: request.export_attempts,
                        why,
                        again: request.export_next_attempt_at.map(|at| now.dated(at)),
                    }),
                    exported: request.exported_at.map(|at| now.dated(at)),
                    erase_asked: request
                        .erase_requested_by
                        .zip(request.erase_requested_at.map(|at| now.dated(at))),
                    erased: request.erased_at.map(|at| now.dated(at)),
                    messages: request.messages_erased,
                    events: request.events_erased,
                })
                .collect(),
        };
        page::html(&page)
    })
    .await
}

/// `POST /contacts/{id}/export`
pub(in crate::web) async fn export(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    ask(shared, viewer, *id, RequestKind::Export).await
}

/// `POST /contacts/{id}/erase`
pub(in crate::web) async fn erase(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
    FormBody(form): FormBody<Confirmation>,
) -> Result<HttpResponse, Error> {
    form.sure.ok_or(Error::Unreadable)?;
    ask(shared, viewer, *id, RequestKind::Erasure).await
}

async fn ask(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: Uuid,
    wish: RequestKind,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let (now, session) = (shared.clock.now(), &viewer.session);
        let mut tx = viewer.begin(&shared).await?;
        let by = session.operator_id;
        let request = subjects::ask(&mut tx, &session.channels, id, wish, by, now).await?;
        request.ok_or(Error::NotFound)?;
        tx.commit().await?;
        Ok(see_other(&format!("/contacts/{id}/requests")))
    })
    .await
}
