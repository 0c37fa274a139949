//! `GET /live`: a stream of server-sent events that say which conversations changed.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Display,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::{Instant, Interval, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::web::{Error, Shared, auth::session::Viewer, detached};
use crate::{
    live::{Change, Mark},
    records::{conversations, sessions},
};

/// The most open streams of one session: browsers allow six connections to a host.
const MAX_STREAMS: usize = 4;
/// How often a stream sends a comment: proxies close silent connections.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often a stream looks whether its session has expired after a time without requests. If a session is ended, its
/// streams are closed at once ([`crate::web::auth::ends`]).
const SESSION_CHECK: Duration = Duration::from_secs(60);
/// How long a stream gathers changes after the first one, to send them as one event.
const GATHER: Duration = Duration::from_millis(200);

/// The open streams of each session, the oldest first.
#[derive(Default)]
pub(in crate::web) struct Streams(Mutex<HashMap<[u8; 32], VecDeque<CancellationToken>>>);

/// The slot of one stream in [`Streams`]; it is freed when dropped.
struct StreamSlot {
    shared: web::Data<Shared>,
    session: [u8; 32],
    /// Cancelled when a newer stream needs the slot. The server notices only at the next heartbeat that a browser has
    /// left a page, so the oldest stream makes room.
    evicted: CancellationToken,
}

impl StreamSlot {
    fn take(shared: web::Data<Shared>, session: [u8; 32]) -> Self {
        let evicted = CancellationToken::new();
        let mut open = shared.streams.open();
        let streams = open.entry(session).or_default();
        streams.push_back(evicted.clone());
        if streams.len() > MAX_STREAMS
            && let Some(oldest) = streams.pop_front()
        {
            oldest.cancel();
        }
        drop(open);
        Self {
            shared,
            session,
            evicted,
        }
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        // If no newer stream has cancelled this one, it is still in the list: cancelling it marks it for the removal
        // below.
        self.evicted.cancel();
        let mut open = self.shared.streams.open();
        if let Some(streams) = open.get_mut(&self.session) {
            streams.retain(|stream| !stream.is_cancelled());
            if streams.is_empty() {
                open.remove(&self.session);
            }
        }
    }
}

impl Streams {
    fn open(&self) -> MutexGuard<'_, HashMap<[u8; 32], VecDeque<CancellationToken>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
pub(in crate::web) struct Query {
    #[serde(default)]
    since: String,
}

/// `GET /live?since=<mark>`. A reconnecting browser sends its last mark as `Last-Event-ID`.
pub(in crate::web) async fn stream(
    request: HttpRequest,
    shared: web::Data<Shared>,
    viewer: Viewer,
    query: web::Query<Query>,
) -> Result<HttpResponse, Error> {
    let slot = StreamSlot::take(shared.clone(), viewer.token_hash);
    let last = request.headers().get("last-event-id");
    let since = last
        .and_then(|mark| mark.to_str().ok())
        .unwrap_or(&query.since);
    let (mark, changes) = shared.live.subscribe();
    let missed = (since != mark.to_string()).then_some(mark);
    let (sender, receiver) = mpsc::channel(4);
    actix_web::rt::spawn(run(slot, viewer, changes, missed, sender));
    let body = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
        let chunk = receiver.recv().await?;
        Some((Ok::<_, Error>(chunk), receiver))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(Box::pin(body)))
}

/// Feeds one stream until the browser disconnects, a newer stream takes the slot, the session ends, or the service
/// stops.
async fn run(
    slot: StreamSlot,
    viewer: Viewer,
    changes: broadcast::Receiver<(Mark, Change)>,
    missed: Option<Mark>,
    sender: mpsc::Sender<Bytes>,
) {
    if !greet(&sender, missed).await {
        return;
    }
    let mut feed = Feed {
        heartbeat: interval_at(Instant::now() + HEARTBEAT, HEARTBEAT),
        session_check: interval_at(Instant::now() + SESSION_CHECK, SESSION_CHECK),
        sender,
        changes,
        viewer,
        slot,
    };
    while let Some(first) = feed.next().await {
        sleep(GATHER).await;
        let (mark, change) = feed.gather(first);
        if !feed.report(mark, change).await {
            return;
        }
    }
}

/// Sends the beginning of a stream. False if the browser has disconnected.
async fn greet(sender: &mpsc::Sender<Bytes>, missed: Option<Mark>) -> bool {
    if !send(sender, "retry: 2000\n\n".to_owned()).await {
        return false;
    }
    match missed {
        Some(mark) => send(sender, event(mark, &Change::Anything)).await,
        None => true,
    }
}

async fn send(sender: &mpsc::Sender<Bytes>, text: String) -> bool {
    sender.send(text.into()).await.is_ok()
}

/// The parts of one stream. The slot is freed last.
struct Feed {
    heartbeat: Interval,
    session_check: Interval,
    sender: mpsc::Sender<Bytes>,
    changes: broadcast::Receiver<(Mark, Change)>,
    viewer: Viewer,
    slot: StreamSlot,
}

impl Feed {
    /// Waits for a change, and meanwhile sends the heartbeat and checks the session. `None`: the stream has to end.
    async fn next(&mut self) -> Option<Result<(Mark, Change), RecvError>> {
        loop {
            tokio::select! {
                change = self.changes.recv() => return Some(change),
                _ = self.heartbeat.tick() => {
                    if !send(&self.sender, ":\n\n".to_owned()).await {
                        return None;
                    }
                }
                _ = self.session_check.tick() => {
                    if !session_is_valid(self.slot.shared.clone(), &self.viewer).await {
                        return None;
                    }
                }
                () = self.slot.evicted.cancelled() => {
                    send(&self.sender, "event: yield\ndata:\n\n".to_owned()).await;
                    return None;
                }
                () = self.sender.closed() => return None,
                () = self.slot.shared.live.closed() => return None,
                () = self.viewer.end.ended() => return None,
            }
        }
    }

    /// Merges the first change with those that have followed it. Returns the mark of the last one.
    fn gather(&mut self, first: Result<(Mark, Change), RecvError>) -> (Mark, Change) {
        let (mut mark, mut change) = match first {
            Ok(told) => told,
            // The receiver lagged behind by more changes than the channel holds: subscribe anew, and read everything
            // again.
            Err(_) => {
                let (mark, now) = self.slot.shared.live.subscribe();
                self.changes = now;
                (mark, Change::Anything)
            }
        };
        while let Ok((later, next)) = self.changes.try_recv() {
            mark = later;
            change = merge(change, next);
        }
        (mark, change)
    }

    /// Sends the part of a change within the operator's scope. False: the stream has to end.
    async fn report(&self, mark: Mark, change: Change) -> bool {
        let shared = self.slot.shared.clone();
        match limit_to_scope(shared, &self.viewer, change).await {
            Some(change) => {
                !self.viewer.end.has_ended() && send(&self.sender, event(mark, &change)).await
            }
            None => true,
        }
    }
}

fn merge(a: Change, b: Change) -> Change {
    match (a, b) {
        (Change::Conversations(mut ids), Change::Conversations(more)) => {
            ids.extend(more);
            ids.sort_unstable();
            ids.dedup();
            Change::Conversations(ids)
        }
        _ => Change::Anything,
    }
}

fn event(mark: impl Display, change: &Change) -> String {
    let data = match change {
        Change::Anything => "*".to_owned(),
        Change::Conversations(ids) => {
            let ids: Vec<_> = ids.iter().map(Uuid::to_string).collect();
            ids.join(",")
        }
    };
    format!("id: {mark}\nevent: changed\ndata: {data}\n\n")
}

async fn session_is_valid(shared: web::Data<Shared>, viewer: &Viewer) -> bool {
    let token_hash = viewer.token_hash;
    detached(async move {
        let mut conn = shared.pool.acquire().await?;
        let now = shared.clock.now();
        let session = sessions::find(&mut conn, &shared.keyring, &token_hash, now).await?;
        Ok(session.yes().is_some())
    })
    .await
    // A database that does not answer now is no reason to end the stream.
    .unwrap_or(true)
}

/// The part of a change within this operator's scope; `None`: nothing of it is in scope. If the database does not answer:
/// [`Change::Anything`], which names no conversation.
async fn limit_to_scope(
    shared: web::Data<Shared>,
    viewer: &Viewer,
    change: Change,
) -> Option<Change> {
    let Change::Conversations(ids) = change else {
        return Some(change);
    };
    if viewer.session.all_channels {
        return Some(Change::Conversations(ids));
    }
    let channels = viewer.session.channels.clone();
    let ids = detached(async move {
        let mut conn = shared.pool.acquire().await?;
        Ok(conversations::among(&mut conn, &channels, &ids).await?)
    })
    .await;
    match ids {
        Ok(ids) if ids.is_empty() => None,
        Ok(ids) => Some(Change::Conversations(ids)),
        Err(_) => Some(Change::Anything),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_gathered() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let of = |ids: &[Uuid]| Change::Conversations(ids.to_vec());
        assert_eq!(merge(of(&[b]), of(&[a, b])), of(&[a, b]));
        assert_eq!(merge(of(&[b]), Change::Anything), Change::Anything);
    }

    #[test]
    fn an_event_has_its_mark_and_ids_only() {
        let ids = vec![Uuid::from_u128(1), Uuid::from_u128(2)];
        assert_eq!(
            event("b-7", &Change::Conversations(ids)),
            "id: b-7\nevent: changed\ndata: 00000000-0000-0000-0000-000000000001,\
             00000000-0000-0000-0000-000000000002\n\n"
        );
    }
}
