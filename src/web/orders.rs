//! `/messages/{id}/erase`: an operator's order to erase one message.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Error, Shared, detached,
    form::Form,
    look::Look,
    retention::{html, now},
    see_other,
    session::Viewer,
    shell::Shell,
    when::When,
};
use crate::{
    erasure::order::{self, Outcome, REASONS},
    records::{holds, messages},
};

#[derive(Template)]
#[template(path = "erase_message.html")]
struct Page {
    shell: Shell,
    id: Uuid,
    conversation: Uuid,
    sent: When,
    held: bool,
    reasons: &'static [(&'static str, &'static str)],
}

#[derive(Deserialize)]
pub(super) struct Order {
    reason: String,
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
            id: *id,
            conversation: place.conversation_id,
            sent: now(&shared, look).dated(place.occurred_at),
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
    let reason = REASONS.iter().find(|(word, _)| *word == form.reason);
    let reason = reason.ok_or(Error::Unreadable)?.0;
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
            _ => format!("/conversations/{}", place.conversation_id),
        };
        Ok(see_other(&to))
    })
    .await
}
