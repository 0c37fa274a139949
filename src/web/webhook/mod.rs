//! `POST /webhook/{channel}`: LINE's door. Bytes, then signature, then meaning, then the committer, then 200.
//!
//! Answers: 200 stored, or stored before, or erased before · 400 signed but no envelope · 401 not signed · 404 unknown
//! channel · 408 body too slow · 413 too large · 503 not stored, come again. An answer never repeats the request.

mod body;
mod doors;
mod senders;
mod strangers;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, HttpResponse, dev::ServiceRequest, http::header, web};
use secrecy::ExposeSecret;

use self::body::Sender;
pub use self::{body::Large, doors::Doors, senders::Senders, strangers::Strangers};
use super::Proxies;
use crate::{
    clock::Clock,
    ingest::{Arrival, Delivery, Ingest, Refused},
    line::{envelope::Envelope, signature},
};

/// LINE calls a delivery failed after 2 s; what is left of them is for the way back.
const ANSWER_WITHIN: Duration = Duration::from_millis(1800);

/// What the door needs.
pub struct Webhook {
    /// Channels and their secrets.
    pub doors: Doors,
    /// The committer.
    pub ingest: Ingest,
    /// Bounds the memory of large bodies.
    pub large: Large,
    /// Counts what was refused for its signature.
    pub strangers: Strangers,
    /// Addresses that signed of late.
    pub senders: Senders,
    /// Proxies that are believed when they say who asks.
    pub proxies: Proxies,
    /// Time of receipt.
    pub clock: Clock,
}

impl Webhook {
    fn sender(&self, address: Option<IpAddr>) -> Sender {
        match address {
            Some(address) if self.senders.knows(address, self.clock.now()) => Sender::Known,
            _ => Sender::Stranger,
        }
    }
}

/// Whether this is a webhook from an address that signed one of late: it is let in before strangers.
pub fn is_of_known_sender(request: &ServiceRequest) -> bool {
    let webhook = request.app_data::<web::Data<Webhook>>();
    request.path().starts_with("/webhook/")
        && webhook.is_some_and(|webhook| {
            let address = webhook.proxies.client_of(request.request());
            webhook.sender(address) == Sender::Known
        })
}

/// Receives one webhook request.
pub async fn receive(
    request: HttpRequest,
    channel: web::Path<String>,
    payload: web::Payload,
    webhook: web::Data<Webhook>,
) -> HttpResponse {
    let begun = Instant::now();
    let Some(door) = webhook.doors.find(&channel) else {
        return HttpResponse::NotFound().body("unknown channel");
    };
    let address = webhook.proxies.client_of(&request);
    let sender = webhook.sender(address);
    let body = match body::read(&request, payload, &webhook.large, sender).await {
        Ok(body) => body,
        Err(error) => return error.answer(),
    };
    let signed = the_one_signature(&request).is_some_and(|signature| {
        let is_by =
            |secret: &_| signature::verify(ExposeSecret::expose_secret(secret), &body, signature);
        door.secrets.iter().any(is_by)
    });
    if !signed {
        let now = webhook.clock.now();
        if let Some(count) = webhook.strangers.refuse(door.channel_id, now) {
            tracing::warn!(
                channel = door.slug,
                count,
                "webhooks to this channel without a valid signature were refused. If LINE sent them, LINE signs with another \
                 channel secret: compare it in LINE's console, tab Basic settings, and add it with `channel rotate-secret {}`. \
                 `doctor` says whether LINE reaches this channel. Strangers can send such webhooks too",
                door.slug
            );
        }
        return HttpResponse::Unauthorized().body("missing or wrong signature");
    }
    if let Some(address) = address {
        webhook.senders.signed(address, webhook.clock.now());
    }
    let Some(envelope) = Envelope::parse(&body) else {
        tracing::warn!(
            channel = door.slug,
            "a signed webhook was not an envelope of events"
        );
        return HttpResponse::BadRequest().body("not an envelope of events");
    };
    let now = webhook.clock.now();
    let delivery = Delivery {
        channel_id: door.channel_id,
        arrivals: envelope
            .events
            .iter()
            .map(|raw| Arrival::read(raw.get(), now))
            .collect(),
        bytes: body.len(),
    };
    // What talks to the database is the committer's task, which no client can drop. Here is only a wait for its
    // answer, and giving it up (in time, or with the connection) takes the delivery out of the queue.
    let stored = webhook.ingest.store(delivery);
    match tokio::time::timeout(ANSWER_WITHIN.saturating_sub(begun.elapsed()), stored).await {
        Ok(Ok(())) => HttpResponse::Ok().finish(),
        Ok(Err(Refused::Busy)) => not_stored("too much is waiting, try again"),
        _ => not_stored("not stored, try again"),
    }
}

fn not_stored(why: &'static str) -> HttpResponse {
    HttpResponse::ServiceUnavailable()
        .insert_header((header::RETRY_AFTER, "2"))
        .body(why)
}

/// The signature header, if there is exactly one: of two, nobody could say which was meant.
fn the_one_signature(request: &HttpRequest) -> Option<&[u8]> {
    let mut values = request.headers().get_all("x-line-signature");
    let first = values.next()?;
    values.next().is_none().then_some(first.as_bytes())
}
