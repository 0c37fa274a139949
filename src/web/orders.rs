//! `/messages/{id}/erase` and `/conversations/{id}/erase`: an operator's order to erase one message, or all there is.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Error, Shared, detached,
    form::Form,
    list,
    look::Look,
    retention::{html, now},
    see_other,
    session::Viewer,
    shell::Shell,
    when::When,
};
use crate::{
    erasure::order::{self, Outcome, REASONS, Whole},
    records::{
        conversations, holds, messages,
        orders::{self, Extent},
    },
};

/// A browser waits this long for a whole conversation to be erased; after that the page shows how it goes on.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Template)]
#[template(path = "erase.html")]
struct Page {
    shell: Shell,
    /// Where the order is sent.
    action: String,
    /// Where it came from.
    back: String,
    what: What,
    held: bool,
    reasons: &'static [(&'static str, &'static str)],
}

/// What is to be erased.
enum What {
    /// One message, and when it was sent.
    Message(When),
    /// So much.
    Conversation(Extent),
}

#[derive(Deserialize)]
pub(super) struct Order {
    reason: String,
}

impl Order {
    fn reason(&self) -> Result<&'static str, Error> {
        let reason = REASONS.iter().find(|(word, _)| *word == self.reason);
        Ok(reason.ok_or(Error::Unreadable)?.0)
    }
}

/// `GET /messages/{id}/erase`: what will happen.
pub(super) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    look: Look,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let mut conn = shared.pool.acquire().await?;
        let place = messages::place(&mut conn, &viewer.session.channels, *id).await?;
        let place = place.ok_or(Error::NotFound)?;
        let held = holds::held(&mut conn, &[place.conversation_id], false).await?;
        html(&Page {
            shell: Shell::new(&viewer, &look, "conversations"),
            action: format!("/messages/{id}/erase"),
            back: list::Place::default().message(place.conversation_id, *id, place.occurred_at),
            what: What::Message(now(&shared, look).dated(place.occurred_at)),
            held: !held.is_empty(),
            reasons: &REASONS,
        })
    })
    .await
}

/// `POST /messages/{id}/erase`
pub(super) async fn erase(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
    Form(form): Form<Order>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    let reason = form.reason()?;
    detached(async move {
        let (now, session) = (shared.clock.now(), &viewer.session);
        let mut tx = shared.pool.begin().await?;
        let place = messages::place(&mut tx, &session.channels, *id).await?;
        let place = place.ok_or(Error::NotFound)?;
        let by = session.operator_id;
        let outcome = order::message(&mut tx, &place, by, reason, now).await?;
        tx.commit().await?;
        let to = match outcome {
            // The page says what holds it.
            Outcome::Held => format!("/messages/{id}/erase"),
            // The page that ended with it: the line in its stead.
            _ => list::Place::default().message(place.conversation_id, *id, place.occurred_at),
        };
        Ok(see_other(&to))
    })
    .await
}

/// `GET /conversations/{id}/erase`: what will happen.
pub(super) async fn whole_page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    look: Look,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let (allowed, keyring) = (&viewer.session.channels, &shared.keyring);
        let mut conn = shared.pool.acquire().await?;
        let place = conversations::find(&mut conn, keyring, allowed, *id).await?;
        let place = place.ok_or(Error::NotFound)?;
        let held = holds::held(&mut conn, &[place.id], false).await?;
        html(&Page {
            shell: Shell::new(&viewer, &look, "conversations"),
            action: format!("/conversations/{id}/erase"),
            back: format!("/conversations/{id}"),
            what: What::Conversation(orders::extent(&mut conn, place.id).await?),
            held: !held.is_empty(),
            reasons: &REASONS,
        })
    })
    .await
}

/// `POST /conversations/{id}/erase`
pub(super) async fn erase_whole(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
    Form(form): Form<Order>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    let reason = form.reason()?;
    let work = actix_web::rt::spawn(detached(async move {
        let (allowed, keyring) = (&viewer.session.channels, &shared.keyring);
        let mut conn = shared.pool.acquire().await?;
        let place = conversations::find(&mut conn, keyring, allowed, *id).await?;
        let place = place.ok_or(Error::NotFound)?;
        drop(conn);
        let whole = Whole {
            channel_id: place.channel_id,
            conversation_id: place.id,
            operator: viewer.session.operator_id,
            reason,
        };
        let outcome = order::conversation(&shared.pool, &shared.clock, &whole).await?;
        Ok(see_other(&match outcome {
            Outcome::Held => format!("/conversations/{id}/erase"),
            _ => format!("/conversations/{id}"),
        }))
    }));
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done.unwrap_or(Err(Error::Internal("panic"))),
        Err(_) => Ok(see_other("/conversations")),
    }
}
