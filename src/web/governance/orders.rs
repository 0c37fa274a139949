//! `/messages/{id}/erase` and `/conversations/{id}/erase`: an operator's order to erase one message or a whole
//! conversation.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::web::{
    Error, Shared,
    auth::session::Viewer,
    conversation::list,
    detached,
    http::form::FormBody,
    layout::Layout,
    page,
    preferences::Preferences,
    see_other,
    when::{Now, When},
};
use crate::{
    erasure::{
        order::{self, Orders, Outcome, REASONS},
        retention::BATCH_PAUSE,
    },
    records::{
        conversations, holds, messages,
        orders::{self, End, Extent, NewOrder, OpenOrder},
    },
};

/// How long a browser waits for a whole conversation to be erased. After that it is redirected to the page of the order,
/// and the worker goes on.
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
    /// The order that erases the conversation now.
    running: Option<Running>,
    reasons: &'static [(&'static str, &'static str)],
}

/// An order that goes on.
struct Running {
    since: When,
    /// Number of messages and events that were erased so far.
    erased: i64,
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
            running: None,
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
        let running = orders::find(&mut conn, conversation.id).await?;
        let now = page::now(&shared, preferences);
        page::html(&Page {
            layout: Layout::new(&viewer, &preferences, "conversations"),
            action: format!("/conversations/{id}/erase"),
            back: format!("/conversations/{id}"),
            what: What::Conversation(orders::extent(&mut conn, conversation.id).await?),
            held: !held.is_empty(),
            running: running.map(|order| running_since(&order, now)),
            reasons: &REASONS,
        })
    })
    .await
}

fn running_since(order: &OpenOrder, now: Now) -> Running {
    Running {
        since: now.dated(order.ordered_at),
        erased: order.erased,
    }
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
    detached(async move {
        let (allowed, keyring) = (&viewer.session.channels, &shared.keyring);
        let mut tx = viewer.begin(&shared).await?;
        let conversation = conversations::find(&mut tx, keyring, allowed, *id).await?;
        let conversation = conversation.ok_or(Error::NotFound)?;
        let new = NewOrder {
            channel_id: conversation.channel_id,
            conversation_id: conversation.id,
            operator_id: viewer.session.operator_id,
            reason,
        };
        let order = orders::insert(&mut tx, new, shared.clock.now()).await?;
        tx.commit().await?;
        // A small conversation is erased when the browser shows it again. The worker does the rest of a large one.
        let orders = Orders::new(shared.pool.clone(), shared.clock.clone());
        let never = CancellationToken::new();
        let work = orders.carry_out(order, BATCH_PAUSE, &never);
        let _ = tokio::time::timeout(ORDER_TIMEOUT, work).await;
        let mut conn = shared.pool.acquire().await?;
        Ok(see_other(&match orders::outcome(&mut conn, order).await? {
            Some(End::Done) => format!("/conversations/{id}"),
            Some(End::Held) | None => format!("/conversations/{id}/erase"),
        }))
    })
    .await
}
