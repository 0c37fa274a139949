//! `GET /attachments/{id}` and its preview, `GET …/picture`, `GET /exports/{id}`: objects, which the app decrypts and
//! sends; browsers have no access to the object store.
//!
//! Nothing here is cached, and no address works longer than its object is in use. While an object is sent, its row is
//! checked again for each MiB, and the connection is closed once the message, or whatever else the object belongs to,
//! is erased. When the session ends, the connection is closed at once.

use std::{ops::Range, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    file_name,
    object::{self, Body, Object, head},
    sniff,
};
use crate::web::{
    Error, Remedy, Shared,
    auth::{ends::SessionEnd, session::Viewer},
    conversation::preview,
    detached,
    http::range::{self, Wanted},
};
use crate::{
    line::{event::Event, message::Content},
    records::{conversations, exports, media::State, timeline},
};

/// Bytes that are sent between two checks of the object's row.
const RECHECK_BYTES: usize = 1024 * 1024;

/// A browser that opens the file as a page may run and load nothing in it.
const SANDBOX: &str = "sandbox; default-src 'none'";

/// `GET /attachments/{id}`: the original.
pub(in crate::web) async fn original(
    request: HttpRequest,
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let access = Access::of(&viewer, viewer.sees_erasures());
    let file = find(&shared, viewer, *id).await?;
    let event = preview::parse(file.content.as_deref());
    let name = match event.as_ref().map(Event::content) {
        Some(Content::File { name, .. }) => Some(name),
        _ => None,
    };
    let Some(key) = file.original_key else {
        let from_line = file.is_at_line;
        return Err(match (file.is_lost, file.original_state) {
            (false, _) => Error::NotFound,
            (true, State::Gone | State::Failed) => Error::Damaged(Remedy::Restored { from_line }),
            (true, _) => Error::Damaged(Remedy::Fetched { from_line }),
        });
    };
    send(&request, shared, key, Portion::Whole, name, access).await
}

#[derive(Deserialize)]
pub(in crate::web) struct PreviewQuery {
    /// Pixels to a CSS pixel: 2 asks for the finer preview.
    #[serde(default)]
    x: u8,
}

/// `GET /attachments/{id}/preview?x=…`: a small picture; with `x=2` for a screen of two pixels to a CSS pixel.
pub(in crate::web) async fn preview(
    request: HttpRequest,
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
    query: web::Query<PreviewQuery>,
) -> Result<HttpResponse, Error> {
    let access = Access::of(&viewer, viewer.sees_erasures());
    let file = find(&shared, viewer, *id).await?;
    let key = file.preview_key.ok_or(Error::NotFound)?;
    let smaller = file.preview_smaller.and_then(|bytes| bytes.try_into().ok());
    let portion = match smaller {
        Some(bytes) if query.x == 2 => Portion::After(bytes),
        Some(bytes) => Portion::First(bytes),
        None => Portion::Whole,
    };
    send(&request, shared, key, portion, None, access).await
}

async fn find(
    shared: &web::Data<Shared>,
    viewer: Viewer,
    id: Uuid,
) -> Result<timeline::File, Error> {
    let shared = shared.clone();
    detached(async move {
        let mut conn = shared.pool.acquire().await?;
        timeline::file(&mut conn, &shared.keyring, &viewer.session.channels, id)
            .await?
            .ok_or(Error::NotFound)
    })
    .await
}

/// `GET /contacts/{id}/picture`
pub(in crate::web) async fn contact_picture(
    request: HttpRequest,
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let find = async move |db: &mut PgConnection, channels: &[i32]| {
        conversations::contact_picture(db, channels, *id).await
    };
    send_found(&request, shared, viewer, None, find).await
}

/// `GET /conversations/{id}/picture`
pub(in crate::web) async fn conversation_picture(
    request: HttpRequest,
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let find = async move |db: &mut PgConnection, channels: &[i32]| {
        conversations::picture(db, channels, *id).await
    };
    send_found(&request, shared, viewer, None, find).await
}

/// `GET /exports/{id}`: the export for a person.
pub(in crate::web) async fn export(
    request: HttpRequest,
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    let find =
        async move |db: &mut PgConnection, channels: &[i32]| exports::find(db, channels, *id).await;
    let sent = send_found(&request, shared, viewer, Some("export.zip"), find).await;
    sent.map_err(|error| match error {
        Error::Damaged(_) => Error::Damaged(Remedy::MadeAnew),
        error => error,
    })
}

/// Sends the object whose key `find` reads from the database, for the viewer's channels.
async fn send_found(
    request: &HttpRequest,
    shared: web::Data<Shared>,
    viewer: Viewer,
    name: Option<&str>,
    find: impl AsyncFnOnce(&mut PgConnection, &[i32]) -> sqlx::Result<Option<String>> + 'static,
) -> Result<HttpResponse, Error> {
    let access = Access::of(&viewer, false);
    let database = shared.clone();
    let key = detached(async move {
        let mut conn = database.pool.acquire().await?;
        let key = find(&mut conn, &viewer.session.channels).await?;
        key.ok_or(Error::NotFound)
    });
    send(request, shared, key.await?, Portion::Whole, name, access).await
}

/// The viewer's rights and session: they decide whether, and for how long, an object is sent.
struct Access {
    /// True: objects of withheld messages are sent too.
    withheld: bool,
    end: Arc<SessionEnd>,
}

impl Access {
    fn of(viewer: &Viewer, withheld: bool) -> Self {
        let end = Arc::clone(&viewer.end);
        Self { withheld, end }
    }
}

/// The part of an object that is sent.
enum Portion {
    Whole,
    /// This many bytes at its beginning.
    First(u64),
    /// All but this many bytes at its beginning.
    After(u64),
}

/// Sends an object, as long as it is in use and the viewer may see it. `name`: the file name to save it under, if it
/// has one.
async fn send(
    request: &HttpRequest,
    shared: web::Data<Shared>,
    key: String,
    portion: Portion,
    name: Option<&str>,
    access: Access,
) -> Result<HttpResponse, Error> {
    let sent = respond(request, &shared, &key, portion, name, access).await;
    if matches!(sent, Err(Error::Damaged(_))) {
        object::suspect(&shared, key).await;
    }
    sent
}

async fn respond(
    request: &HttpRequest,
    shared: &web::Data<Shared>,
    key: &str,
    portion: Portion,
    name: Option<&str>,
    access: Access,
) -> Result<HttpResponse, Error> {
    let object = Object::find(shared, key, access.withheld).await?;
    object.check_last_chunk(shared).await?;
    let within = match portion {
        Portion::Whole => 0..object.size,
        Portion::First(bytes) => 0..bytes.min(object.size),
        Portion::After(bytes) => bytes.min(object.size)..object.size,
    };
    let (start, size) = (within.start, within.end - within.start);
    let first = start..start + size.min(sniff::ENOUGH);
    let first = object.read(shared, first).await?;
    let first: Vec<Bytes> = first.try_collect().await?;
    let kind = sniff::playable(&first.concat());
    if kind.is_none() && !is_download(request) {
        return Err(Error::NotFound);
    }
    let Some((status, part)) = selected(request, size) else {
        return Ok(HttpResponse::RangeNotSatisfiable()
            .insert_header((header::CONTENT_RANGE, format!("bytes */{size}")))
            .finish());
    };
    let mut response = HttpResponse::build(status);
    response
        .content_type(kind.unwrap_or("application/octet-stream"))
        .insert_header((header::CONTENT_SECURITY_POLICY, SANDBOX))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        // If the body were compressed, a range would count other bytes.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .no_chunking(part.end - part.start);
    let disposition = match (kind, name) {
        (None, name) => Some(file_name::attachment(name.unwrap_or("file"))),
        (Some(kind), Some(name)) => Some(file_name::inline(name, kind)),
        (Some(_), None) => None,
    };
    if let Some(disposition) = disposition {
        response.insert_header((header::CONTENT_DISPOSITION, disposition));
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let (first, last) = (part.start, part.end - 1);
        let range = format!("bytes {first}-{last}/{size}");
        response.insert_header((header::CONTENT_RANGE, range));
    }
    let part = start + part.start..start + part.end;
    let body = object.read(shared, part).await?;
    let body = checked_stream(body, shared.clone(), key.to_owned(), access);
    Ok(response.streaming(Box::pin(body)))
}

/// The status of the response and the bytes that the request asks for; `None` if they are beyond the end.
fn selected(request: &HttpRequest, size: u64) -> Option<(StatusCode, Range<u64>)> {
    // The server never sends a validator, so an `If-Range` is about another file and does not match: the whole file has
    // to be sent (RFC 9110, 13.1.5).
    let conditional = request.headers().contains_key(header::IF_RANGE);
    let asked = request.headers().get(header::RANGE);
    let asked = asked.filter(|_| !conditional);
    match range::read(asked.and_then(|value| value.to_str().ok()), size) {
        Wanted::All => Some((StatusCode::OK, 0..size)),
        Wanted::Part(part) => Some((StatusCode::PARTIAL_CONTENT, part)),
        Wanted::Unsatisfiable => None,
    }
}

/// True if the file is to be downloaded, false if a page loads it to show or play it (`Sec-Fetch-Dest`). A player
/// detects the format of any file by itself, and a playlist makes it load other addresses. A request without the header
/// counts as a download.
fn is_download(request: &HttpRequest) -> bool {
    let wanted = request.headers().get("sec-fetch-dest");
    wanted.is_none_or(|wanted| wanted == "document" || wanted == "empty")
}

/// Passes the bytes on as long as the object is in use and the session lasts. An erasure takes the objects out of use
/// in the transaction that deletes the rows.
fn checked_stream(
    body: Body,
    shared: web::Data<Shared>,
    key: String,
    access: Access,
) -> impl Stream<Item = Result<Bytes, Error>> {
    let start = (body, 0, shared, key, access);
    stream::try_unfold(
        start,
        move |(mut body, mut sent, shared, key, access)| async move {
            let next = tokio::select! {
                biased;
                () = access.end.ended() => return Err(Error::SignedOut),
                next = body.next() => next.transpose(),
            };
            if matches!(next, Err(Error::Damaged(_))) {
                object::suspect(&shared, key.clone()).await;
            }
            let Some(bytes) = next? else {
                return Ok(None);
            };
            sent += bytes.len();
            if sent >= RECHECK_BYTES {
                sent = 0;
                if head(&shared, &key, access.withheld).await?.is_none() {
                    return Err(Error::NotFound);
                }
            }
            Ok(Some((bytes, (body, sent, shared, key, access))))
        },
    )
}
