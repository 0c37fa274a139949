//! Who is let in, and who makes room.

use super::*;

fn admission(connections: usize, per_address: usize) -> Arc<Admission> {
    let limits = Limits {
        connections,
        served: connections.saturating_sub(1).max(1),
        per_address,
        ..Limits::default()
    };
    Arc::new(Admission::new(limits, Proxies::default()))
}

fn peer(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([203, 0, 113, last]))
}

fn evicted(slot: &Slot) -> bool {
    slot.seat.evicted.load(Ordering::Acquire)
}

#[test]
fn the_connection_that_delivered_least_makes_room_and_a_busy_one_never() {
    let admission = admission(6, 99);
    let slots: Vec<_> = (0..5)
        .map(|n| {
            let slot = admission.admit(peer(n)).unwrap();
            assert!(slot.serve());
            slot
        })
        .collect();
    let doing = [
        Activity::Busy,
        Activity::Idle,
        Activity::Stalled,
        Activity::Body,
        Activity::Head,
    ];
    for (slot, activity) in slots.iter().zip(doing) {
        slot.does(activity);
    }
    let mut later = vec![];
    for gone in (1..5).rev() {
        let slot = admission.admit(peer(9)).unwrap();
        slot.does(Activity::Busy);
        assert!(slot.serve());
        assert!(evicted(&slots[gone]), "{:?} goes", doing[gone]);
        later.push(slot);
    }
    let one_more = admission.admit(peer(8)).unwrap();
    assert!(!one_more.serve(), "all are busy");
    assert!(!evicted(&slots[0]));
    drop(slots);
    assert!(one_more.serve());
    assert_eq!(admission.open(), 5);
}

#[test]
fn the_oldest_without_a_head_makes_room_for_a_new_connection() {
    let admission = admission(4, 99);
    let served = admission.admit(peer(1)).unwrap();
    assert!(served.serve());
    served.does(Activity::Idle);
    let waiting: Vec<_> = (0..4).map(|_| admission.admit(peer(2)).unwrap()).collect();
    assert!(evicted(&waiting[0]));
    assert!(!evicted(&waiting[1]) && !evicted(&served));
    assert_eq!(admission.open(), 4);
}

#[test]
fn an_address_takes_slots_from_itself_only() {
    let admission = admission(10, 2);
    let other = admission.admit(peer(1)).unwrap();
    let own: Vec<_> = (0..3).map(|_| admission.admit(peer(9)).unwrap()).collect();
    assert_eq!(own.iter().filter(|slot| evicted(slot)).count(), 1);
    assert!(!evicted(&other));
    own.iter().for_each(|slot| slot.does(Activity::Busy));
    assert_eq!(admission.admit(peer(9)).err(), Some(Full::Address));
    drop(own);
    assert!(admission.admit(peer(9)).is_ok());
}

#[test]
fn ipv6_is_counted_by_its_64_and_proxies_are_not_counted() {
    let admission = admission(99, 1);
    let of = |text: &str| admission.admit(Some(text.parse().unwrap()));
    let first = of("2001:db8:1:2::1").unwrap();
    first.does(Activity::Busy);
    assert!(of("2001:db8:1:2:ffff::9").is_err());
    assert!(of("2001:db8:1:3::1").is_ok());
    let proxied: Vec<_> = (0..5).map(|_| of("127.0.0.1")).collect();
    assert!(proxied.iter().all(Result::is_ok));
}

#[test]
fn connections_that_linger_on_their_way_out_are_bounded() {
    let admission = admission(1, 9999);
    let slots: Vec<_> = (0..=LEAVING)
        .map(|_| admission.admit(peer(1)).unwrap())
        .collect();
    assert_eq!(admission.admit(peer(1)).err(), Some(Full::Process));
    drop(slots);
    assert!(admission.admit(peer(1)).is_ok());
}
