//! `POST /webhook/{channel}`: the webhook endpoint. It reads the body, verifies the signature, parses the events, hands
//! the delivery to the committer, and answers 200 once it is stored.
//!
//! Responses: 200 stored, or stored before, or erased before · 400 broken body, or signed but no envelope of events ·
//! 401 no valid signature · 404 unknown channel · 408 body too slow · 413 body too large · 503 not stored, to be sent
//! again. A response never repeats the request.

mod body;
mod channel_registry;
mod senders;
mod unsigned;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, HttpResponse, dev::ServiceRequest, http::header, web};
use secrecy::ExposeSecret;

use self::body::Sender;
pub use self::{
    body::Large, channel_registry::ChannelRegistry, senders::Senders, unsigned::UnsignedCounter,
};
use super::Proxies;
use crate::{
    clock::Clock,
    ingest::{Delivery, Ingest, Refused, Room},
    line::{envelope::Envelope, signature},
    records::channels::ChannelSecrets,
};

/// LINE counts a delivery as failed after 2 s; the rest of that time is for the transport of the response.
const ANSWER_WITHIN: Duration = Duration::from_millis(1800);

/// The state of the webhook endpoint.
pub struct Webhook {
    /// The channels and their secrets.
    pub channels: ChannelRegistry,
    /// The committer, which stores the deliveries.
    pub ingest: Ingest,
    /// Limits the memory for large bodies.
    pub large: Large,
    /// Counts the webhooks that were refused for their signature.
    pub unsigned: UnsignedCounter,
    /// Addresses from which a signed webhook came within 24 hours.
    pub senders: Senders,
    /// Trusted proxies, whose `X-Forwarded-For` is believed.
    pub proxies: Proxies,
    /// The clock for the time of receipt.
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

/// True if this is a webhook from an address from which a signed one came within 24 hours. Its connection is not
/// evicted to make room for strangers.
pub fn is_of_known_sender(request: &ServiceRequest) -> bool {
    let webhook = request.app_data::<web::Data<Webhook>>();
    request.path().starts_with("/webhook/")
        && webhook.is_some_and(|webhook| {
            let address = webhook.proxies.client_of(request.request());
            webhook.sender(address) == Sender::Known
        })
}

/// Handles one webhook request. The module's documentation lists the responses.
pub async fn receive(
    request: HttpRequest,
    channel: web::Path<String>,
    payload: web::Payload,
    webhook: web::Data<Webhook>,
) -> HttpResponse {
    let begun = Instant::now();
    let Some(channel) = webhook.channels.find(&channel) else {
        return HttpResponse::NotFound().body("unknown channel");
    };
    let address = webhook.proxies.client_of(&request);
    let sender = webhook.sender(address);
    let body = match body::read(&request, payload, &webhook.large, sender).await {
        Ok(body) => body,
        Err(error) => return error.answer(),
    };
    if !is_signed(&request, &body, &channel) {
        return refuse_unsigned(&webhook, &channel);
    }
    if let Some(address) = address {
        webhook.senders.signed(address, webhook.clock.now());
    }
    let Some(envelope) = Envelope::parse(&body) else {
        tracing::warn!(
            channel = channel.slug,
            "a signed webhook was not an envelope of events"
        );
        return HttpResponse::BadRequest().body("not an envelope of events");
    };
    let bytes = Delivery::memory(&envelope);
    let Ok(room) = webhook.ingest.reserve(bytes) else {
        return not_stored("queue full, try again");
    };
    let delivery = Delivery::read(channel.channel_id, &envelope, bytes, webhook.clock.now());
    drop(envelope);
    drop(body);
    store(&webhook, delivery, room, begun).await
}

/// True if the body is signed with one of the channel's secrets.
fn is_signed(request: &HttpRequest, body: &[u8], channel: &ChannelSecrets) -> bool {
    the_one_signature(request).is_some_and(|signature| {
        let is_by =
            |secret: &_| signature::verify(ExposeSecret::expose_secret(secret), body, signature);
        channel.secrets.iter().any(is_by)
    })
}

/// Counts the webhook, and logs the count now and then.
fn refuse_unsigned(webhook: &Webhook, channel: &ChannelSecrets) -> HttpResponse {
    let now = webhook.clock.now();
    if let Some(count) = webhook.unsigned.refuse(channel.channel_id, now) {
        tracing::warn!(
            channel = channel.slug,
            count,
            "webhooks to this channel without a valid signature were refused. If LINE sent them, LINE signs with another \
             channel secret: compare it in LINE's console, tab Basic settings, and add it with `channel rotate-secret {}`. \
             `doctor` says whether LINE reaches this channel. Strangers can send such webhooks too",
            channel.slug
        );
    }
    HttpResponse::Unauthorized().body("missing or wrong signature")
}

/// Hands the delivery to the committer, and answers LINE in time: `begun` is the time of the request.
async fn store(webhook: &Webhook, delivery: Delivery, room: Room, begun: Instant) -> HttpResponse {
    // The committer's task writes to the database, and no client can drop that task. This handler only waits for its
    // answer. If the wait ends early (timeout, or a closed connection), the committer skips a delivery that is still
    // in its queue.
    let stored = webhook.ingest.store(delivery, room);
    match tokio::time::timeout(ANSWER_WITHIN.saturating_sub(begun.elapsed()), stored).await {
        Ok(Ok(())) => HttpResponse::Ok().finish(),
        Ok(Err(Refused::Busy)) => not_stored("queue full, try again"),
        _ => not_stored("not stored, try again"),
    }
}

fn not_stored(why: &'static str) -> HttpResponse {
    HttpResponse::ServiceUnavailable()
        .insert_header((header::RETRY_AFTER, "2"))
        .body(why)
}

/// The signature header, if there is exactly one: with two, it would not be clear which one counts.
fn the_one_signature(request: &HttpRequest) -> Option<&[u8]> {
    let mut values = request.headers().get_all("x-line-signature");
    let first = values.next()?;
    values.next().is_none().then_some(first.as_bytes())
}
