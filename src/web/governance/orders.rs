//! `/messages/{id}/erase` and `/conversations/{id}/erase`: an operator's order to erase one message or a whole
//! conversation.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use crate::web::{
    Error, Shared, auth::session::Viewer, conversation::list, detached, http::form::FormBody,
    layout::Layout, page, preferences::Preferences, see_other, when::When,
};
use crate::{
    erasure::order::{self, ConversationErasure, Outcome, REASONS},
    records::{
        conversations, holds, messages,
        orders::{self, Extent},
    },
};

/// How long a browser waits for a whole conversation to be erased. After that it is redirected to the list of
/// conversations, and the erasure continues.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Template)]
#[template(path = "erase.html")]
struct Page {
    layout: Layout,
    /// Address that the form is posted to.
    action: String,
    /// Address of the page to go back to.
    back: String,
    what: What,
    held: bool,
    reasons: &'static [(&'static str, &'static str)],
}

/// The target of the order.
enum What {
    /// One message, and when it was sent.
    Message(When),
    /// A whole conversation, and how much is in it.
    Conversation(Extent),
}

#[derive(Deserialize)]
pub(in crate::web) struct Order {
    reason: String,
}

impl Order {
    fn reason(&self) -> Result<&'static str, Error> {
        let reason = REASONS.iter().find(|(word, _)| *word == self.reason);
        Ok(reason.ok_or(Error::Unreadable)?.0)
    }
}

/// `GET /messages/{id}/erase`: the page that describes the erasure before it is ordered.
pub(in crate::web) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let mut conn = shared.pool.acquire().await?;
        let message = messages::locate(&mut conn, &viewer.session.channels, *id).await?;
        let message = message.ok_or(Error::NotFound)?;
        let held = holds::held(&mut conn, &[message.conversation_id], false).await?;
        page::html(&Page {
            layout: Layout::new(&viewer, &preferences, "conversations"),
            action: format!("/messages/{id}/erase"),
            back: list::ListState::default().message(
                message.conversation_id,
                *id,
                message.occurred_at,
            ),
            what: What::Message(page::now(&shared, preferences).dated(message.occurred_at)),
            held: !held.is_empty(),
            reasons: &REASONS,
        })
    })
    .await
}

/// `POST /messages/{id}/erase`
pub(in crate::web) async fn erase(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
    FormBody(form): FormBody<Order>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    let reason = form.reason()?;
    detached(async move {
        let (now, session) = (shared.clock.now(), &viewer.session);
        let mut tx = viewer.begin(&shared).await?;
        let message = messages::locate(&mut tx, &session.channels, *id).await?;
        let message = message.ok_or(Error::NotFound)?;
        let by = session.operator_id;
        let outcome = order::message(&mut tx, &message, by, reason, now).await?;
        tx.commit().await?;
        let to = match outcome {
            // The page of the order says that a hold stops the erasure.
            Outcome::Held => format!("/messages/{id}/erase"),
            // The page that ended with the message; a line now stands in its place.
            _ => list::ListState::default().message(
                message.conversation_id,
                *id,
                message.occurred_at,
            ),
        };
        Ok(see_other(&to))
    })
    .await
}

/// `GET /conversations/{id}/erase`: the page that describes the erasure before it is ordered.
pub(in crate::web) async fn conversation_page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let (allowed, keyring) = (&viewer.session.channels, &shared.keyring);
        let mut conn = shared.pool.acquire().await?;
        let conversation = conversations::find(&mut conn, keyring, allowed, *id).await?;
        let conversation = conversation.ok_or(Error::NotFound)?;
        let held = holds::held(&mut conn, &[conversation.id], false).await?;
        page::html(&Page {
            layout: Layout::new(&viewer, &preferences, "conversations"),
            action: format!("/conversations/{id}/erase"),
            back: format!("/conversations/{id}"),
            what: What::Conversation(orders::extent(&mut conn, conversation.id).await?),
            held: !held.is_empty(),
            reasons: &REASONS,
        })
    })
    .await
}

/// `POST /conversations/{id}/erase`
pub(in crate::web) async fn erase_conversation(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
    FormBody(form): FormBody<Order>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    let reason = form.reason()?;
    let work = actix_web::rt::spawn(detached(async move {
        let (allowed, keyring) = (&viewer.session.channels, &shared.keyring);
        let mut tx = viewer.begin(&shared).await?;
        let conversation = conversations::find(&mut tx, keyring, allowed, *id).await?;
        let conversation = conversation.ok_or(Error::NotFound)?;
        // The erasure is many transactions. Ordered before the session ended, it goes on to its end.
        drop(tx);
        let order = ConversationErasure {
            channel_id: conversation.channel_id,
            conversation_id: conversation.id,
            operator: viewer.session.operator_id,
            reason,
        };
        let outcome = order::conversation(&shared.pool, &shared.clock, &order).await?;
        Ok(see_other(&match outcome {
            Outcome::Held => format!("/conversations/{id}/erase"),
            _ => format!("/conversations/{id}"),
        }))
    }));
    match tokio::time::timeout(ORDER_TIMEOUT, work).await {
        Ok(done) => done.unwrap_or(Err(Error::Internal("panic"))),
        Err(_) => Ok(see_other("/conversations")),
    }
}
