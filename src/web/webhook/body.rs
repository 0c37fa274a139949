//! Reads the body of a webhook request within limits of size, time and memory.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum size of a body, in bytes. LINE documents no limit; its webhooks are a few KiB.
const LIMIT: usize = 2 << 20;

/// Time limit for a body. actix has none: a client that sends one byte a second would hold a connection for ever.
const WITHIN: Duration = Duration::from_millis(1500);

/// A body of more bytes counts as large. For strangers the size is lower, because they can send as many as they like.
const LARGE: usize = 64 << 10;
const LARGE_OF_STRANGERS: usize = 16 << 10;

/// Limits how many large bodies are read at once. Strangers, from whose address no signed webhook came within 24 hours,
/// may send at most half of them.
pub struct Large {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

/// The sender of a body, before its signature can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// A signed webhook came from this address within 24 hours.
    Known,
    Stranger,
}

/// A place for one large body; freed when dropped.
struct Room {
    _all: OwnedSemaphorePermit,
    _stranger: Option<OwnedSemaphorePermit>,
}

impl Large {
    /// Makes room for `bodies` large bodies at once, of up to 2 MiB each.
    pub fn new(bodies: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(bodies)),
            strangers: Arc::new(Semaphore::new(bodies / 2)),
        }
    }

    fn room(&self, sender: Sender) -> Option<Room> {
        let one_of = |bodies: &Arc<Semaphore>| bodies.clone().try_acquire_owned().ok();
        let stranger = match sender {
            Sender::Known => None,
            Sender::Stranger => Some(one_of(&self.strangers)?),
        };
        Some(Room {
            _all: one_of(&self.all)?,
            _stranger: stranger,
        })
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
            Unread::Busy => super::not_stored("too many large bodies at once, try again"),
            Unread::Broken => HttpResponse::BadRequest().body("broken body"),
        }
    }
}

pub(super) async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    large: &Large,
    sender: Sender,
) -> Result<Bytes, Unread> {
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > LIMIT) {
        return Err(Unread::TooLarge);
    }
    tokio::time::timeout(
        WITHIN,
        collect(payload, declared.unwrap_or(0), large, sender),
    )
    .await
    .unwrap_or(Err(Unread::TooSlow))
}

async fn collect(
    mut payload: web::Payload,
    declared: usize,
    large: &Large,
    sender: Sender,
) -> Result<Bytes, Unread> {
    let mut body = BytesMut::with_capacity(declared.min(LARGE_OF_STRANGERS));
    let large_from = match sender {
        Sender::Known => LARGE,
        Sender::Stranger => LARGE_OF_STRANGERS,
    };
    let mut room = None;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Unread::Broken)?;
        if body.len() + chunk.len() > LIMIT {
            return Err(Unread::TooLarge);
        }
        if body.len() + chunk.len() > large_from && room.is_none() {
            room = Some(large.room(sender).ok_or(Unread::Busy)?);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_leave_half_of_the_room_to_known_senders() {
        let large = Large::new(4);
        let strangers: Vec<_> = (0..4)
            .filter_map(|_| large.room(Sender::Stranger))
            .collect();
        assert_eq!(strangers.len(), 2);
        let known: Vec<_> = (0..4).filter_map(|_| large.room(Sender::Known)).collect();
        assert_eq!(known.len(), 2);
        drop(strangers);
        assert!(large.room(Sender::Stranger).is_some());
    }
}
