//! `/contacts/{id}/requests`: what one person asked of us, a copy or to be forgotten; what will happen, and what stays.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Error, Shared, detached,
    form::Form,
    look::Look,
    names::{self, Name},
    retention::{html, now},
    see_other,
    session::Viewer,
    shell::Shell,
    when::When,
};
use crate::records::{
    conversations,
    exports::{self, ATTEMPTS},
    subjects::{self, Wish},
};

#[derive(Template)]
#[template(path = "requests.html")]
struct Page {
    shell: Shell,
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
    /// The last attempt to make the export failed.
    failure: Option<Failed>,
    erase_asked: Option<(String, When)>,
    erased: Option<When>,
    messages: i32,
    events: i32,
}

impl Request {
    /// The erasure waits for the export that was asked for before.
    fn waits(&self) -> bool {
        matches!(&*self.export, "asked" | "running")
    }
}

struct Failed {
    attempts: i32,
    why: exports::Failure,
    /// The next attempt, if there is one.
    again: Option<When>,
}

#[derive(Deserialize)]
pub(super) struct Sure {
    sure: Option<String>,
}

/// `GET /contacts/{id}/requests`
pub(super) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    look: Look,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let now = now(&shared, look);
        let allowed = &viewer.session.channels;
        let mut conn = shared.pool.acquire().await?;
        let contact = conversations::contact(&mut conn, &shared.keyring, allowed, *id).await?;
        let (user_id, profile) = contact.ok_or(Error::NotFound)?;
        let requests = subjects::of(&mut conn, allowed, *id).await?;
        let erasing = |request: &subjects::Request| {
            request.erase_asked_at.is_some() && request.erased_at.is_none()
        };
        let page = Page {
            shell: Shell::new(&viewer, &look, "conversations"),
            id: *id,
            name: names::person(profile.as_deref(), &user_id),
            erasing: requests.iter().any(erasing),
            requests: requests
                .into_iter()
                .map(|request| Request {
                    id: request.id,
                    asked: (request.asked_by, now.dated(request.asked_at)),
                    export: request.export_state,
                    failure: request.export_failure.map(|why| Failed {
                        attempts: request.export_attempts,
                        why,
                        again: request.export_next_attempt_at.map(|at| now.dated(at)),
                    }),
                    exported: request.exported_at.map(|at| now.dated(at)),
                    erase_asked: request
                        .erase_asked_by
                        .zip(request.erase_asked_at.map(|at| now.dated(at))),
                    erased: request.erased_at.map(|at| now.dated(at)),
                    messages: request.messages_erased,
                    events: request.events_erased,
                })
                .collect(),
        };
        html(&page)
    })
    .await
}

/// `POST /contacts/{id}/export`
pub(super) async fn export(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    ask(shared, viewer, *id, Wish::Export).await
}

/// `POST /contacts/{id}/erase`
pub(super) async fn erase(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
    Form(form): Form<Sure>,
) -> Result<HttpResponse, Error> {
    form.sure.ok_or(Error::Unreadable)?;
    ask(shared, viewer, *id, Wish::Erasure).await
}

async fn ask(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: Uuid,
    wish: Wish,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let (now, session) = (shared.clock.now(), &viewer.session);
        let mut tx = shared.pool.begin().await?;
        let by = session.operator_id;
        let request = subjects::ask(&mut tx, &session.channels, id, wish, by, now).await?;
        request.ok_or(Error::NotFound)?;
        tx.commit().await?;
        Ok(see_other(&format!("/contacts/{id}/requests")))
    })
    .await
}
