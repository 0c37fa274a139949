//! `/holds`: conversations in which neither a rule nor an operator erases anything.

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
    holds::{self, NewHold},
};

/// Characters of a reason.
const LONGEST: usize = 200;

#[derive(Template)]
#[template(path = "holds.html")]
struct Page {
    shell: Shell,
    holds: Vec<Hold>,
}

struct Hold {
    id: Uuid,
    conversation: (Uuid, Name),
    reason: Name,
    covers_subject: bool,
    set: (String, When),
    lifted: Option<(String, When)>,
}

#[derive(Deserialize)]
pub(super) struct New {
    conversation: Uuid,
    reason: String,
    covers_subject: Option<String>,
}

/// `GET /holds`
pub(super) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    look: Look,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let now = now(&shared, look);
        let (allowed, keyring) = (&viewer.session.channels, &shared.keyring);
        let mut conn = shared.pool.acquire().await?;
        let mut views = vec![];
        for hold in holds::list(&mut conn, allowed, None).await? {
            let place = conversations::find(&mut conn, keyring, allowed, hold.conversation_id);
            let Some(place) = place.await? else { continue };
            let name = names::conversation(
                &place.kind,
                &place.source_id,
                place.summary.as_deref(),
                place.profile.as_deref(),
                [].into_iter(),
            );
            let by = |who: Option<String>, at: Option<_>| Some((who?, now.dated(at?)));
            views.push(Hold {
                id: hold.id,
                conversation: (place.id, name),
                reason: names::plain(&hold.reason),
                covers_subject: hold.covers_subject,
                set: (hold.set_by, now.dated(hold.set_at)),
                lifted: by(hold.lifted_by, hold.lifted_at),
            });
        }
        html(&Page {
            shell: Shell::new(&viewer, &look, "holds"),
            holds: views,
        })
    })
    .await
}

/// `POST /holds`
pub(super) async fn set(
    shared: web::Data<Shared>,
    viewer: Viewer,
    Form(new): Form<New>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    let reason = new.reason.trim().replace(char::is_control, " ");
    if reason.is_empty() || reason.chars().count() > LONGEST {
        return Err(Error::Unreadable);
    }
    detached(async move {
        let hold = NewHold {
            conversation_id: new.conversation,
            reason: &reason,
            covers_subject: new.covers_subject.is_some(),
            by: viewer.session.operator_id,
        };
        let mut tx = shared.pool.begin().await?;
        let now = shared.clock.now();
        if !holds::set(&mut tx, &viewer.session.channels, &hold, now).await? {
            return Err(Error::NotFound);
        }
        tx.commit().await?;
        Ok(see_other("/holds"))
    })
    .await
}

/// `POST /holds/{id}/lift`
pub(super) async fn lift(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let (now, session) = (shared.clock.now(), &viewer.session);
        let mut conn = shared.pool.acquire().await?;
        let by = session.operator_id;
        let lifted = holds::lift(&mut conn, &session.channels, *id, by, now).await?;
        lifted.ok_or(Error::NotFound)?;
        Ok(see_other("/holds"))
    })
    .await
}
