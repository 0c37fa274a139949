//! Guessing is slow: after five failures a login waits for whoever tries it from the same network, longer each time, and
//! a network has twenty tries a minute. Whoever tries from elsewhere keeps no owner of a login waiting.
//! Kept in memory and bounded: a restart forgives, and nobody can fill it.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

/// Failures before a login waits.
const FREE_TRIES: u32 = 5;
/// The longest wait: no login is locked for good.
const LONGEST: TimeDelta = TimeDelta::minutes(15);
/// Tries of one network in one [`WINDOW`].
const TRIES: u32 = 20;
const WINDOW: TimeDelta = TimeDelta::minutes(1);
/// Logins and networks remembered at most.
const REMEMBERED: usize = 10_000;

/// Who tried how often, of late.
#[derive(Default)]
pub(super) struct Throttle {
    logins: Mutex<HashMap<Pair, Tries>>,
    networks: Mutex<HashMap<IpAddr, Tries>>,
}

/// A login, and the network it is tried from.
type Pair = (String, Option<IpAddr>);

#[derive(Clone, Copy)]
struct Tries {
    count: u32,
    until: DateTime<Utc>,
}

impl Throttle {
    /// May this login be tried from this address now? Counts the try as failed until it has [`succeeded`], so that
    /// many at once are counted too. `Err`: seconds to wait.
    ///
    /// A loopback address is the machine's owner, or a proxy that does not say who asks: its tries are not counted.
    ///
    /// [`succeeded`]: Throttle::succeeded
    pub(super) fn admit(
        &self,
        login: &str,
        from: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<(), i64> {
        if let Some(address) = from.filter(|ip| !ip.is_loopback()) {
            self.admit_network(network(address), now)?;
        }
        self.admit_login(pair(login, from), now)
    }

    fn admit_network(&self, network: IpAddr, now: DateTime<Utc>) -> Result<(), i64> {
        let mut networks = lock(&self.networks);
        make_room(&mut networks, now);
        let fresh = Tries {
            count: 0,
            until: now + WINDOW,
        };
        let tries = networks.entry(network).or_insert(fresh);
        if tries.until <= now {
            *tries = fresh;
        }
        tries.count += 1;
        if tries.count > TRIES {
            return Err(seconds(tries.until - now));
        }
        Ok(())
    }

    fn admit_login(&self, pair: Pair, now: DateTime<Utc>) -> Result<(), i64> {
        let mut logins = lock(&self.logins);
        make_room(&mut logins, now);
        let tries = logins.entry(pair).or_insert(Tries {
            count: 0,
            until: now,
        });
        if tries.count >= FREE_TRIES && tries.until > now {
            return Err(seconds(tries.until - now));
        }
        tries.count += 1;
        let doublings = tries.count.saturating_sub(FREE_TRIES).min(10);
        tries.until = now + TimeDelta::seconds(1_i64 << doublings).min(LONGEST);
        Ok(())
    }

    /// The password was right: earlier failures are forgiven.
    pub(super) fn succeeded(&self, login: &str, from: Option<IpAddr>) {
        lock(&self.logins).remove(&pair(login, from));
    }
}

fn pair(login: &str, from: Option<IpAddr>) -> Pair {
    (login.to_owned(), from.map(network))
}

fn lock<K, V>(map: &Mutex<HashMap<K, V>>) -> std::sync::MutexGuard<'_, HashMap<K, V>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets what is long over; if that is not enough, what ends first.
fn make_room<K: Hash + Eq + Clone>(map: &mut HashMap<K, Tries>, now: DateTime<Utc>) {
    if map.len() < REMEMBERED {
        return;
    }
    map.retain(|_, tries| tries.until + LONGEST > now);
    if map.len() >= REMEMBERED
        && let Some(first) = map
            .iter()
            .min_by_key(|(_, tries)| (tries.count, tries.until))
            .map(|(key, _)| key.clone())
    {
        map.remove(&first);
    }
}

/// The network of an address: /24, or /64 of IPv6, which one customer has to himself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::from([v4.octets()[0], v4.octets()[1], v4.octets()[2], 0]),
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() >> 64 << 64).to_be_bytes()),
    }
}

fn seconds(wait: TimeDelta) -> i64 {
    wait.num_seconds().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    #[test]
    fn after_five_failures_each_wait_is_longer_up_to_fifteen_minutes() {
        let throttle = Throttle::default();
        let mut now = at(0);
        let mut waits = vec![];
        for _ in 0..20 {
            if let Err(wait) = throttle.admit("aoi", None, now) {
                waits.push(wait);
                now += TimeDelta::seconds(wait);
                assert_eq!(throttle.admit("aoi", None, now), Ok(()));
            }
        }
        assert_eq!(waits[..4], [1, 2, 4, 8]);
        assert_eq!(waits.len(), 15, "the first five cost nothing");
        assert_eq!(waits.last(), Some(&900));
        assert_eq!(
            throttle.admit("ken", None, now),
            Ok(()),
            "others are not meant"
        );
    }

    #[test]
    fn a_stranger_keeps_no_owner_waiting() {
        let throttle = Throttle::default();
        let from = |last| Some(IpAddr::from([203, 0, 113, last]));
        for last in 0..5 {
            assert_eq!(throttle.admit("aoi", from(last), at(0)), Ok(()));
        }
        assert_eq!(
            throttle.admit("aoi", from(99), at(0)),
            Err(1),
            "one network"
        );
        let home = Some(IpAddr::from([198, 51, 100, 7]));
        assert_eq!(throttle.admit("aoi", home, at(0)), Ok(()));
        throttle.succeeded("aoi", home);
        assert!(
            throttle.admit("aoi", from(9), at(0)).is_err(),
            "forgiven at home only"
        );
    }

    #[test]
    fn success_forgives() {
        let throttle = Throttle::default();
        for _ in 0..5 {
            assert_eq!(throttle.admit("aoi", None, at(0)), Ok(()));
        }
        assert!(throttle.admit("aoi", None, at(0)).is_err());
        throttle.succeeded("aoi", None);
        assert_eq!(throttle.admit("aoi", None, at(0)), Ok(()));
    }

    #[test]
    fn a_network_has_twenty_tries_a_minute() {
        let throttle = Throttle::default();
        let from = |last: u8| Some(IpAddr::from([203, 0, 113, last]));
        for n in 0..20 {
            assert_eq!(throttle.admit(&n.to_string(), from(n), at(0)), Ok(()));
        }
        assert_eq!(throttle.admit("y", from(99), at(10)), Err(50));
        assert_eq!(throttle.admit("y", from(99), at(60)), Ok(()));
        let six = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        for n in 0..20 {
            let login = n.to_string();
            assert_eq!(
                throttle.admit(&login, six("2001:db8:1:2::1"), at(90)),
                Ok(())
            );
        }
        assert!(
            throttle
                .admit("x", six("2001:db8:1:2:ffff::9"), at(90))
                .is_err()
        );
        assert!(throttle.admit("x", six("2001:db8:1:3::1"), at(90)).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..REMEMBERED + 50 {
            assert_eq!(throttle.admit(&n.to_string(), None, at(0)), Ok(()));
        }
        assert!(lock(&throttle.logins).len() <= REMEMBERED);
    }
}
