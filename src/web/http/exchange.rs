//! What a connection and the app tell each other: when a request's head has arrived, how its body ends, when its answer is
//! complete. The server reads ahead of none of these.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_http::ConnectionType;
use actix_web::{
    Error as ActixError, HttpResponse,
    body::{BodySize, EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform},
    http::{Method, header},
    middleware::{Next, from_fn},
};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    admission::{Activity, Slot},
    refusal::Reason,
};

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No byte of the next head has come.
    Waiting,
    /// Some bytes of a head have come.
    Head,
    /// A head is complete; the app has not been called for it. What the server writes now is its own error.
    Parsing,
    /// The app answers a request.
    Answering,
    /// The last answer of this connection is complete. What still comes is read for a moment and thrown away.
    Closing,
}

/// How much of a body may still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLeft {
    /// So many bytes.
    Bytes(u64),
    /// Until it says that it ends.
    Chunked,
}

/// The state of one connection, shared by its socket and the app. Both live in one task.
pub(super) struct Exchange {
    pub(super) phase: Cell<Phase>,
    pub(super) body: Cell<BodyLeft>,
    /// When what is being waited for must have come.
    pub(super) deadline: Cell<Option<Instant>>,
    /// Set when requests came where none may come: the connection is cut.
    pub(super) broken: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    pub(super) slot: Slot,
}

impl Exchange {
    pub(super) fn new(slot: Slot) -> Self {
        let deadline = Instant::now() + slot.admission().limits().head;
        Self {
            phase: Cell::new(Phase::Waiting),
            body: Cell::new(BodyLeft::Bytes(0)),
            deadline: Cell::new(Some(deadline)),
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
            // It came behind a body whose end only the parser knows.
            self.broken.set(true);
            self.slot.admission().tally.count(Reason::Malformed);
        }
        self.phase.set(Phase::Answering);
        self.body.set(body);
        if body == BodyLeft::Bytes(0) {
            self.deadline.set(None);
            self.slot.does(Activity::Busy);
        } else {
            let within = self.slot.admission().limits().body;
            self.deadline.set(Some(Instant::now() + within));
            self.slot.does(activity);
            self.wake();
        }
    }

    /// The answer is complete, or given up.
    fn finish(&self) {
        let limits = self.slot.admission().limits();
        let now = Instant::now();
        // A rest of the body may be on its way, or its end cannot be told from here.
        if self.body.get() != BodyLeft::Bytes(0) {
            self.phase.set(Phase::Closing);
            self.deadline.set(Some(now + limits.linger));
        } else {
            self.phase.set(Phase::Waiting);
            self.deadline.set(Some(now + limits.idle));
        }
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

/// Wraps an app so that its connections know of each request and answer. It has to be the outermost wrap.
pub fn exchange<S, B>() -> impl Transform<
    S,
    ServiceRequest,
    Response = ServiceResponse<EitherBody<Answer<B>>>,
    Error = ActixError,
    InitError = (),
>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = ActixError> + 'static,
    B: MessageBody + 'static,
{
    from_fn(answer_one)
}

async fn answer_one<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<Answer<B>>>, ActixError> {
    let exchange = request.conn_data::<Rc<Exchange>>().cloned();
    let body = body_of(&request);
    if let Some(exchange) = &exchange {
        exchange.begin(body, activity_of(&request));
        if exchange.broken.get() {
            let refused = HttpResponse::BadRequest().force_close().finish();
            return Ok(request.into_response(refused).map_into_right_body());
        }
    }
    let ending = Ending(exchange);
    let mut answer = next.call(request).await?;
    if body == BodyLeft::Chunked {
        let head = answer.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(answer
        .map_body(|_, body| Answer {
            body: Box::pin(body),
            _ending: ending,
        })
        .map_into_left_body())
}

/// How the body ends, as actix will read it: by its length, or (chunked, upgraded) by what it says itself.
fn body_of(request: &ServiceRequest) -> BodyLeft {
    let headers = request.headers();
    let upgraded = headers
        .get(header::UPGRADE)
        .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if headers.contains_key(header::TRANSFER_ENCODING)
        || upgraded
        || request.method() == Method::CONNECT
    {
        return BodyLeft::Chunked;
    }
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.trim().parse().ok());
    BodyLeft::Bytes(length.unwrap_or(0))
}

/// What a connection with a body is doing. A webhook of a sender whose signatures were right of late is not one to make
/// room.
fn activity_of(request: &ServiceRequest) -> Activity {
    if crate::web::webhook::is_of_known_sender(request) {
        Activity::Busy
    } else {
        Activity::Body
    }
}
