//! Which connections are admitted, and which are evicted.

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
fn the_connection_that_did_nothing_for_longest_makes_room_and_a_busy_one_never() {
    let admission = admission(7, 99);
    let doing = [
        (Activity::Busy, 0),
        (Activity::Body, 10_000),
        (Activity::Idle, 20_000),
        (Activity::Stalled, 30_000),
        (Activity::Head, 39_000),
        (Activity::Body, 38_500),
    ];
    let slots: Vec<_> = (0..6).map(|n| admission.admit(peer(n)).unwrap()).collect();
    for (slot, (activity, since)) in slots.iter().zip(doing) {
        assert!(slot.try_serve());
        admission.table().note(slot.id, &slot.seat, activity, since);
    }
    let mut table = admission.table();
    // The last two are young: their head or body may still arrive.
    for gone in [1, 2, 3, 5, 4] {
        let first = first_to_go(&table.served, 40_000);
        assert_eq!(first, table.first_served_to_go(40_000));
        assert!(table.evict(first));
        assert!(evicted(&slots[gone]), "{:?} goes", doing[gone]);
    }
    assert_eq!(table.first_served_to_go(40_000), None);
    assert!(!evicted(&slots[0]));
}

/// A served connection from `peer` with this activity since `since`.
fn seated(
    admission: &Arc<Admission>,
    peer: Option<IpAddr>,
    activity: Activity,
    since: u64,
) -> Slot {
    let slot = admission.admit(peer).unwrap();
    assert!(slot.try_serve());
    admission.table().note(slot.id, &slot.seat, activity, since);
    slot
}

/// Evicts the first of the served connections, and returns its id.
fn evict_one(table: &mut Table, now: u64) -> u64 {
    let first = table.first_served_to_go(now);
    assert!(table.evict(first));
    first.unwrap()
}

#[test]
fn an_idle_connection_makes_room_before_a_body_on_its_way_and_that_of_a_proxy_last_of_those() {
    let admission = admission(9, 99);
    let proxy = Some(IpAddr::from([127, 0, 0, 1]));
    let now = 40_000;
    let idle_of_proxy = seated(&admission, proxy, Activity::Idle, 10_000);
    let just_idle_of_proxy = seated(&admission, proxy, Activity::Idle, now);
    let late = seated(&admission, peer(1), Activity::Body, 30_000);
    let body = seated(&admission, peer(1), Activity::Body, 39_000);
    let idle = seated(&admission, peer(1), Activity::Idle, 39_500);
    let answer_of_proxy = seated(&admission, proxy, Activity::Stalled, 39_600);
    let mut table = admission.table();
    let gone: Vec<_> = (0..6).map(|_| evict_one(&mut table, now)).collect();
    let order = [
        &late,
        &idle,
        &idle_of_proxy,
        &just_idle_of_proxy,
        &body,
        &answer_of_proxy,
    ];
    assert_eq!(gone, order.map(|slot| slot.id));
    assert!(table.idle.is_empty() && table.slow.is_empty() && table.proxied.is_empty());
}

#[test]
fn bodies_of_strangers_hold_no_slot_of_a_proxy_or_of_a_later_body() {
    let admission = admission(9, 99);
    let proxy = Some(IpAddr::from([127, 0, 0, 1]));
    let idle = seated(&admission, proxy, Activity::Idle, 0);
    let bodies: Vec<_> = (0..7)
        .map(|since| seated(&admission, peer(1), Activity::Body, since))
        .collect();
    // These bodies have taken longer than `GRACE`, so the proxy's connection stays.
    let mut table = admission.table();
    for body in &bodies[..3] {
        assert_eq!(evict_one(&mut table, 3000), body.id);
    }
    drop(table);
    // Younger bodies are evicted in the order in which they began, whatever their sender.
    let webhook = seated(&admission, peer(2), Activity::Body, 1000);
    let mut table = admission.table();
    assert_eq!(evict_one(&mut table, 1000), idle.id);
    for body in &bodies[3..] {
        assert_eq!(evict_one(&mut table, 1000), body.id);
    }
    assert!(!evicted(&webhook));
}

#[test]
fn a_body_that_has_just_begun_outlives_older_silent_connections() {
    let admission = admission(4, 99);
    let body = seated(&admission, peer(1), Activity::Body, 500);
    let silent: Vec<_> = (0..3).map(|_| admission.admit(peer(2)).unwrap()).collect();
    let mut table = admission.table();
    for (n, slot) in (0..).zip(&silent) {
        table.note(slot.id, &slot.seat, Activity::Head, n * 400);
    }
    for slot in &silent[..2] {
        assert!(table.make_room(1500));
        assert!(evicted(slot) && !evicted(&body));
    }
    assert!(table.make_room(1500));
    assert!(evicted(&body), "it began before the last of them");
    assert!(!evicted(&silent[2]));
}

#[test]
fn busy_connections_leave_no_room_until_one_is_closed() {
    let admission = admission(4, 99);
    let busy: Vec<_> = (0..3).map(|n| admission.admit(peer(n)).unwrap()).collect();
    for slot in &busy {
        assert!(slot.try_serve());
        slot.set_activity(Activity::Busy);
    }
    let one_more = admission.admit(peer(8)).unwrap();
    assert!(!one_more.try_serve(), "all are busy");
    drop(busy);
    assert!(one_more.try_serve());
    assert_eq!(admission.open(), 1);
}

#[test]
fn a_head_that_is_late_makes_room_first_and_one_that_may_be_on_its_way_last() {
    let admission = admission(4, 99);
    let served = admission.admit(peer(1)).unwrap();
    assert!(served.try_serve());
    served.set_activity(Activity::Idle);
    let waiting: Vec<_> = (0..3).map(|_| admission.admit(peer(2)).unwrap()).collect();
    let mut table = admission.table();
    assert!(table.make_room(3000));
    assert!(evicted(&waiting[0]), "3 s old");
    assert!(table.make_room(1000));
    assert!(evicted(&served), "idle, and the others are young");
    assert!(table.make_room(1000));
    assert!(evicted(&waiting[1]) && !evicted(&waiting[2]));
}

#[test]
fn an_address_takes_slots_from_itself_only() {
    let admission = admission(10, 2);
    let other = admission.admit(peer(1)).unwrap();
    let own: Vec<_> = (0..3).map(|_| admission.admit(peer(9)).unwrap()).collect();
    assert_eq!(own.iter().filter(|slot| evicted(slot)).count(), 1);
    assert!(!evicted(&other));
    own.iter()
        .for_each(|slot| slot.set_activity(Activity::Busy));
    assert_eq!(admission.admit(peer(9)).err(), Some(Full::Address));
    drop(own);
    assert!(admission.admit(peer(9)).is_ok());
}

#[test]
fn ipv6_is_counted_by_its_64_and_proxies_are_not_counted() {
    let admission = admission(99, 1);
    let of = |text: &str| admission.admit(Some(text.parse().unwrap()));
    let first = of("2001:db8:1:2::1").unwrap();
    first.set_activity(Activity::Busy);
    assert!(of("2001:db8:1:2:ffff::9").is_err());
    assert!(of("2001:db8:1:3::1").is_ok());
    let proxied: Vec<_> = (0..5).map(|_| of("127.0.0.1")).collect();
    assert!(proxied.iter().all(Result::is_ok));
}

#[test]
fn connections_that_have_not_closed_yet_keep_no_other_from_being_served() {
    let limits = Limits {
        connections: 2000,
        served: 1000,
        per_address: 9999,
        ..Limits::default()
    };
    let admission = Arc::new(Admission::new(limits, Proxies::default()));
    let served = |last| {
        let slot = admission.admit(peer(last)).unwrap();
        assert!(slot.try_serve());
        slot.set_activity(Activity::Body);
        slot
    };
    let slots: Vec<_> = (0..1000).map(|_| served(1)).collect();
    // Each is served in place of an evicted connection, none of which has closed yet.
    let more: Vec<_> = (0..600).map(|_| served(2)).collect();
    assert_eq!(slots.iter().filter(|slot| evicted(slot)).count(), 600);
    let order = |table: &Table| table.idle.len() + table.slow.len();
    assert_eq!(order(&admission.table()), 1000);
    drop((slots, more));
    assert_eq!(order(&admission.table()), 0);
}

#[test]
fn connections_that_linger_on_their_way_out_are_bounded() {
    let admission = admission(1, 9999);
    let slots: Vec<_> = (0..=MAX_EVICTED_OPEN)
        .map(|_| admission.admit(peer(1)).unwrap())
        .collect();
    assert_eq!(admission.admit(peer(1)).err(), Some(Full::Process));
    drop(slots);
    assert!(admission.admit(peer(1)).is_ok());
}
