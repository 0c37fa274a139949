//! `GET /erasures`: what was unsent, and how far it is gone. For compliance staff and administrators.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::TimeDelta;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Error, Shared, cursor, detached,
    look::Look,
    names::{self, Name},
    session::Viewer,
    shell::Shell,
    when::{Now, When, took},
};
use crate::records::{
    conversations::Cursor,
    erasure_list::{self, Row},
};

/// Rows of one page.
const PAGE: usize = 40;
/// Files that are not confirmed gone after this time are overdue.
const OVERDUE: TimeDelta = TimeDelta::hours(1);

#[derive(Template)]
#[template(path = "erasures.html")]
struct Page {
    shell: Shell,
    rows: Vec<Erasure>,
    /// Whose files are not confirmed gone yet.
    pending: i64,
    overdue: i64,
    newest: Option<String>,
    older: Option<String>,
}

struct Erasure {
    id: Uuid,
    conversation: Option<(String, Name)>,
    channel: Name,
    message_id: Name,
    asked: When,
    /// From asked to gone.
    took: String,
    state: State,
    rows: i32,
    files: i32,
}

/// How far an erasure is.
enum State {
    Gone,
    Pending,
    Overdue,
}

#[derive(Deserialize)]
pub(super) struct Query {
    before: Option<String>,
}

/// `GET /erasures?before=…`
pub(super) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    look: Look,
    query: web::Query<Query>,
) -> Result<HttpResponse, Error> {
    if !viewer.sees_erasures() {
        return Err(Error::Forbidden);
    }
    detached(async move {
        let mut shell = Shell::new(&viewer, &look, "erasures");
        shell.live = shared.live.mark().to_string();
        let now = Now {
            at: shared.clock.now(),
            zone: look.zone,
        };
        let allowed = &viewer.session.channels;
        let before = match query.before.as_deref() {
            Some(text) => cursor::read(text).ok_or(Error::NotFound)?,
            None => Cursor::NEWEST,
        };
        let mut conn = shared.pool.acquire().await?;
        let overdue_before = now.at - OVERDUE;
        let (pending, overdue) = erasure_list::open(&mut conn, allowed, overdue_before).await?;
        let mut rows =
            erasure_list::page(&mut conn, &shared.keyring, allowed, before, PAGE as i64 + 1)
                .await?;
        let more = rows.len() > PAGE;
        rows.truncate(PAGE);
        let oldest = rows.last().filter(|_| more).map(|row| Cursor {
            at: row.rows_gone_at,
            id: row.id,
        });
        let page = Page {
            shell,
            rows: rows.into_iter().map(|row| view(row, now)).collect(),
            pending,
            overdue,
            newest: query.before.is_some().then(|| "/erasures".to_owned()),
            older: oldest.map(|cursor| format!("/erasures?before={}", cursor::text(cursor))),
        };
        Ok(HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .body(page.render()?))
    })
    .await
}

fn view(row: Row, now: Now) -> Erasure {
    let state = match row.objects_gone_at {
        Some(_) => State::Gone,
        None if now.at - row.rows_gone_at > OVERDUE => State::Overdue,
        None => State::Pending,
    };
    let conversation = row.conversation_id.map(|id| {
        let name = names::conversation(
            row.kind.as_deref().unwrap_or_default(),
            row.source_id.as_deref().unwrap_or_default(),
            row.summary.as_deref(),
            row.profile.as_deref(),
            row.member_profiles.iter().flatten().map(Vec::as_slice),
        );
        (format!("/conversations/{id}"), name)
    });
    Erasure {
        id: row.id,
        conversation,
        channel: names::plain(&row.channel),
        message_id: names::plain(&row.message_id),
        asked: now.dated(row.asked_at),
        took: took(row.objects_gone_at.unwrap_or(now.at) - row.asked_at),
        state,
        rows: row.rows_erased,
        files: row.objects_found,
    }
}
