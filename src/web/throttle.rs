//! How often a login may be tried, and by whom. Counted before anything is hashed.
//!
//! | who | share |
//! |---|---|
//! | a known device (its cookie), or a network that this login signed in from within 30 days, with the password of today | its own: 5 tries, then a wait that doubles from 1 s to 15 min |
//! | a stranger | the same for each login and network, and the two limits below |
//! | all strangers of one network | 10 tries a minute of an IPv4 address, 20 of its /24, 60 of its /16; 20 of an IPv6 /64, 30 of its /56, 60 of its /48, 240 of its /32 |
//! | all strangers who try one login, from however many networks | [`BURST`] tries, then one each [`REFILL`]: at most 26 in an hour, 164 in a day |
//!
//! The last line has a price: while a login is under attack from many networks, its owner waits too, wherever they have
//! neither their device nor a network they used of late. Their devices and networks are not affected, nor is a browser on
//! the machine itself (an SSH tunnel); an administrator changes an attacked login by `operator add` and `operator disable`.
//! A bucket that refills is used rather than a wait that grows: the number of tries within any time follows from two
//! constants.
//!
//! A proxy that does not say who asks makes everybody a loopback address: counted by login and nothing else.
//!
//! Kept in memory and bounded: a restart forgives. What is forgotten to make room is what has the fewest tries, so a flood
//! of other logins and networks forgets itself; to make a login's bucket the least of [`REMEMBERED`], an attacker has to
//! use up 20 tries of each of the others, which takes over an hour of all that this machine can hash.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::gate::Queue;

/// Failures before a login waits.
const FREE_TRIES: u32 = 5;
/// The longest wait: no login is locked for good.
const LONGEST: TimeDelta = TimeDelta::minutes(15);
/// Tries in one [`WINDOW`], by the bits of the network: IPv4, IPv6.
const LIMITS_V4: [(u8, u32); 3] = [(32, 10), (24, 20), (16, 60)];
const LIMITS_V6: [(u8, u32); 4] = [(64, 20), (56, 30), (48, 60), (32, 240)];
const WINDOW: TimeDelta = TimeDelta::minutes(1);
/// Tries of strangers on one login that need not wait, and how soon there is another.
const BURST: i32 = 20;
const REFILL: TimeDelta = TimeDelta::minutes(10);
/// How long a network is a login's own after a sign-in from it.
const OWN_FOR: TimeDelta = TimeDelta::days(30);
/// Logins and networks remembered at most, in each list.
const REMEMBERED: usize = 10_000;

/// Who asks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asker {
    /// Where the request came from.
    pub(super) address: Option<IpAddr>,
    /// The device, if it is known to have signed in with this login.
    pub(super) device: Option<Uuid>,
    /// The version of the operator's credentials, once the operator is known. A network that signed in with earlier ones,
    /// a thief's perhaps, is a stranger's.
    pub(super) version: Option<i32>,
}

impl Asker {
    /// The address as one of a network that is counted: not the machine itself, nor a proxy that does not say who asks.
    fn outside(&self) -> Option<IpAddr> {
        let address = self.address.map(|address| address.to_canonical());
        address.filter(|address| !address.is_loopback())
    }

    /// What a login's tries are counted by.
    fn share(&self) -> Share {
        match self.device {
            Some(device) => Share::Device(device),
            None => Share::Network(self.outside().map(home)),
        }
    }
}

/// Who tried how often, of late.
#[derive(Default)]
pub(super) struct Throttle(Mutex<State>);

#[derive(Default)]
struct State {
    shares: HashMap<(Name, Share), Tries>,
    networks: HashMap<(u8, IpAddr), Tries>,
    /// When the bucket of all strangers of a login is full again.
    logins: HashMap<Name, DateTime<Utc>>,
    /// Until when a network is a login's own, and which version of the credentials it signed in with.
    own: HashMap<(Name, IpAddr), (DateTime<Utc>, Option<i32>)>,
}

/// A login, by the beginning of its SHA-256: what strangers type may be long.
type Name = [u8; 16];

fn name(login: &str) -> Name {
    let mut name = [0; 16];
    name.copy_from_slice(&Sha256::digest(login.as_bytes())[..16]);
    name
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Share {
    Device(Uuid),
    Network(Option<IpAddr>),
}

#[derive(Clone, Copy)]
struct Tries {
    count: u32,
    until: DateTime<Utc>,
}

impl Throttle {
    /// May this login be tried by this asker now? Counts the try as failed until it has [`succeeded`], so that many at
    /// once are counted too; a refused one is not counted. `Ok`: the queue to wait in. `Err`: seconds to wait.
    ///
    /// [`succeeded`]: Throttle::succeeded
    pub(super) fn admit(
        &self,
        login: &str,
        asker: Asker,
        now: DateTime<Utc>,
    ) -> Result<Queue, i64> {
        let (mut state, login) = (self.state(), name(login));
        let queue = state.check(login, asker, now)?;
        state.count(login, asker, queue, now);
        Ok(queue)
    }

    /// As [`Throttle::admit`], but counts nothing: to refuse before the database is asked.
    pub(super) fn check(
        &self,
        login: &str,
        asker: Asker,
        now: DateTime<Utc>,
    ) -> Result<Queue, i64> {
        self.state().check(name(login), asker, now)
    }

    /// The password was right: earlier failures of this share are forgiven, the try is given back, and the network is the
    /// login's own from now on.
    pub(super) fn succeeded(&self, login: &str, asker: Asker, queue: Queue, now: DateTime<Utc>) {
        self.give_back(login, asker, queue);
        let (mut state, login) = (self.state(), name(login));
        state.shares.remove(&(login, asker.share()));
        if let Some(address) = asker.outside() {
            make_room(&mut state.own, |(until, _)| (0, *until), now);
            let own = (now + OWN_FOR, asker.version);
            state.own.insert((login, home(address)), own);
        }
    }

    /// The try was admitted and then not made: too many waited.
    pub(super) fn give_back(&self, login: &str, asker: Asker, queue: Queue) {
        let (mut state, login) = (self.state(), name(login));
        if let Some(tries) = state.shares.get_mut(&(login, asker.share())) {
            tries.count = tries.count.saturating_sub(1);
        }
        if let (Queue::Strangers(_), Some(address)) = (queue, asker.outside()) {
            for (network, _) in levels(address) {
                if let Some(tries) = state.networks.get_mut(&network) {
                    tries.count = tries.count.saturating_sub(1);
                }
            }
            if let Some(full_at) = state.logins.get_mut(&login) {
                *full_at -= REFILL;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check(&self, login: Name, asker: Asker, now: DateTime<Utc>) -> Result<Queue, i64> {
        let share = self.shares.get(&(login, asker.share()));
        let mut wait = share
            .filter(|tries| tries.count >= FREE_TRIES)
            .map_or(TimeDelta::zero(), |tries| tries.until - now);
        let queue = self.queue(login, asker, now);
        if let (Queue::Strangers(_), Some(address)) = (queue, asker.outside()) {
            for (network, limit) in levels(address) {
                if let Some(tries) = self.networks.get(&network)
                    && tries.count >= limit
                {
                    wait = wait.max(tries.until - now);
                }
            }
            if let Some(full_at) = self.logins.get(&login) {
                wait = wait.max(*full_at - now - REFILL * (BURST - 1));
            }
        }
        match wait > TimeDelta::zero() {
            true => Err(seconds(wait)),
            false => Ok(queue),
        }
    }

    fn queue(&self, login: Name, asker: Asker, now: DateTime<Utc>) -> Queue {
        let Some(address) = asker.outside() else {
            return match asker.device {
                Some(_) => Queue::Known,
                None => Queue::Strangers(None),
            };
        };
        let own = self.own.get(&(login, home(address)));
        let is_own = own.is_some_and(|(until, version)| {
            *until > now && (asker.version.is_none() || asker.version == *version)
        });
        match asker.device.is_some() || is_own {
            true => Queue::Known,
            false => Queue::Strangers(Some(wide(address))),
        }
    }

    fn count(&mut self, login: Name, asker: Asker, queue: Queue, now: DateTime<Utc>) {
        make_room(
            &mut self.shares,
            |tries| (tries.count, tries.until),
            now - LONGEST,
        );
        let share = (login, asker.share());
        let tries = self.shares.entry(share).or_insert(Tries {
            count: 0,
            until: now,
        });
        tries.count = tries.count.saturating_add(1);
        let doublings = tries.count.saturating_sub(FREE_TRIES).min(10);
        tries.until = now + TimeDelta::seconds(1_i64 << doublings).min(LONGEST);
        if let (Queue::Strangers(_), Some(address)) = (queue, asker.outside()) {
            self.count_stranger(login, address, now);
        }
    }

    fn count_stranger(&mut self, login: Name, address: IpAddr, now: DateTime<Utc>) {
        for (network, _) in levels(address) {
            make_room(&mut self.networks, |tries| (tries.count, tries.until), now);
            let fresh = Tries {
                count: 0,
                until: now + WINDOW,
            };
            let tries = self.networks.entry(network).or_insert(fresh);
            if tries.until <= now {
                *tries = fresh;
            }
            tries.count += 1;
        }
        make_room(&mut self.logins, |full_at| (0, *full_at), now);
        let full_at = self.logins.entry(login).or_insert(now);
        *full_at = (*full_at).max(now) + REFILL;
    }
}

/// Forgets what was over at `ended`; if that is not enough, a sixteenth of the list: what has the fewest tries and ends
/// first. One at a time, each insertion into a full list looked through all of it.
fn make_room<K: Hash + Eq, V>(
    map: &mut HashMap<K, V>,
    rank: impl Fn(&V) -> (u32, DateTime<Utc>),
    ended: DateTime<Utc>,
) {
    if map.len() < REMEMBERED {
        return;
    }
    map.retain(|_, value| rank(value).1 > ended);
    if map.len() < REMEMBERED {
        return;
    }
    let mut left = REMEMBERED / 16;
    let mut ranks: Vec<_> = map.values().map(&rank).collect();
    let (_, highest, _) = ranks.select_nth_unstable(left - 1);
    map.retain(|_, value| {
        let goes = left > 0 && rank(value) <= *highest;
        left -= usize::from(goes);
        !goes
    });
}

/// The networks an address is counted in, with their limits.
fn levels(address: IpAddr) -> impl Iterator<Item = ((u8, IpAddr), u32)> {
    let limits = match address {
        IpAddr::V4(_) => &LIMITS_V4[..],
        IpAddr::V6(_) => &LIMITS_V6[..],
    };
    limits
        .iter()
        .map(move |(bits, limit)| ((*bits, network(address, *bits)), *limit))
}

/// The network of one site: /24, or /56 of IPv6, which providers give to one customer.
fn home(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    network(address, if address.is_ipv4() { 24 } else { 56 })
}

/// The widest network that shares places in the queue: /16, or /48 of IPv6.
fn wide(address: IpAddr) -> IpAddr {
    network(address, if address.is_ipv4() { 16 } else { 48 })
}

/// The first `bits` of an address.
fn network(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX << (32 - u32::from(bits.clamp(1, 32)));
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX << (128 - u32::from(bits.clamp(1, 128)));
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// Whole seconds, rounded up: after them the wait is over.
fn seconds(wait: TimeDelta) -> i64 {
    (wait + TimeDelta::milliseconds(999)).num_seconds().max(1)
}

#[cfg(test)]
#[path = "throttle_tests.rs"]
mod tests;
