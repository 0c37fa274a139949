//! The answers of the fake platform's HTTP server, and the injected faults that change how they are sent.

use std::io;

use actix_web::{
    HttpResponse,
    body::SizedStream,
    http::{StatusCode, header},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, future::ready, stream::once};

use crate::fake_line::{
    content::{MessageKind, content_type},
    faults::FaultKind,
    json::object,
    platform::Platform,
    world::World,
};

/// An answer, before the fault injection and the conversion to an actix response.
pub(super) struct Answer {
    status: u16,
    content_type: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Answer {
    pub(super) fn json(status: u16, json: &str) -> Self {
        let body = Bytes::copy_from_slice(json.as_bytes());
        Answer {
            status,
            content_type: "application/json".to_owned(),
            headers: Vec::new(),
            body,
        }
    }

    pub(super) fn bytes(content_type: &str, body: Bytes) -> Self {
        Answer {
            status: 200,
            content_type: content_type.to_owned(),
            headers: Vec::new(),
            body,
        }
    }

    /// The part that `range` (`bytes=N-`) requests, as a 206; unchanged if `range` has another form, if N is not inside
    /// the body, or if this answer is not a 200.
    pub(super) fn part(mut self, range: &str) -> Self {
        let first = range
            .strip_prefix("bytes=")
            .and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok())
            .filter(|first| self.status == 200 && *first < self.body.len());
        if let Some(first) = first {
            let whole = self.body.len();
            self.status = 206;
            self.body = self.body.slice(first..);
            let part = format!("bytes {first}-{}/{whole}", whole - 1);
            return self.with_header("content-range", &part);
        }
        self
    }

    pub(super) fn error(status: u16, message: &str) -> Self {
        Self::json(status, &object([("message", message.into())]).to_string())
    }

    pub(super) fn not_found() -> Self {
        Self::of_status(404)
    }

    /// An error answer with the status and the message that LINE uses for it.
    pub(super) fn of_status(status: u16) -> Self {
        let message = match status {
            401 => {
                "Authentication failed. Confirm that the access token in the authorization header is valid."
            }
            404 => "Not found",
            410 => "The content is gone",
            429 => "The API rate limit has been exceeded. Try again later.",
            _ => "Internal server error",
        };
        Self::error(status, message)
    }

    pub(super) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn into_response(
        self,
        platform: &Platform,
        fault: Option<FaultKind>,
    ) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        response.content_type(self.content_type);
        response.insert_header(("x-line-request-id", platform.world().ids.uuid()));
        for header in self.headers {
            response.insert_header(header);
        }
        let body = self.body;
        let length = body.len() as u64;
        match fault {
            Some(FaultKind::CutAfter(bytes)) => response.body(SizedStream::new(
                length,
                breaking_off_after(head(&body, bytes)),
            )),
            Some(FaultKind::ShortenedTo(bytes)) => response.body(head(&body, bytes)),
            Some(FaultKind::Promising(bytes)) => {
                response.body(SizedStream::new(bytes, breaking_off_after(body)))
            }
            Some(FaultKind::Encoded(coding, body)) => response
                .insert_header((header::CONTENT_ENCODING, coding))
                .body(body),
            Some(FaultKind::Held(bytes, keeper)) => {
                let (head, rest) = (head(&body, bytes), body.slice(bytes.min(body.len())..));
                let rest = async {
                    keeper.pass().await;
                    Ok::<_, io::Error>(rest)
                };
                response.body(SizedStream::new(
                    length,
                    once(ready(Ok(head))).chain(once(Box::pin(rest))),
                ))
            }
            Some(FaultKind::Status(_) | FaultKind::Replaced(..) | FaultKind::HangUp) | None => {
                response.body(body)
            }
        }
    }
}

/// Sends `part`, then breaks the connection. Yielding once lets the server write `part` first.
fn breaking_off_after(part: Bytes) -> impl Stream<Item = io::Result<Bytes>> {
    let end = async {
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    };
    once(ready(Ok(part))).chain(once(Box::pin(end)))
}

fn head(body: &Bytes, bytes: usize) -> Bytes {
    body.slice(..bytes.min(body.len()))
}

impl World {
    /// `GET /pictures/{token}` and `/external/{token}`; both need no access token.
    pub(super) fn picture(&self, token: &str) -> Answer {
        match self.pictures.get(token) {
            Some(bytes) => Answer::bytes(content_type(MessageKind::File, bytes), bytes.clone()),
            None => Answer::not_found(),
        }
    }
}
