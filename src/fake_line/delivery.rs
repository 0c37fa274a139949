//! Webhook deliveries: signing, posting and the answers.

use std::{
    future::{Future, IntoFuture},
    ops::Deref,
    pin::Pin,
};

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use thiserror::Error;

use super::{
    draft::{Draft, Event},
    handles::Channel,
    platform::Platform,
    sign::sign,
};

/// The result of one webhook request.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The HTTP status; 0 if there was no answer, or no webhook URL.
    pub status: u16,
    /// The body of the answer; the error if there was none.
    pub body: String,
}

impl Delivery {
    /// Whether LINE counts it as received: any 2xx status.
    #[must_use]
    pub fn acknowledged(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// An event and its acknowledged delivery. It dereferences to the [`Event`].
#[derive(Clone, Debug)]
pub struct Sent {
    /// The event that was delivered.
    pub event: Event,
    /// The answer to the delivery.
    pub delivery: Delivery,
}

impl Deref for Sent {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

/// A delivery that was not acknowledged. The event has still happened on the platform, and can be delivered again.
#[derive(Debug, Error)]
#[error("the webhook was answered {} {}", .0.delivery.status, .0.delivery.body)]
pub struct Refused(pub Box<Sent>);

/// A webhook request's body, its signature and the secret that it was signed with.
#[derive(Clone, Debug)]
pub struct SignedBody {
    /// The channel secret.
    pub secret: String,
    /// The value of `x-line-signature`.
    pub signature: String,
    /// The raw body, which the signature covers.
    pub body: String,
}

impl IntoFuture for Draft {
    type Output = Result<Sent, Refused>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Delivers the event alone, once; any status other than 2xx is an error.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let delivery = self
                .channel
                .deliver(std::slice::from_ref(&self.event))
                .await;
            let sent = Sent {
                event: self.event,
                delivery,
            };
            if sent.delivery.acknowledged() {
                Ok(sent)
            } else {
                Err(Refused(Box::new(sent)))
            }
        })
    }
}

impl Channel {
    /// A signed webhook request with these events, in this order, which the caller can post itself.
    #[must_use]
    pub fn signed(&self, events: &[Event]) -> SignedBody {
        let events: Vec<String> = events.iter().map(Event::json).collect();
        let body = format!(
            r#"{{"destination":"{}","events":[{}]}}"#,
            self.bot_user_id(),
            events.join(",")
        );
        let secret = self.secret();
        SignedBody {
            signature: sign(&secret, body.as_bytes()),
            secret,
            body,
        }
    }

    /// Delivers one webhook with these events, in this order.
    pub async fn deliver(&self, events: &[Event]) -> Delivery {
        let SignedBody {
            body, signature, ..
        } = self.signed(events);
        self.deliver_bytes(body, Some(&signature)).await
    }

    /// Delivers `event` again, as LINE does: only `isRedelivery` differs.
    pub async fn redeliver(&self, event: &Event) -> Delivery {
        self.deliver(&[event.redelivered()]).await
    }

    /// Does what the console's Verify button does: sends a signed webhook without events.
    pub async fn verify(&self) -> Delivery {
        self.deliver(&[]).await
    }

    /// Delivers any bytes with any signature, or with none, to test forgeries. [`sign`] makes a valid signature.
    pub async fn deliver_bytes(&self, body: impl Into<Bytes>, signature: Option<&str>) -> Delivery {
        let webhook = self.line.world().channels[self.index].webhook.clone();
        match webhook {
            Some(url) => self.line.platform.post(&url, body.into(), signature).await,
            None => Delivery {
                status: 0,
                body: "no webhook URL is set".to_owned(),
            },
        }
    }
}

impl Platform {
    pub(super) async fn post(&self, url: &str, body: Bytes, signature: Option<&str>) -> Delivery {
        let mut request = self
            .sender
            .post(url)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(body);
        if let Some(signature) = signature {
            request = request.header("x-line-signature", signature);
        }
        match request.send().await {
            Ok(answer) => Delivery {
                status: answer.status().as_u16(),
                body: answer.text().await.unwrap_or_default(),
            },
            Err(error) if error.is_timeout() => Delivery {
                status: 0,
                body: "request_timeout".to_owned(),
            },
            Err(_) => Delivery {
                status: 0,
                body: "could_not_connect".to_owned(),
            },
        }
    }
}
