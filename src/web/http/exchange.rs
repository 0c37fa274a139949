//! The state that a connection's socket and the app share: when a request's head has arrived, how its body ends, when
//! its response is complete. The socket gives actix only the bytes of the current step.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_web::{
    Error as ActixError, HttpResponse,
    body::{BodySize, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{ConnectionType, Method, StatusCode, Version, header},
    middleware::Next,
};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    admission::{Activity, Slot},
    chunked::{Chunked, Malformed},
    refusal::{self, Reason},
};

/// Maximum length of a request's path and query, in bytes. To parse a query of 30 kB took 1.7 ms, as long as 18 plain
/// requests.
const MAX_TARGET_BYTES: usize = 8 << 10;

/// The step that a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No byte of the next head has arrived.
    Waiting,
    /// Some bytes of a head have arrived.
    Head,
    /// A head is complete; the app has not been called for it. A write in this phase is an error response of actix.
    Parsing,
    /// The app answers a request.
    Answering,
    /// The last response of this connection is complete. Later bytes are read for a moment and discarded.
    Closing,
}

/// How much of a body may still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLeft {
    /// This number of bytes.
    Bytes(u64),
    /// Up to the end of the chunked encoding.
    Chunked(Chunked),
}

impl BodyLeft {
    /// There is no body, or all of it was read.
    pub(super) const NONE: Self = Self::Bytes(0);

    /// How many bytes of `held`, at most `max_bytes`, belong to the body, and how much of the body is left after them.
    pub(super) fn advance(self, held: &[u8], max_bytes: usize) -> Result<(usize, Self), Malformed> {
        let held = &held[..held.len().min(max_bytes)];
        match self {
            Self::Bytes(left) => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(held.len());
                Ok((count, Self::Bytes(left - count as u64)))
            }
            Self::Chunked(mut chunked) => {
                let count = chunked.advance(held)?;
                let left = match chunked.is_at_end() {
                    true => Self::NONE,
                    false => Self::Chunked(chunked),
                };
                Ok((count, left))
            }
        }
    }
}

/// The state of one connection, shared by its socket and the app. Both live in one task.
pub(super) struct Exchange {
    pub(super) phase: Cell<Phase>,
    pub(super) body: Cell<BodyLeft>,
    /// The time by which the client must have completed the current step; `None`: there is no limit.
    pub(super) deadline: Cell<Option<Instant>>,
    /// The connection is closed after this response.
    close_after_response: Cell<bool>,
    /// Set when actix starts a request in bytes that are no complete head to this module, such as bytes that it counts
    /// as a body (request smuggling). The connection is cut.
    pub(super) broken: Cell<bool>,
    read_waker: RefCell<Option<Waker>>,
    pub(super) slot: Slot,
}

impl Exchange {
    pub(super) fn new(slot: Slot) -> Self {
        let deadline = Instant::now() + slot.admission().limits().head;
        Self {
            phase: Cell::new(Phase::Waiting),
            body: Cell::new(BodyLeft::NONE),
            deadline: Cell::new(Some(deadline)),
            close_after_response: Cell::new(false),
            broken: Cell::new(false),
            read_waker: RefCell::default(),
            slot,
        }
    }

    /// Keeps the waker of a read that waits for the app.
    pub(super) fn store_read_waker(&self, cx: &Context<'_>) {
        *self.read_waker.borrow_mut() = Some(cx.waker().clone());
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.read_waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Notes that the app was called for a request with this `body`.
    fn begin(&self, body: BodyLeft, activity: Activity) {
        if self.phase.get() != Phase::Parsing {
            self.broken.set(true);
            self.slot.admission().tally.count(Reason::Malformed);
        }
        self.phase.set(Phase::Answering);
        self.body.set(body);
        if body == BodyLeft::NONE {
            self.deadline.set(None);
            self.slot.set_activity(Activity::Busy);
        } else {
            let within = self.slot.admission().limits().body;
            self.deadline.set(Some(Instant::now() + within));
            self.slot.set_activity(activity);
            self.wake();
        }
    }

    /// A blocked write went on, or a response ended. Sets the deadline of the phase that follows, if there is one.
    pub(super) fn set_next_deadline(&self) {
        let limits = self.slot.admission().limits();
        let within = match self.phase.get() {
            Phase::Closing => limits.linger,
            Phase::Waiting => limits.idle,
            Phase::Head | Phase::Parsing | Phase::Answering => return,
        };
        self.deadline.set(Some(Instant::now() + within));
    }

    /// The response is complete, or was given up.
    fn finish(&self) {
        // After a body that was not read to its end, the connection closes: the rest may still arrive, and must not be
        // read as the next request.
        if self.body.get() != BodyLeft::NONE || self.close_after_response.get() {
            self.phase.set(Phase::Closing);
        } else {
            self.phase.set(Phase::Waiting);
        }
        self.set_next_deadline();
        self.slot.set_activity(Activity::Idle);
        self.wake();
    }
}

/// Finishes the exchange when dropped: with the last byte of the response, or when the client has gone.
struct FinishOnDrop(Option<Rc<Exchange>>);

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        if let Some(exchange) = &self.0 {
            exchange.finish();
        }
    }
}

/// The body of a response; the exchange is finished when it is dropped.
pub struct TrackedBody<B> {
    body: Pin<Box<B>>,
    _finish: FinishOnDrop,
}

impl<B: MessageBody> MessageBody for TrackedBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.body.as_mut().poll_next(cx)
    }
}

/// Middleware: its connections know of each request and response. It has to be the outermost. If
/// `has_recent_signature` returns true for a request, its connection is not evicted while the body arrives.
pub async fn exchange(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    has_recent_signature: fn(&ServiceRequest) -> bool,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    let exchange = request.conn_data::<Rc<Exchange>>().cloned();
    let body = body_of(&request);
    if let Some(exchange) = &exchange {
        // A sender with a recent valid signature is not cut to make room for strangers.
        let activity = match has_recent_signature(&request) {
            true => Activity::Busy,
            false => Activity::Body,
        };
        exchange.begin(body, activity);
    }
    let supports_chunked = request.version() >= Version::HTTP_11;
    let finish = FinishOnDrop(exchange);
    let mut answer = match refusal_of(&request) {
        None => next.call(request).await?.map_into_left_body(),
        Some(status) => {
            if let Some(exchange) = &finish.0 {
                exchange.close_after_response.set(true);
            }
            let mut refused = HttpResponse::build(status);
            for header in refusal::HEADERS {
                refused.insert_header(header);
            }
            let refused = refused.force_close().finish();
            request.into_response(refused).map_into_right_body()
        }
    };
    if !supports_chunked && answer.response().body().size() == BodySize::Stream {
        // HTTP/1.0 has no chunked encoding: a body of unknown length ends with the connection.
        let head = answer.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
        if let Some(exchange) = &finish.0 {
            exchange.close_after_response.set(true);
        }
    }
    Ok(answer.map_body(|_, body| TrackedBody {
        body: Box::pin(body),
        _finish: finish,
    }))
}

/// How the body ends, as actix will read it: by its length, or by chunked encoding. actix has already refused ambiguous
/// requests.
fn body_of(request: &ServiceRequest) -> BodyLeft {
    let headers = request.headers();
    if is_tunnel_or_websocket(request) {
        return BodyLeft::NONE;
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return BodyLeft::Chunked(Chunked::default());
    }
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.trim().parse().ok());
    BodyLeft::Bytes(length.unwrap_or(0))
}

/// The status by which a request is refused before it reaches a route; `None`: it is not refused.
fn refusal_of(request: &ServiceRequest) -> Option<StatusCode> {
    let target = request.uri().path_and_query();
    if is_tunnel_or_websocket(request) {
        // actix would read all that follows as a body without an end.
        Some(StatusCode::NOT_IMPLEMENTED)
    } else if target.is_some_and(|target| target.as_str().len() > MAX_TARGET_BYTES) {
        Some(StatusCode::URI_TOO_LONG)
    } else {
        None
    }
}

/// True for a tunnel or a WebSocket: all later bytes would belong to it. This service has neither.
fn is_tunnel_or_websocket(request: &ServiceRequest) -> bool {
    let websocket = b"websocket";
    let mut upgrades = request.headers().get_all(header::UPGRADE);
    request.method() == Method::CONNECT
        || upgrades.any(|to| {
            let mut parts = to.as_bytes().windows(websocket.len());
            parts.any(|part| part.eq_ignore_ascii_case(websocket))
        })
}
