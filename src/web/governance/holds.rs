//! `/holds`: conversations in which neither a rule nor an operator erases anything; and the messages that a hold
//! withholds.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use crate::web::{
    Error, Shared,
    auth::session::Viewer,
    conversation::{
        cursor,
        names::{self, Name},
        thread::{self, Thread},
    },
    detached,
    http::{form::FormBody, typed},
    layout::Layout,
    page,
    preferences::Preferences,
    see_other,
    when::{Now, When},
};
use crate::{
    erasure,
    records::{
        conversations,
        holds::{self, NewHold},
    },
};

/// The most characters of a reason.
const MAX_REASON_CHARS: usize = 200;

#[derive(Template)]
#[template(path = "holds.html")]
struct Page {
    layout: Layout,
    holds: Vec<Hold>,
}

struct Hold {
    id: Uuid,
    conversation: (Uuid, Name),
    reason: Name,
    covers: &'static str,
    /// Number of messages that the hold withholds.
    withheld: i64,
    set: (String, When),
    lifted: Option<(String, When)>,
}

#[derive(Deserialize)]
pub(in crate::web) struct New {
    conversation: Uuid,
    reason: String,
    covers: String,
}

/// The choices of the form: how much a hold covers.
const COVERS: [&str; 3] = ["rules", "requests", "unsends"];

#[derive(Template)]
#[template(path = "hold.html")]
struct One {
    layout: Layout,
    conversation: (Uuid, Name),
    open: Open,
}

/// The values that the templates of messages need.
struct Open {
    thread: Thread,
    several: bool,
    /// Always false: this page offers no erasure.
    governs: bool,
}

#[derive(Deserialize)]
pub(in crate::web) struct Query {
    before: Option<String>,
}

/// `GET /holds`
pub(in crate::web) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let now = page::now(&shared, preferences);
        let (allowed, keyring) = (&viewer.session.channels, &shared.keyring);
        let mut conn = shared.pool.acquire().await?;
        let holds = holds::list(&mut conn, keyring, allowed).await?;
        page::html(&Page {
            layout: Layout::new(&viewer, &preferences, "holds"),
            holds: holds.into_iter().map(|hold| view(hold, now)).collect(),
        })
    })
    .await
}

fn view(hold: holds::Hold, now: Now) -> Hold {
    let by = |who: Option<String>, at: Option<_>| Some((who?, now.dated(at?)));
    Hold {
        id: hold.id,
        conversation: (hold.conversation.id, names::known(&hold.conversation)),
        reason: names::plain(&hold.reason),
        covers: match (hold.covers_subject, hold.covers_unsend) {
            (_, true) => "It covers requests and unsends.",
            (true, false) => "It covers requests.",
            _ => "",
        },
        withheld: hold.withheld,
        set: (hold.set_by, now.dated(hold.set_at)),
        lifted: by(hold.lifted_by, hold.lifted_at),
    }
}

/// `GET /holds/{id}?before=…`: the messages that the hold withholds.
pub(in crate::web) async fn withheld(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    id: web::Path<Uuid>,
    query: web::Query<Query>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    let before = match &query.before {
        Some(text) => Some(cursor::read(text).ok_or(Error::NotFound)?),
        None => None,
    };
    detached(async move {
        let mut layout = Layout::new(&viewer, &preferences, "holds");
        // Taken before the first query, so that the live stream reports every change from here on, the end of the hold
        // too.
        layout.live = shared.live.mark().to_string();
        let now = page::now(&shared, preferences);
        let (allowed, keyring) = (&viewer.session.channels, &shared.keyring);
        let mut tx = shared.snapshot().await?;
        let held = holds::of(&mut tx, allowed, *id).await?;
        let held = held.ok_or(Error::NotFound)?;
        let place = conversations::find(&mut tx, keyring, allowed, held).await?;
        let place = place.ok_or(Error::NotFound)?;
        let thread = thread::withheld(&mut tx, keyring, (&place, *id), before, now).await?;
        tx.commit().await?;
        page::html(&One {
            layout,
            conversation: (place.id, names::known(&place)),
            open: Open {
                thread,
                several: place.kind != "user",
                governs: false,
            },
        })
    })
    .await
}

/// `POST /holds`
pub(in crate::web) async fn set(
    shared: web::Data<Shared>,
    viewer: Viewer,
    FormBody(new): FormBody<New>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    let reason = typed::line(&new.reason, MAX_REASON_CHARS).map_err(|_| Error::Unreadable)?;
    if !COVERS.contains(&&*new.covers) {
        return Err(Error::Unreadable);
    }
    detached(async move {
        let hold = NewHold {
            conversation_id: new.conversation,
            reason: &reason,
            covers_subject: new.covers != "rules",
            covers_unsend: new.covers == "unsends",
            by: viewer.session.operator_id,
        };
        let mut tx = viewer.begin(&shared).await?;
        let now = shared.clock.now();
        if !erasure::holds::set(&mut tx, &viewer.session.channels, &hold, now).await? {
            return Err(Error::NotFound);
        }
        tx.commit().await?;
        Ok(see_other("/holds"))
    })
    .await
}

/// `POST /holds/{id}/lift`
pub(in crate::web) async fn lift(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let (now, session) = (shared.clock.now(), &viewer.session);
        let mut tx = viewer.begin(&shared).await?;
        let by = session.operator_id;
        let lifted = erasure::holds::lift(&mut tx, &session.channels, *id, by, now).await?;
        lifted.ok_or(Error::NotFound)?;
        tx.commit().await?;
        Ok(see_other("/holds"))
    })
    .await
}
