//! A connection's socket, which hands actix one request at a time and gives every step a deadline.
//!
//! actix-http 3.20 has a deadline for a connection's first head only, keeps reading a chunked body without a limit
//! after it has answered the request, never gives up a write, and reads pipelined requests while their responses wait
//! unread (measured: 11.7 MB kept for one connection). Here a head is handed over only when it is complete, nothing
//! after a request is handed over until that is answered, and nothing is read while a response waits for the client.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    admission::Activity,
    exchange::{BodyLeft, Exchange, Phase},
    head::end_of_head,
    limits::Limits,
    refusal::{self, Reason},
};

/// How much is read at once while a head is awaited.
const HEAD_READ_BYTES: usize = 2048;
/// How much of a body is read at once.
const BODY_READ_BYTES: usize = 16 << 10;

/// An incomplete head of more than this many bytes needs a permit to be kept.
const SHORT_HEAD_BYTES: usize = 4096;

pub(super) struct Connection {
    stream: TcpStream,
    exchange: Rc<Exchange>,
    /// Bytes that were read and not yet handed over to actix.
    buffer: BytesMut,
    /// Number of bytes of `buffer` that were already searched for the end of a head.
    scanned: usize,
    /// Number of bytes of `buffer` up to the end of a complete head; `None`: the head is not complete.
    head_left: Option<usize>,
    long_head_permit: Option<OwnedSemaphorePermit>,
    /// A refusal was sent in place of actix's response: nothing more is written.
    refused: bool,
    /// Fires at the deadline, or earlier; then it is reset to the deadline.
    timer: Pin<Box<Sleep>>,
    stall: Option<Stall>,
}

/// Measures how much a client reads of its response while writes are blocked.
struct Stall {
    timer: Pin<Box<Sleep>>,
    written: usize,
    blocked: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, exchange: Exchange) -> Self {
        let deadline = exchange.deadline.get().unwrap_or_else(Instant::now);
        Self {
            stream,
            exchange: Rc::new(exchange),
            buffer: BytesMut::new(),
            scanned: 0,
            head_left: None,
            long_head_permit: None,
            refused: false,
            timer: Box::pin(sleep_until(deadline)),
            stall: None,
        }
    }

    pub(super) fn exchange(&self) -> Rc<Exchange> {
        self.exchange.clone()
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Notes that the first head is complete. False if the served connections are at their limit and all busy.
    pub(super) fn try_serve(&self) -> bool {
        self.exchange.slot.try_serve()
    }

    fn limits(&self) -> &Limits {
        self.exchange.slot.admission().limits()
    }

    /// Counts `reason`, sends a refusal with `status` if there is one, and returns the error that closes the
    /// connection.
    fn cut(&self, reason: Reason, status: Option<&str>) -> io::Error {
        self.exchange.slot.admission().tally.count(reason);
        if let Some(status) = status {
            refusal::send(&self.stream, status);
        }
        io::ErrorKind::ConnectionAborted.into()
    }

    /// Fails once the connection has to close: it was evicted, it is broken, or a deadline has passed.
    fn poll_alive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.exchange.slot.is_evicted(cx) {
            return Err(self.cut(Reason::Evicted, None));
        }
        if self.exchange.broken.get() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let Some(deadline) = self.exchange.deadline.get() else {
            return Ok(());
        };
        // Bytes of a response are still being sent; they have a deadline of their own.
        if self.is_blocked() {
            return Ok(());
        }
        // A later deadline is set only when the timer fires at the earlier one, so that most requests reset no timer.
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Err(self.deadline_error());
            }
            self.timer.as_mut().reset(deadline);
        }
        Ok(())
    }

    fn deadline_error(&self) -> io::Error {
        let is_before_first_head = self.exchange.slot.activity() == Activity::Head;
        match self.exchange.phase.get() {
            Phase::Head | Phase::Parsing => self.cut(Reason::SlowHead, Some("408 Request Timeout")),
            Phase::Waiting if is_before_first_head => self.cut(Reason::Silent, None),
            Phase::Answering => self.cut(Reason::SlowBody, None),
            Phase::Closing | Phase::Waiting => io::ErrorKind::ConnectionAborted.into(),
        }
    }

    /// Waits for a complete head; later bytes may have been read as well. `false`: the client closed the connection
    /// before.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.poll_alive(cx)?;
        while !self.find_head()? {
            if ready!(self.poll_fill(cx, HEAD_READ_BYTES))? == 0 {
                return Poll::Ready(Ok(false));
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Reads the bytes that have arrived, at most `max_bytes`. Returns 0 once the client has closed its side.
    ///
    /// They are read onto the stack, so that a waiting connection keeps only the bytes that have arrived (reading
    /// straight into the buffer kept 4 KiB for each slow head).
    fn poll_fill(&mut self, cx: &mut Context<'_>, max_bytes: usize) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); BODY_READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space[..max_bytes.min(BODY_READ_BYTES)]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Looks for the end of a head in `buffer`: an empty line, whether lines end in CR LF or LF alone (RFC 9112,
    /// section 2.2). Empty lines before a head do not count.
    fn find_head(&mut self) -> io::Result<bool> {
        if self.head_left.is_some() {
            return Ok(true);
        }
        if self.exchange.phase.get() == Phase::Waiting && !self.head_begins() {
            return Ok(false);
        }
        let from = self.scanned.saturating_sub(2);
        self.head_left = end_of_head(&self.buffer[from..]).map(|end| from + end);
        self.scanned = self.buffer.len();
        if self.head_left.unwrap_or(self.scanned) > self.limits().head_bytes {
            let status = "431 Request Header Fields Too Large";
            return Err(self.cut(Reason::LongHead, Some(status)));
        }
        if self.head_left.is_none()
            && self.scanned > SHORT_HEAD_BYTES
            && self.long_head_permit.is_none()
        {
            self.long_head_permit = self.exchange.slot.admission().long_head();
            if self.long_head_permit.is_none() {
                return Err(self.cut(Reason::LongHead, Some("503 Service Unavailable")));
            }
        }
        Ok(self.head_left.is_some())
    }

    /// True if the first byte of a head has arrived; then the head's deadline is set.
    fn head_begins(&mut self) -> bool {
        let blank = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let blank = self.buffer.iter().take_while(blank).count();
        self.buffer.advance(blank);
        self.scanned = 0;
        if self.buffer.is_empty() {
            return false;
        }
        self.exchange.phase.set(Phase::Head);
        // The time of a connection's first head began with its accept.
        if self.exchange.slot.activity() != Activity::Head {
            self.exchange.slot.set_activity(Activity::Head);
            let deadline = Instant::now() + self.limits().head;
            self.exchange.deadline.set(Some(deadline));
        }
        true
    }

    /// Hands over up to `max_bytes` bytes of `buffer`. Returns how many.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>, max_bytes: usize) -> usize {
        let count = self.buffer.len().min(max_bytes).min(buf.remaining());
        buf.put_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        count
    }

    fn poll_next_head(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if ready!(self.poll_head(cx))? {
            let left = self.head_left.unwrap_or(0);
            let left = left - self.hand_over(buf, left);
            self.head_left = (left > 0).then_some(left);
            if left == 0 {
                self.scanned = 0;
                self.long_head_permit = None;
                self.exchange.slot.set_activity(Activity::Busy);
                self.exchange.phase.set(Phase::Parsing);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let body = self.exchange.body.get();
        if body == BodyLeft::NONE {
            self.exchange.store_read_waker(cx);
            return Poll::Pending;
        }
        if self.buffer.is_empty() {
            ready!(self.poll_fill(cx, BODY_READ_BYTES))?;
        }
        let Ok((count, left)) = body.advance(&self.buffer, buf.remaining()) else {
            return Poll::Ready(Err(self.cut(Reason::Malformed, Some("400 Bad Request"))));
        };
        self.hand_over(buf, count);
        self.exchange.body.set(left);
        if left == BodyLeft::NONE {
            self.exchange.deadline.set(None);
            self.exchange.slot.set_activity(Activity::Busy);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a refusal in place of actix, which has refused the request, so that the response has the security headers.
    /// Returns how many bytes of actix's own response count as written.
    fn answer_malformed(&mut self, actix_response: &[u8]) -> usize {
        let status = match actix_response.get(9..12) {
            Some(b"431") => "431 Request Header Fields Too Large",
            _ => "400 Bad Request",
        };
        self.exchange
            .slot
            .admission()
            .tally
            .count(Reason::Malformed);
        refusal::send(&self.stream, status);
        self.refused = true;
        self.exchange.phase.set(Phase::Closing);
        let deadline = Instant::now() + self.limits().linger;
        self.exchange.deadline.set(Some(deadline));
        actix_response.len()
    }

    fn is_blocked(&self) -> bool {
        self.stall.as_ref().is_some_and(|stall| stall.blocked)
    }

    /// Notes that a write is blocked because the client does not read; fails when it has read too little for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let within = self.limits().stall;
        let now = Instant::now();
        let stall = self.stall.get_or_insert_with(|| Stall {
            timer: Box::pin(sleep_until(now + within)),
            written: 0,
            blocked: false,
        });
        // A window that ended while no write was blocked does not count: a new one begins.
        if !std::mem::replace(&mut stall.blocked, true) && stall.timer.deadline() < now {
            stall.written = 0;
            stall.timer.as_mut().reset(now + within);
        }
        while stall.timer.as_mut().poll(cx).is_ready() {
            if stall.written < Limits::STALL_BYTES {
                return Err(self.cut(Reason::Unread, None));
            }
            stall.written = 0;
            stall.timer.as_mut().reset(Instant::now() + within);
        }
        self.exchange.slot.set_activity(Activity::Stalled);
        Ok(())
    }

    fn wrote(&mut self, count: usize) {
        let Some(stall) = &mut self.stall else { return };
        stall.written = stall.written.saturating_add(count);
        if std::mem::take(&mut stall.blocked) {
            let activity = match self.exchange.phase.get() {
                Phase::Answering | Phase::Parsing => Activity::Busy,
                _ => Activity::Idle,
            };
            self.exchange.slot.set_activity(activity);
            self.exchange.set_next_deadline();
            self.exchange.wake();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_alive(cx)?;
        if this.is_blocked() {
            this.exchange.store_read_waker(cx);
            return Poll::Pending;
        }
        match this.exchange.phase.get() {
            Phase::Waiting | Phase::Head => this.poll_next_head(cx, buf),
            Phase::Parsing => {
                this.exchange.store_read_waker(cx);
                Poll::Pending
            }
            Phase::Answering => this.poll_body(cx, buf),
            Phase::Closing => {
                if this.buffer.is_empty() {
                    ready!(this.poll_fill(cx, BODY_READ_BYTES))?;
                }
                this.hand_over(buf, usize::MAX);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.exchange.phase.get() == Phase::Parsing {
            return Poll::Ready(Ok(this.answer_malformed(buf)));
        }
        if this.refused {
            return Poll::Ready(Ok(buf.len()));
        }
        if this.exchange.slot.is_evicted(cx) {
            return Poll::Ready(Err(this.cut(Reason::Evicted, None)));
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        match &written {
            Poll::Ready(Ok(count)) => this.wrote(*count),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => this.poll_stalled(cx)?,
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
