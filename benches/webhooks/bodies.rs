//! The requests: webhooks as LINE sends them, written and signed before any clock starts.

use std::{cell::Cell, ops::Range};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sha2::Sha256;

/// The secret of the only channel of every app.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The path of this channel's webhook endpoint in every app.
pub const PATH: &str = "/webhook/default";
/// The number of people who write.
pub const PEOPLE: usize = 50_000;

/// A time in autumn 2025; each millisecond has eight webhooks.
const BEGIN: u64 = 1_760_000_000_000;
const BASE32: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TEXTS: [&str; 12] = [
    "こんにちは。昨日注文した青いマグカップ、まだ発送のお知らせが届いていないのですが大丈夫でしょうか?",
    "はい、お願いします!",
    "ありがとうございます😊 では土曜の午後3時に4名で予約を変更していただけますか。窓際だと嬉しいです。",
    "駅から歩いて何分くらいですか",
    "สวัสดีค่ะ อยากทราบว่าสินค้าที่สั่งไปเมื่อวันจันทร์จะมาถึงวันไหนคะ",
    "ได้เลยครับ ขอบคุณมากครับ 🙏",
    "ขอเลื่อนนัดเป็นวันพุธบ่ายสองได้ไหมคะ พอดีติดธุระด่วน",
    "Hello! Is the blue one in size M back in stock yet? I could come by tomorrow after work.",
    "Perfect, see you then",
    "The parcel came today but the box was open and one cup is missing. What should I do?",
    "您好,我想询问一下明天下午还有没有位子?两位大人一位小孩。",
    "好的,谢谢你",
];

/// Which people send the messages.
#[derive(Clone, Copy)]
pub enum Senders {
    /// A random one of [`PEOPLE`] for each message.
    Drawn,
    /// One after the other, starting with this one, each once.
    InTurn(usize),
}

/// Signed requests, as bytes for a socket.
pub struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The number of events in each request.
    pub events: usize,
}

impl Requests {
    /// Writes and signs `count` requests. Each `series` (0 to 9) has its own ids, and later times than the previous
    /// one.
    pub fn write(series: u64, count: usize, events: usize, senders: Senders) -> Self {
        let mut rng = StdRng::seed_from_u64(series);
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(count));
        for request in 0..count {
            let mut body = String::with_capacity(1024 * events);
            body.push_str(r#"{"destination":"U8e742f61d673b39c7fff3cecb7536ef0","events":["#);
            for event in 0..events {
                let nth = request * events + event;
                let user = match senders {
                    Senders::Drawn => rng.random_range(0..PEOPLE),
                    Senders::InTurn(first) => first + nth,
                };
                body.push_str(if event > 0 { "," } else { "" });
                body.push_str(&text_message(&mut rng, series, nth as u64, user));
            }
            body.push_str("]}");
            bytes.extend_from_slice(&request_of(&body, SECRET));
            ends.push(bytes.len());
        }
        Self {
            bytes,
            ends,
            events,
        }
    }

    /// For each of these requests with one message, the request that unsends the message.
    pub fn unsends(&self) -> Self {
        let mut rng = StdRng::seed_from_u64(8);
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(self.count()));
        for nth in 0..self.count() {
            let request = String::from_utf8_lossy(self.get(nth).unwrap_or_default());
            let field = |name: &str| {
                let rest = request.split_once(name).map_or("", |(_, rest)| rest);
                rest.split('"').next().unwrap_or_default().to_owned()
            };
            let (message_id, user_id) = (field(r#""type":"text","id":""#), field(r#""userId":""#));
            let at = BEGIN + 9_000_000 + nth as u64 / 8;
            let event_id = format!("{}{}", ulid_time(at), token(&mut rng, BASE32, 16));
            let body = format!(
                r#"{{"destination":"U8e742f61d673b39c7fff3cecb7536ef0","events":[{{"type":"unsend","unsend":{{"messageId":"{message_id}"}},"webhookEventId":"{event_id}","deliveryContext":{{"isRedelivery":false}},"timestamp":{at},"source":{{"type":"user","userId":"{user_id}"}},"mode":"active"}}]}}"#
            );
            bytes.extend_from_slice(&request_of(&body, SECRET));
            ends.push(bytes.len());
        }
        Self {
            bytes,
            ends,
            events: 1,
        }
    }

    /// The number of requests.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, nth: usize) -> Option<&[u8]> {
        let begin = match nth.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(begin..*self.ends.get(nth)?)
    }
}

/// A request that was signed with another secret: no app may answer 200.
pub fn forged() -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(9);
    let event = text_message(&mut rng, 9, 0, 0);
    let body =
        format!(r#"{{"destination":"U8e742f61d673b39c7fff3cecb7536ef0","events":[{event}]}}"#);
    request_of(&body, "another secret")
}

/// Hands out each request once.
pub struct Feed<'a> {
    requests: &'a Requests,
    left: Cell<(usize, usize)>,
}

impl<'a> Feed<'a> {
    /// A feed of the requests in `range`.
    pub fn of(requests: &'a Requests, range: Range<usize>) -> Self {
        Self {
            requests,
            left: Cell::new((range.start, range.end)),
        }
    }

    /// A feed of all requests.
    pub fn all(requests: &'a Requests) -> Self {
        Self::of(requests, 0..requests.count())
    }

    /// The number of events in each request.
    pub fn events(&self) -> usize {
        self.requests.events
    }

    /// The next request; `None` if all were handed out.
    pub fn take(&self) -> Option<&'a [u8]> {
        let (next, end) = self.left.get();
        self.left.set((next + 1, end));
        if next < end {
            self.requests.get(next)
        } else {
            None
        }
    }
}

fn request_of(body: &str, secret: &str) -> Vec<u8> {
    let signature = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map(|mac| STANDARD.encode(mac.chain_update(body).finalize().into_bytes()))
        .unwrap_or_default();
    format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: LineBotWebhook/2.0\r\n\
         Content-Type: application/json; charset=utf-8\r\nX-Line-Signature: {signature}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// LINE's message ids and webhook event ids (ULIDs) grow with time.
fn text_message(rng: &mut StdRng, series: u64, nth: u64, user: usize) -> String {
    let text = TEXTS[rng.random_range(0..TEXTS.len())];
    let message_id = format!(
        "5{series}{:016}",
        nth * 1_000_000 + rng.random_range(0..1_000_000)
    );
    let at = BEGIN + series * 1_000_000 + nth / 8;
    let (quote, read) = (token(rng, BASE62, 107), token(rng, BASE62, 107));
    let event_id = format!("{}{}", ulid_time(at), token(rng, BASE32, 16));
    let reply = token(rng, b"0123456789abcdef", 32);
    let user_id = format!(
        "U{:032x}",
        0x4af4_9806_2901_1000_0000_0000_u128 + user as u128
    );
    format!(
        r#"{{"type":"message","message":{{"type":"text","id":"{message_id}","quoteToken":"{quote}","markAsReadToken":"{read}","text":"{text}"}},"webhookEventId":"{event_id}","deliveryContext":{{"isRedelivery":false}},"timestamp":{at},"source":{{"type":"user","userId":"{user_id}"}},"replyToken":"{reply}","mode":"active"}}"#
    )
}

fn token(rng: &mut StdRng, of: &[u8], length: usize) -> String {
    let letter = |_| char::from(of[rng.random_range(0..of.len())]);
    (0..length).map(letter).collect()
}

/// The first ten characters of a ULID: 48 bits of milliseconds.
fn ulid_time(millis: u64) -> String {
    let letter = |nth| char::from(BASE32[(millis >> (45 - 5 * nth)) as usize & 31]);
    (0..10).map(letter).collect()
}
