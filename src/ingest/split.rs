//! Divides a delivery with too many events for one transaction into parts, which are stored one after the other.

use super::{
    Delivery, IncomingEvent,
    incoming_event::{Change, EventKind},
};
use crate::line::event::Source;

/// Divides a delivery into parts of at most `most` events.
///
/// If a later part is not stored, LINE sends the whole delivery again, and the events that are stored are recognised by
/// their ids (idempotent). Events without an id cannot be recognised, so they form one part, the last: once it is
/// stored, the delivery is acknowledged. If that part has too many events, those without content (two million bytes of
/// `{}`) become one event, a JSON list of them all.
pub(super) fn split(delivery: Delivery, most: usize) -> Vec<Delivery> {
    if delivery.events.len() <= most {
        return vec![delivery];
    }
    let channel_id = delivery.channel_id;
    let (mut named, nameless): (Vec<_>, Vec<_>) = delivery
        .events
        .into_iter()
        .partition(IncomingEvent::is_named);
    let mut parts = Vec::new();
    while !named.is_empty() {
        let rest = named.split_off(most.min(named.len()));
        parts.push(std::mem::replace(&mut named, rest));
    }
    if !nameless.is_empty() {
        parts.push(merge_events_without_content(nameless, most));
    }
    let part = |events: Vec<IncomingEvent>| Delivery {
        channel_id,
        bytes: events.iter().map(IncomingEvent::memory).sum(),
        events,
    };
    parts.into_iter().map(part).collect()
}

fn merge_events_without_content(nameless: Vec<IncomingEvent>, most: usize) -> Vec<IncomingEvent> {
    if nameless.len() <= most {
        return nameless;
    }
    let (silent, mut rest): (Vec<_>, Vec<_>) = nameless.into_iter().partition(is_silent);
    if let Some(first) = silent.first() {
        let raws: Vec<&[u8]> = silent.iter().map(|one| &one.raw[..]).collect();
        let list = [b"[", &raws.join(&b","[..])[..], b"]"].concat();
        rest.push(IncomingEvent::unreadable(list, first.at));
    }
    rest
}

/// True for an event without a user, without a conversation and without an effect.
fn is_silent(event: &IncomingEvent) -> bool {
    matches!(event.source, Source::Channel)
        && event.user_id.is_none()
        && matches!(
            event.kind,
            EventKind::Other {
                change: Change::None,
                ..
            }
        )
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn delivery<'a>(raws: impl IntoIterator<Item = &'a str>) -> Delivery {
        let read = |raw| IncomingEvent::read(raw, DateTime::UNIX_EPOCH);
        Delivery {
            channel_id: 7,
            events: raws.into_iter().map(read).collect(),
            bytes: 1000,
        }
    }

    fn raws(parts: &[Delivery]) -> Vec<Vec<&str>> {
        parts
            .iter()
            .map(|part| {
                part.events
                    .iter()
                    .map(|one| std::str::from_utf8(&one.raw).expect("JSON"))
                    .collect()
            })
            .collect()
    }

    const NAMED: [&str; 3] = [
        r#"{"webhookEventId":"1"}"#,
        r#"{"webhookEventId":"2"}"#,
        r#"{"webhookEventId":"3"}"#,
    ];

    #[test]
    fn what_fits_stays_together() {
        let parts = split(delivery(["{}", NAMED[0]]), 2);
        assert_eq!(raws(&parts), [["{}", NAMED[0]]]);
        assert_eq!(parts[0].bytes, 1000);
    }

    #[test]
    fn events_without_an_id_come_last_and_together() {
        let all = ["7", NAMED[0], NAMED[1], "{}", NAMED[2]];
        let parts = split(delivery(all), 2);
        assert_eq!(
            raws(&parts),
            [vec![NAMED[0], NAMED[1]], vec![NAMED[2]], vec!["7", "{}"]]
        );
        assert!(parts.iter().all(|part| part.channel_id == 7));
    }

    #[test]
    fn too_many_that_say_nothing_are_one_list_and_messages_stay_apart() {
        let message = r#"{"type":"message","message":{"type":"text","id":"1"}}"#;
        let unsend = r#"{"type":"unsend","unsend":{"messageId":"1"}}"#;
        let follow = r#"{"type":"follow","source":{"type":"user","userId":"U1"}}"#;
        let parts = split(delivery(["{}", message, "7", unsend, follow]), 2);
        assert_eq!(raws(&parts), [[message, unsend, follow, "[{},7]"]]);
    }
}
