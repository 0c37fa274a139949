//! Reading a request's body: at most so long, and not for long.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::Semaphore;

/// LINE documents no limit; its webhooks are a few KiB.
const LIMIT: usize = 2 << 20;

/// actix has no time limit on bodies of its own: one byte a second would hold a connection for ever.
const WITHIN: Duration = Duration::from_millis(1500);

/// From here on a body counts as large.
const LARGE: usize = 64 << 10;

/// Bounds how many large bodies are read at once, before anything is known of their sender.
pub struct Large(Arc<Semaphore>);

impl Large {
    /// Room for `bodies` large bodies of up to 2 MiB each.
    pub fn new(bodies: usize) -> Self {
        Self(Arc::new(Semaphore::new(bodies)))
    }
}

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    TooSlow,
    Busy,
    Broken,
}

impl Unread {
    pub(super) fn answer(&self) -> HttpResponse {
        match self {
            Unread::TooLarge => HttpResponse::PayloadTooLarge().body("body too large"),
            Unread::TooSlow => HttpResponse::RequestTimeout().body("body too slow"),
            Unread::Busy => super::not_stored("too much is being received, try again"),
            Unread::Broken => HttpResponse::BadRequest().body("broken body"),
        }
    }
}

pub(super) async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    large: &Large,
) -> Result<Bytes, Unread> {
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > LIMIT) {
        return Err(Unread::TooLarge);
    }
    tokio::time::timeout(WITHIN, collect(payload, declared.unwrap_or(0), large))
        .await
        .unwrap_or(Err(Unread::TooSlow))
}

async fn collect(
    mut payload: web::Payload,
    declared: usize,
    large: &Large,
) -> Result<Bytes, Unread> {
    let mut body = BytesMut::with_capacity(declared.min(LARGE));
    let mut permit = None;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Unread::Broken)?;
        if body.len() + chunk.len() > LIMIT {
            return Err(Unread::TooLarge);
        }
        if body.len() + chunk.len() > LARGE && permit.is_none() {
            permit = Some(large.0.try_acquire().map_err(|_| Unread::Busy)?);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
