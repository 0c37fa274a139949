//! The API calls that read, set and test a channel's webhook URL.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use url::Url;

use super::Answer;
use crate::fake_line::{json::object, platform::Platform, sign::sign, world::World};

impl World {
    /// `GET /v2/bot/channel/webhook/endpoint`
    pub(super) fn webhook(&self, channel: usize) -> Answer {
        match &self.channels[channel].webhook {
            Some(url) => Answer::json(
                200,
                &object([("endpoint", url.as_str().into()), ("active", true.into())]).to_string(),
            ),
            None => Answer::not_found(),
        }
    }

    /// `PUT /v2/bot/channel/webhook/endpoint`: HTTPS and at most 500 characters; here also plain HTTP on loopback.
    pub(super) fn set_webhook(&mut self, channel: usize, body: &[u8]) -> Answer {
        match endpoint(body) {
            Some(url) if is_allowed(&url) => {
                self.channels[channel].webhook = Some(url);
                Answer::json(200, "{}")
            }
            _ => Answer::error(400, "Invalid webhook endpoint URL"),
        }
    }
}

impl Platform {
    /// `POST /v2/bot/channel/webhook/test`: sends a signed webhook without events to the endpoint in the body, or else
    /// to the channel's webhook URL.
    pub(super) async fn test_webhook(&self, channel: usize, body: &[u8]) -> Answer {
        let (endpoint, secret, bot) = {
            let world = self.world();
            let channel = &world.channels[channel];
            let endpoint = endpoint(body).or_else(|| channel.webhook.clone());
            (
                endpoint,
                channel.secret.clone(),
                channel.bot_user_id.clone(),
            )
        };
        let Some(endpoint) = endpoint else {
            return Answer::not_found();
        };
        let empty = format!(r#"{{"destination":"{bot}","events":[]}}"#);
        let signature = sign(&secret, empty.as_bytes());
        let delivery = self
            .post(&endpoint, Bytes::from(empty), Some(&signature))
            .await;
        let reason = match delivery.status {
            0 => delivery.body.to_uppercase(),
            200..300 => "OK".to_owned(),
            _ => "ERROR_STATUS_CODE".to_owned(),
        };
        let now =
            DateTime::<Utc>::from_timestamp_millis(self.world().time.next()).unwrap_or_default();
        let answer = object([
            ("success", delivery.acknowledged().into()),
            (
                "timestamp",
                now.to_rfc3339_opts(SecondsFormat::Millis, true).into(),
            ),
            ("statusCode", i64::from(delivery.status).into()),
            ("reason", reason.into()),
            ("detail", delivery.status.to_string().into()),
        ]);
        Answer::json(200, &answer.to_string())
    }
}

fn endpoint(body: &[u8]) -> Option<String> {
    let request: Value = serde_json::from_slice(body).ok()?;
    request["endpoint"].as_str().map(str::to_owned)
}

fn is_allowed(url: &str) -> bool {
    let local = |url: &Url| matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
    url.len() <= 500
        && Url::parse(url)
            .is_ok_and(|url| url.scheme() == "https" || url.scheme() == "http" && local(&url))
}
