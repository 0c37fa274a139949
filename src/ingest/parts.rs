//! A delivery of more events than fit one transaction, as several that are stored one after the other.

use super::{
    Arrival, Delivery,
    arrival::{Change, Meaning},
};
use crate::line::event::Place;

/// Divides a delivery into parts of at most `most` events.
///
/// Where a later part is not stored the whole delivery comes again, and what is stored then is known by its ids. Events
/// without an id are not, so they come all together, last: with them the delivery is acknowledged. If these are too
/// many too, those that say nothing (`{}` two million bytes long) are kept as one, the list of them all.
pub(super) fn parts(delivery: Delivery, most: usize) -> Vec<Delivery> {
    if delivery.arrivals.len() <= most {
        return vec![delivery];
    }
    let channel_id = delivery.channel_id;
    let (mut named, nameless): (Vec<_>, Vec<_>) =
        delivery.arrivals.into_iter().partition(Arrival::is_named);
    let mut parts = Vec::new();
    while !named.is_empty() {
        let rest = named.split_off(most.min(named.len()));
        parts.push(std::mem::replace(&mut named, rest));
    }
    if !nameless.is_empty() {
        parts.push(fewer(nameless, most));
    }
    let part = |arrivals: Vec<Arrival>| Delivery {
        channel_id,
        bytes: arrivals.iter().map(|arrival| arrival.raw.len()).sum(),
        arrivals,
    };
    parts.into_iter().map(part).collect()
}

fn fewer(nameless: Vec<Arrival>, most: usize) -> Vec<Arrival> {
    if nameless.len() <= most {
        return nameless;
    }
    let (silent, mut rest): (Vec<_>, Vec<_>) = nameless.into_iter().partition(is_silent);
    if let Some(first) = silent.first() {
        let raws: Vec<&[u8]> = silent.iter().map(|one| &one.raw[..]).collect();
        let list = [b"[", &raws.join(&b","[..])[..], b"]"].concat();
        rest.push(Arrival::unreadable(list, first.at));
    }
    rest
}

/// Of nobody, in no chat, changing nothing.
fn is_silent(arrival: &Arrival) -> bool {
    let source = &arrival.source;
    matches!(source.place, Place::Channel)
        && source.user_id.is_none()
        && matches!(
            arrival.meaning,
            Meaning::Other {
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
        let read = |raw| Arrival::read(raw, DateTime::UNIX_EPOCH);
        Delivery {
            channel_id: 7,
            arrivals: raws.into_iter().map(read).collect(),
            bytes: 1000,
        }
    }

    fn raws(parts: &[Delivery]) -> Vec<Vec<&str>> {
        parts
            .iter()
            .map(|part| {
                part.arrivals
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
        let parts = parts(delivery(["{}", NAMED[0]]), 2);
        assert_eq!(raws(&parts), [["{}", NAMED[0]]]);
        assert_eq!(parts[0].bytes, 1000);
    }

    #[test]
    fn events_without_an_id_come_last_and_together() {
        let all = ["7", NAMED[0], NAMED[1], "{}", NAMED[2]];
        let parts = parts(delivery(all), 2);
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
        let parts = parts(delivery(["{}", message, "7", unsend, follow]), 2);
        assert_eq!(raws(&parts), [[message, unsend, follow, "[{},7]"]]);
    }
}
