//! A delivery whose signature was verified, read from its raw events.

use chrono::{DateTime, Utc};

use super::{
    IncomingEvent,
    incoming_event::{EVENT_BYTES, EventKind},
};
use crate::line::envelope::Envelope;

/// Total bytes of memory of the deliveries that may wait in all lanes; a delivery beyond that is refused at once
/// (backpressure).
pub(super) const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Most events of one delivery in one transaction. A delivery with more is stored in several, one after the other.
pub(super) const MAX_EVENTS: usize = 1024;

/// Length of the shortest event that can have an id: `{"webhookEventId":1}`. Shorter ones have no effect either.
const SHORTEST: usize = 20;

/// The events of one webhook delivery whose signature was verified.
pub struct Delivery {
    /// The archive's id of the channel whose secret signed it.
    pub channel_id: i32,
    /// Its events, in LINE's order.
    pub events: Vec<IncomingEvent>,
    /// Bytes of memory: counts against the queue's limit while the delivery waits.
    pub bytes: usize,
}

impl Delivery {
    /// Bytes of memory that the delivery takes once it is read. At most the whole limit of the queue, so that a queue
    /// in which nothing waits takes every delivery.
    pub fn memory(envelope: &Envelope<'_>) -> usize {
        let Sorted { long, short } = Sorted::of(envelope);
        let bytes = |raws: &[&str]| raws.iter().map(|raw| raw.len() + 1).sum::<usize>();
        let events = match short.len() > MAX_EVENTS {
            true => long.len() + 1,
            false => long.len() + short.len(),
        };
        (bytes(&long) + bytes(&short) + events * EVENT_BYTES).min(MAX_QUEUED_BYTES)
    }

    /// Reads the events. Too many that are too short to say anything (a million times `1`) become one event, a JSON list
    /// of them all: each would take hundreds of bytes.
    ///
    /// `bytes` is the delivery's [`Delivery::memory`].
    pub fn read(
        channel_id: i32,
        envelope: &Envelope<'_>,
        bytes: usize,
        now: DateTime<Utc>,
    ) -> Self {
        let Sorted { long, short } = Sorted::of(envelope);
        let read = |raw: &str| IncomingEvent::read(raw, now);
        let mut events: Vec<_> = long.into_iter().map(read).collect();
        match short.len() > MAX_EVENTS {
            true => {
                let list = format!("[{}]", short.join(","));
                events.push(IncomingEvent::unreadable(list.into_bytes(), now));
            }
            false => events.extend(short.into_iter().map(read)),
        }
        Self {
            channel_id,
            events,
            bytes,
        }
    }

    /// True if the delivery has an unsend.
    pub(super) fn erases(&self) -> bool {
        let is_unsend = |one: &IncomingEvent| matches!(one.kind, EventKind::Unsend(_));
        self.events.iter().any(is_unsend)
    }
}

/// The raw events of a delivery. In one that is small enough for one transaction, all count as long, so that their order
/// stays.
struct Sorted<'a> {
    long: Vec<&'a str>,
    /// Too short to have an id or an effect.
    short: Vec<&'a str>,
}

impl<'a> Sorted<'a> {
    fn of(envelope: &Envelope<'a>) -> Self {
        let is_many = envelope.events.len() > MAX_EVENTS;
        let raws = envelope.events.iter().map(|raw| raw.get());
        let (short, long) = raws.partition(|raw| is_many && raw.len() < SHORTEST);
        Self { long, short }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Delivery {
        let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
        let bytes = Delivery::memory(&envelope);
        Delivery::read(7, &envelope, bytes, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_body_full_of_nothing_is_one_event() {
        let body = format!(r#"{{"events":[{}1]}}"#, "1,".repeat(1_000_000));
        let delivery = read(&body);
        assert_eq!(delivery.events.len(), 1);
        assert_eq!(
            delivery.events[0].raw,
            format!("[{}1]", "1,".repeat(1_000_000)).as_bytes()
        );
        assert!(delivery.bytes < 3 << 20, "{}", delivery.bytes);
    }

    #[test]
    fn what_says_something_stays_an_event_of_its_own_beside_much_that_does_not() {
        let unsend = r#"{"type":"unsend","unsend":{"messageId":"1"}}"#;
        let named = r#"{"webhookEventId":1}"#;
        assert_eq!(named.len(), SHORTEST);
        let body = format!(r#"{{"events":[{}{unsend},{named}]}}"#, "{},".repeat(2_000));
        let delivery = read(&body);
        let raws: Vec<_> = delivery
            .events
            .iter()
            .map(|event| event.raw.len())
            .collect();
        assert_eq!(raws, [unsend.len(), named.len(), 2 * 2_000 + 1_999 + 2]);
        assert!(delivery.erases());
    }

    #[test]
    fn memory_is_that_of_the_events_and_never_more_than_the_queue_has() {
        let one = read(r#"{"events":[{}]}"#);
        assert_eq!((one.events.len(), one.bytes), (1, 3 + EVENT_BYTES));
        // 1,024 short events are kept apart, and one more would make them a list.
        for (short, events) in [(1_024, 1_025), (1_025, 2)] {
            let body = format!(
                r#"{{"events":[{{"webhookEventId":1}}{}]}}"#,
                ",1".repeat(short)
            );
            let delivery = read(&body);
            assert_eq!(delivery.events.len(), events);
            assert!(delivery.bytes > events * EVENT_BYTES, "{}", delivery.bytes);
        }
        let named = r#"{"webhookEventId":1},"#.repeat(90_000);
        let body = format!(r#"{{"events":[{named}1]}}"#);
        assert_eq!(read(&body).bytes, MAX_QUEUED_BYTES);
    }
}
