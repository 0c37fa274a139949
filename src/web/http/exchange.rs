//! What a connection and the app tell each other: when a request's head has arrived, how its body ends, when its answer is
//! complete. The server reads ahead of none of these.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_web::{
    Error as ActixError, HttpResponse,
    body::{BodySize, EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform},
    http::{ConnectionType, Method, StatusCode, Version, header},
    middleware::{Next, from_fn},
};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    admission::{Activity, Slot},
    chunked::{Chunked, Malformed},
    refusal::{self, Reason},
};

/// Bytes of a request's path and query. A query of 30 kB took 1.7 ms to be taken apart, as long as 18 plain requests.
const MOST_TARGET: usize = 8 << 10;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No byte of the next head has come.
    Waiting,
    /// Some bytes of a head have come.
    Head,
    /// A head is complete; the app has not been called for it. A write in this phase is actix's own error.
    Parsing,
    /// The app answers a request.
    Answering,
    /// The last answer of this connection is complete. Later bytes are read for a moment and thrown away.
    Closing,
}

/// How much of a body may still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLeft {
    /// This number of bytes.
    Bytes(u64),
    /// Until it says that it ends.
    Chunked(Chunked),
}

impl BodyLeft {
    /// There is no body, or it was read.
    pub(super) const NONE: Self = Self::Bytes(0);

    /// How many of `held` belong to the body, of `most` at most, and what is left of it then.
    pub(super) fn take(self, held: &[u8], most: usize) -> Result<(usize, Self), Malformed> {
        let held = &held[..held.len().min(most)];
        match self {
            Self::Bytes(left) => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(held.len());
                Ok((count, Self::Bytes(left - count as u64)))
            }
            Self::Chunked(mut chunked) => {
                let count = chunked.take(held)?;
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
    /// When what is being waited for must have come.
    pub(super) deadline: Cell<Option<Instant>>,
    /// The connection is closed after this answer.
    last: Cell<bool>,
    /// Set when actix read a request where none may come: the two disagree on where a body ends, and the connection is cut.
    pub(super) broken: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    pub(super) slot: Slot,
}

impl Exchange {
    pub(super) fn new(slot: Slot) -> Self {
        let deadline = Instant::now() + slot.admission().limits().head;
        Self {
            phase: Cell::new(Phase::Waiting),
            body: Cell::new(BodyLeft::NONE),
            deadline: Cell::new(Some(deadline)),
            last: Cell::new(false),
            broken: Cell::new(false),
            reader: RefCell::default(),
            slot,
        }
    }

    /// Keeps the waker of a read that waits for the app.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        *self.reader.borrow_mut() = Some(cx.waker().clone());
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.reader.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The app has been called for a request whose body is `body`.
    fn begin(&self, body: BodyLeft, activity: Activity) {
        if self.phase.get() != Phase::Parsing {
            self.broken.set(true);
            self.slot.admission().tally.count(Reason::Malformed);
        }
        self.phase.set(Phase::Answering);
        self.body.set(body);
        if body == BodyLeft::NONE {
            self.deadline.set(None);
            self.slot.does(Activity::Busy);
        } else {
            let within = self.slot.admission().limits().body;
            self.deadline.set(Some(Instant::now() + within));
            self.slot.does(activity);
            self.wake();
        }
    }

    /// The client has taken what waited for it: after an answer, the time for what comes next begins.
    pub(super) fn written(&self) {
        let limits = self.slot.admission().limits();
        let within = match self.phase.get() {
            Phase::Closing => limits.linger,
            Phase::Waiting => limits.idle,
            Phase::Head | Phase::Parsing | Phase::Answering => return,
        };
        self.deadline.set(Some(Instant::now() + within));
    }

    /// The answer is complete, or given up.
    fn finish(&self) {
        // A rest of the body may be on its way.
        if self.body.get() != BodyLeft::NONE || self.last.get() {
            self.phase.set(Phase::Closing);
        } else {
            self.phase.set(Phase::Waiting);
        }
        self.written();
        self.slot.does(Activity::Idle);
        self.wake();
    }
}

/// Finishes the exchange when dropped: with the last byte of the answer, or when the client has gone.
struct Ending(Option<Rc<Exchange>>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(exchange) = &self.0 {
            exchange.finish();
        }
    }
}

/// The body of an answer, which ends the exchange.
pub struct Answer<B> {
    body: Pin<Box<B>>,
    _ending: Ending,
}

impl<B: MessageBody> MessageBody for Answer<B> {
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

/// Wraps an app so that its connections know of each request and answer. It has to be the outermost wrap. The body of
/// a request whose sender `is_known` never makes room.
pub fn exchange<S, B>(
    is_known: fn(&ServiceRequest) -> bool,
) -> impl Transform<
    S,
    ServiceRequest,
    Response = ServiceResponse<Answer<EitherBody<B>>>,
    Error = ActixError,
    InitError = (),
>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = ActixError> + 'static,
    B: MessageBody + 'static,
{
    from_fn(move |request, next| answer_one(request, next, is_known))
}

async fn answer_one<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
    is_known: fn(&ServiceRequest) -> bool,
) -> Result<ServiceResponse<Answer<EitherBody<B>>>, ActixError> {
    let exchange = request.conn_data::<Rc<Exchange>>().cloned();
    let body = body_of(&request);
    if let Some(exchange) = &exchange {
        // A sender whose signatures were right of late is not cut for strangers.
        let activity = match is_known(&request) {
            true => Activity::Busy,
            false => Activity::Body,
        };
        exchange.begin(body, activity);
    }
    let knows_chunks = request.version() >= Version::HTTP_11;
    let ending = Ending(exchange);
    let mut answer = match refusal_of(&request) {
        None => next.call(request).await?.map_into_left_body(),
        Some(status) => {
            if let Some(exchange) = &ending.0 {
                exchange.last.set(true);
            }
            let mut refused = HttpResponse::build(status);
            for header in refusal::HEADERS {
                refused.insert_header(header);
            }
            let refused = refused.force_close().finish();
            request.into_response(refused).map_into_right_body()
        }
    };
    if !knows_chunks && answer.response().body().size() == BodySize::Stream {
        // HTTP/1.0 has no chunks: such a body ends with the connection.
        let head = answer.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
        if let Some(exchange) = &ending.0 {
            exchange.last.set(true);
        }
    }
    Ok(answer.map_body(|_, body| Answer {
        body: Box::pin(body),
        _ending: ending,
    }))
}

/// How the body ends, as actix will read it: by its length, or by what it says itself. actix has refused what could be
/// understood in two ways.
fn body_of(request: &ServiceRequest) -> BodyLeft {
    let headers = request.headers();
    if is_stream(request) {
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

/// Why no route is asked.
fn refusal_of(request: &ServiceRequest) -> Option<StatusCode> {
    let target = request.uri().path_and_query();
    if is_stream(request) {
        // actix would read all that follows as a body without an end.
        Some(StatusCode::NOT_IMPLEMENTED)
    } else if target.is_some_and(|target| target.as_str().len() > MOST_TARGET) {
        Some(StatusCode::URI_TOO_LONG)
    } else {
        None
    }
}

/// A tunnel or a WebSocket: everything that follows belongs to it. There are none here.
fn is_stream(request: &ServiceRequest) -> bool {
    let websocket = b"websocket";
    let mut upgrades = request.headers().get_all(header::UPGRADE);
    request.method() == Method::CONNECT
        || upgrades.any(|to| {
            let mut parts = to.as_bytes().windows(websocket.len());
            parts.any(|part| part.eq_ignore_ascii_case(websocket))
        })
}
