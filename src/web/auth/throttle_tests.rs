use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

fn from(address: Option<IpAddr>) -> Asker {
    Asker {
        address,
        ..Asker::default()
    }
}

fn device(id: u128, address: Option<IpAddr>) -> Asker {
    Asker {
        address,
        device: Some(Uuid::from_u128(id)),
        version: None,
    }
}

fn four(bits: u32) -> Option<IpAddr> {
    Some(IpAddr::V4(bits.into()))
}

fn six(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

impl Throttle {
    fn try_from_address(
        &self,
        login: &str,
        address: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<(), i64> {
        self.admit(login, from(address), now).map(drop)
    }
}

#[test]
fn after_five_failures_each_wait_is_longer_up_to_fifteen_minutes() {
    let throttle = Throttle::default();
    let mut now = at(0);
    let mut waits = vec![];
    for _ in 0..20 {
        if let Err(wait) = throttle.try_from_address("aoi", None, now) {
            waits.push(wait);
            now += TimeDelta::seconds(wait);
            assert_eq!(throttle.try_from_address("aoi", None, now), Ok(()));
        }
    }
    assert_eq!(waits[..4], [1, 2, 4, 8]);
    assert_eq!(waits.len(), 15, "the first five cost nothing");
    assert_eq!(waits.last(), Some(&900));
    assert_eq!(
        throttle.try_from_address("ken", None, now),
        Ok(()),
        "others are not meant"
    );
}

#[test]
fn a_stranger_keeps_no_owner_waiting() {
    let throttle = Throttle::default();
    let stranger = |last| Some(IpAddr::from([203, 0, 113, last]));
    for last in 0..5 {
        assert_eq!(
            throttle.try_from_address("aoi", stranger(last), at(0)),
            Ok(())
        );
    }
    assert_eq!(
        throttle.try_from_address("aoi", stranger(99), at(0)),
        Err(1),
        "one network"
    );
    let home = from(Some(IpAddr::from([198, 51, 100, 7])));
    let queue = throttle.admit("aoi", home, at(0)).expect("admitted");
    throttle.succeeded("aoi", home, queue, at(0));
    assert!(
        throttle
            .try_from_address("aoi", stranger(9), at(0))
            .is_err(),
        "forgiven at home only"
    );
}

#[test]
fn success_forgives() {
    let throttle = Throttle::default();
    for _ in 0..5 {
        assert_eq!(throttle.try_from_address("aoi", None, at(0)), Ok(()));
    }
    assert!(throttle.try_from_address("aoi", None, at(0)).is_err());
    throttle.succeeded("aoi", from(None), Queue::Strangers(None), at(0));
    assert_eq!(throttle.try_from_address("aoi", None, at(0)), Ok(()));
}

#[test]
fn a_network_has_twenty_tries_a_minute() {
    let throttle = Throttle::default();
    let stranger = |last: u8| Some(IpAddr::from([203, 0, 113, last]));
    let admit = |login: &str, address, now| throttle.try_from_address(login, address, now);
    for n in 0..20 {
        assert_eq!(admit(&n.to_string(), stranger(n), at(0)), Ok(()));
    }
    assert_eq!(admit("y", stranger(99), at(10)), Err(50));
    assert_eq!(admit("y", stranger(99), at(60)), Ok(()));
    for n in 0..20 {
        assert_eq!(
            admit(&n.to_string(), six("2001:db8:1:2::1"), at(90)),
            Ok(())
        );
    }
    assert!(admit("x", six("2001:db8:1:2:ffff::9"), at(90)).is_err());
    assert!(admit("x", six("2001:db8:1:3::1"), at(90)).is_ok());
}

/// How many of `tries` tries are admitted at one moment, each of another login and from the next `address`.
fn admitted(tries: u32, address: impl Fn(u32) -> Option<IpAddr>) -> usize {
    let throttle = Throttle::default();
    let admit = |n: &u32| {
        let login = n.to_string();
        throttle
            .try_from_address(&login, address(*n), at(0))
            .is_ok()
    };
    (0..tries).filter(admit).count()
}

#[test]
fn wider_networks_have_limits_of_their_own() {
    let base = 0x2001_0db8_u128 << 96;
    let in_six = |n: u32, shift: u32| Some(IpAddr::V6((base | (u128::from(n) << shift)).into()));
    assert_eq!(admitted(256, |n| in_six(n, 64)), 30, "the /64s of a /56");
    assert_eq!(admitted(256, |n| in_six(n, 72)), 60, "the /56s of a /48");
    assert_eq!(admitted(1000, |n| in_six(n, 80)), 240, "the /48s of a /32");
    let net = 0xcb00_7100;
    assert_eq!(admitted(50, |_| four(net)), 10, "one address");
    assert_eq!(
        admitted(50, |n| four(net + n)),
        20,
        "the addresses of a /24"
    );
    assert_eq!(
        admitted(256, |n| four((0xcb00 << 16) + (n << 8))),
        60,
        "the /24s of a /16"
    );
    let mapped = |n: u32| six(&format!("::ffff:203.0.113.{}", n % 256));
    assert_eq!(admitted(50, mapped), 20, "the same in IPv6's clothes");
}

/// The seconds at which tries of strangers on one login are admitted: `tries` tries, spread over a day, each from
/// another network.
fn evaluations(throttle: &Throttle, tries: u32) -> Vec<i64> {
    let second = |n: u32| i64::from(n) * 86_400 / i64::from(tries);
    (0..tries)
        .filter(|n| {
            let address = four(((n % 100 + 1) << 24) | ((n / 100) << 8));
            throttle
                .try_from_address("aoi", address, at(second(*n)))
                .is_ok()
        })
        .map(second)
        .collect()
}

#[test]
fn rotating_networks_get_at_most_26_evaluations_of_a_login_an_hour_and_164_a_day() {
    let throttle = Throttle::default();
    let evaluated = evaluations(&throttle, 60_000);
    let in_first_hour = evaluated.iter().filter(|second| **second < 3600).count();
    assert!(in_first_hour <= 26, "{in_first_hour}");
    assert!(evaluated.len() <= 164, "{}", evaluated.len());
    assert!(
        evaluated.len() > 150,
        "nor is it closed: {}",
        evaluated.len()
    );
    let throttle = Throttle::default();
    let at_once = (0..10_000_u32)
        .filter(|n| {
            throttle
                .try_from_address("aoi", four(n << 16), at(0))
                .is_ok()
        })
        .count();
    assert_eq!(at_once, 20, "of 10,000 networks at once");
}

#[test]
fn a_known_device_and_a_network_of_ones_own_are_not_affected_by_strangers() {
    let throttle = Throttle::default();
    let home = six("2001:db8:7:100::1");
    let queue = throttle.admit("aoi", from(home), at(0)).expect("admitted");
    assert!(matches!(queue, Queue::Strangers(Some(_))));
    throttle.succeeded("aoi", from(home), queue, at(0));
    evaluations(&throttle, 60_000);
    // The strangers' bucket is still empty at this second.
    let late = at(86_399);
    let elsewhere = six("2001:db8:8::1");
    assert!(throttle.admit("aoi", from(elsewhere), late).is_err());
    assert_eq!(throttle.admit("aoi", from(home), late), Ok(Queue::Known));
    let neighbour = six("2001:db8:7:1ff::1");
    assert_eq!(
        throttle.admit("aoi", from(neighbour), late),
        Ok(Queue::Known),
        "the same /56"
    );
    assert_eq!(
        throttle.admit("aoi", device(1, elsewhere), late),
        Ok(Queue::Known)
    );
    assert!(
        matches!(
            throttle.admit("ken", from(home), late),
            Ok(Queue::Strangers(_))
        ),
        "nobody else's"
    );
    let month = at(86_400 * 31);
    evaluations(&throttle, 60_000);
    assert!(
        matches!(
            throttle.check("aoi", from(home), month),
            Ok(Queue::Strangers(_))
        ),
        "for thirty days"
    );
}

#[test]
fn a_known_device_has_no_more_tries_than_anybody() {
    let throttle = Throttle::default();
    for _ in 0..5 {
        assert!(throttle.admit("aoi", device(1, None), at(0)).is_ok());
    }
    assert_eq!(throttle.admit("aoi", device(1, None), at(0)), Err(1));
    assert!(throttle.admit("aoi", device(2, None), at(0)).is_ok());
}

#[test]
fn a_try_that_succeeded_costs_its_network_and_its_login_nothing() {
    let throttle = Throttle::default();
    for n in 0..200_u32 {
        let asker = from(four(0xcb00_7100 + n % 256));
        let login = format!("login {n}");
        let queue = throttle.admit(&login, asker, at(0)).expect("admitted");
        throttle.succeeded(&login, asker, queue, at(0));
    }
}

#[test]
fn a_try_that_found_the_queue_full_is_not_counted() {
    let throttle = Throttle::default();
    let asker = from(four(0xcb00_7107));
    for _ in 0..200 {
        let queue = throttle.admit("aoi", asker, at(0)).expect("admitted");
        throttle.give_back("aoi", asker, queue);
    }
    assert!(throttle.admit("aoi", asker, at(0)).is_ok());
}

#[test]
fn the_machine_itself_is_counted_by_login_alone_and_not_without_bound() {
    let throttle = Throttle::default();
    let loopback = Some(IpAddr::from([127, 0, 0, 1]));
    for n in 0..100 {
        let login = n.to_string();
        assert_eq!(throttle.try_from_address(&login, loopback, at(0)), Ok(()));
    }
    evaluations(&throttle, 60_000);
    let day = 86_400..86_400 * 2;
    let admit = |second: &i64| {
        throttle
            .try_from_address("aoi", loopback, at(*second))
            .is_ok()
    };
    let tries = day.filter(admit).count();
    assert!(
        (90..=120).contains(&tries),
        "{tries} in a day, beside the attack"
    );
}

#[test]
fn memory_is_bounded() {
    let throttle = Throttle::default();
    for n in 0..REMEMBERED + 50 {
        let address = four(u32::try_from(n).expect("a number") << 12);
        let asker = from(address);
        let _ = throttle.admit(&n.to_string(), asker, at(0));
        throttle.succeeded(&n.to_string(), asker, Queue::Strangers(None), at(0));
        let _ = throttle.admit(&n.to_string(), from(None), at(0));
    }
    let state = throttle.state();
    assert!(state.shares.len() <= REMEMBERED);
    assert!(state.networks.len() <= REMEMBERED);
    assert!(state.logins.len() <= REMEMBERED);
    assert!(state.own.len() <= REMEMBERED);
}

#[test]
fn a_flood_of_other_logins_and_networks_forgets_itself_and_not_what_was_counted() {
    let throttle = Throttle::default();
    let mine = Some(IpAddr::from([203, 0, 113, 7]));
    for n in 0..10 {
        assert!(
            throttle
                .try_from_address(&format!("mine {n}"), mine, at(0))
                .is_ok()
        );
    }
    for n in 0..20_u32 {
        assert!(
            throttle
                .try_from_address("aoi", four(n << 16), at(0))
                .is_ok()
        );
    }
    for _ in 0..5 {
        assert!(throttle.try_from_address("ken", None, at(0)).is_ok());
    }
    for n in 0..15_000_u32 {
        let address = four(((n % 100 + 1) << 24) | ((n / 100) << 16));
        let _ = throttle.try_from_address(&format!("flood {n}"), address, at(1));
    }
    assert!(
        throttle.try_from_address("mine", mine, at(2)).is_err(),
        "the network"
    );
    assert!(
        throttle
            .try_from_address("aoi", four(200 << 16), at(2))
            .is_err(),
        "the login's strangers"
    );
    assert_eq!(
        throttle.try_from_address("ken", None, at(0)),
        Err(1),
        "the share"
    );
}
