//! The API calls with which bots send: reply, push and loading animation.

use serde_json::Value;
use uuid::Uuid;

use super::Answer;
use crate::fake_line::{
    json::{Json, object},
    states::{Accepted, BotMessage},
    world::World,
};

impl World {
    /// `POST /v2/bot/message/reply`: a reply token can be used once, and a retry key is an error.
    pub(super) fn reply(&mut self, channel: usize, retry_key: Option<&str>, body: &[u8]) -> Answer {
        let (Ok(request), None) = (serde_json::from_slice::<Value>(body), retry_key) else {
            return Answer::error(400, "The request body has 1 error(s)");
        };
        let Some(messages) = messages(&request) else {
            return Answer::error(400, "The request body has 1 error(s)");
        };
        let token = request["replyToken"].as_str().unwrap_or_default();
        if self.reply_tokens.get(token) != Some(&channel) {
            return Answer::error(400, "Invalid reply token");
        }
        self.reply_tokens.remove(token);
        Answer::json(200, &self.say(channel, None, messages).to_string())
    }

    /// `POST /v2/bot/message/push`: if the retry key was accepted before, answers 409 with the first answer's messages.
    pub(super) fn push(&mut self, channel: usize, retry_key: Option<&str>, body: &[u8]) -> Answer {
        if retry_key.is_some_and(|key| Uuid::parse_str(key).is_err()) {
            return Answer::error(400, "Invalid X-Line-Retry-Key");
        }
        let key = retry_key.map(|key| (channel, key.to_owned()));
        if let Some(accepted) = key.as_ref().and_then(|key| self.accepted.get(key)) {
            let mut answer = accepted.sent_messages.clone();
            answer.set("message", "The retry key is already accepted");
            return Answer::json(409, &answer.to_string())
                .with_header("x-line-accepted-request-id", &accepted.request_id);
        }
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let (Some(messages), Some(to)) = (messages(&request), request["to"].as_str()) else {
            return Answer::error(400, "The request body has 1 error(s)");
        };
        let sent_messages = self.say(channel, Some(to), messages);
        let answer = Answer::json(200, &sent_messages.to_string());
        let Some(key) = key else { return answer };
        let request_id = self.ids.uuid();
        self.accepted.insert(
            key,
            Accepted {
                request_id: request_id.clone(),
                sent_messages,
            },
        );
        answer.with_header("x-line-request-id", &request_id)
    }

    /// `POST /v2/bot/chat/loading/start`: for one-on-one chats only, 5 to 60 seconds in steps of 5.
    pub(super) fn show_loading(&mut self, body: &[u8]) -> Answer {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let user = request["chatId"]
            .as_str()
            .is_some_and(|id| id.starts_with('U'));
        let seconds = request
            .get("loadingSeconds")
            .map_or(Some(20), Value::as_u64);
        if user && seconds.is_some_and(|seconds| (5..=60).contains(&seconds) && seconds % 5 == 0) {
            Answer::json(202, "{}")
        } else {
            Answer::error(400, "The request body has 1 error(s)")
        }
    }

    fn say(&mut self, channel: usize, to: Option<&str>, messages: &[Value]) -> Json {
        let mut sent = Vec::new();
        for message in messages {
            let now = self.time.next();
            let message_id = self.message_id(now);
            let mut entry = object([("id", message_id.as_str().into())]);
            if matches!(
                message["type"].as_str(),
                Some("text" | "image" | "video" | "sticker" | "template" | "flex")
            ) {
                entry.set("quoteToken", self.ids.token(150));
            }
            sent.push(entry);
            let sent_message = BotMessage {
                message_id,
                to: to.map(str::to_owned),
                message: message.clone(),
            };
            self.channels[channel].sent_messages.push(sent_message);
        }
        object([("sentMessages", Json::List(sent))])
    }
}

/// The messages of a request: one to five, each with a `type`; `None` if the request breaks this.
fn messages(request: &Value) -> Option<&[Value]> {
    let messages = request["messages"].as_array()?;
    let typed = messages.iter().all(|message| message["type"].is_string());
    ((1..=5).contains(&messages.len()) && typed).then_some(messages)
}
