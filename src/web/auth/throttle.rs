//! The rate limit of sign-ins, by device, network and login. A try is counted before anything is hashed.
//!
//! - A known device (its cookie), or a network that this login signed in from within 30 days with the credentials of
//!   today: tries of its own, 5 without a wait, then a wait that doubles from 1 s to 15 min.
//! - A stranger: the same for each login and network, and the two limits below.
//! - All strangers of one network: 10 tries a minute of an IPv4 address, 20 of its /24, 60 of its /16; 20 of an IPv6
//!   /64, 30 of its /56, 60 of its /48, 240 of its /32.
//! - All strangers who try one login, from however many networks: [`BURST`] tries, then one each [`REFILL`]: at most 26
//!   in an hour, 164 in a day.
//!
//! The last limit has a price: while many networks attack a login, its owner waits too, unless they use a known device
//! or a network that they signed in from within 30 days. Known devices and networks are not affected, nor is a browser
//! on the machine itself (an SSH tunnel). An administrator replaces an attacked login: `operator add`, then
//! `operator disable`. The limit is a token bucket and not a growing wait: two constants then bound the number of tries
//! within any time.
//!
//! Behind a proxy that does not name its client, every client has a loopback address, which is counted by login alone.
//!
//! The counts are kept in memory, so a restart clears them, and every list is bounded. A full list drops the entries
//! with the fewest tries, so a flood of other logins and networks drops its own entries. To make a login's bucket the
//! lowest of [`REMEMBERED`], an attacker has to use up 20 tries of each of the others, which takes over an hour of all
//! the hashes that this machine can compute.

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

/// Failed tries before there is a wait.
const FREE_TRIES: u32 = 5;
/// The longest wait: no login is locked for good.
const LONGEST: TimeDelta = TimeDelta::minutes(15);
/// Tries of one network in one [`WINDOW`]: the prefix length in bits, and the limit.
const LIMITS_V4: [(u8, u32); 3] = [(32, 10), (24, 20), (16, 60)];
const LIMITS_V6: [(u8, u32); 4] = [(64, 20), (56, 30), (48, 60), (32, 240)];
const WINDOW: TimeDelta = TimeDelta::minutes(1);
/// The token bucket of a login: tries of strangers without a wait, and the time until one more is allowed.
const BURST: i32 = 20;
const REFILL: TimeDelta = TimeDelta::minutes(10);
/// How long a network counts as a login's own after a sign-in from it.
const OWN_FOR: TimeDelta = TimeDelta::days(30);
/// Entries of each list, at most.
const REMEMBERED: usize = 10_000;

/// The client that tries a login.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::web) struct Asker {
    /// The client's address; `None` if it is unknown.
    pub(in crate::web) address: Option<IpAddr>,
    /// The device, if it is known to have signed in with this login.
    pub(in crate::web) device: Option<Uuid>,
    /// The version of the operator's credentials, once the operator is known. A network that signed in with an earlier
    /// version, perhaps a thief's, counts as a stranger's.
    pub(in crate::web) version: Option<i32>,
}

impl Asker {
    /// The address, if its network is counted. `None` for loopback: the machine itself, or a proxy that does not name
    /// its client.
    fn outside(&self) -> Option<IpAddr> {
        let address = self.address.map(|address| address.to_canonical());
        address.filter(|address| !address.is_loopback())
    }

    /// The key that a login's tries are counted by.
    fn share(&self) -> Share {
        match self.device {
            Some(device) => Share::Device(device),
            None => Share::Network(self.outside().map(home)),
        }
    }
}

/// The recent tries, by device, network and login.
#[derive(Default)]
pub(in crate::web) struct Throttle(Mutex<State>);

#[derive(Default)]
struct State {
    shares: HashMap<(Name, Share), Tries>,
    networks: HashMap<(u8, IpAddr), Tries>,
    /// When the token bucket of all strangers of a login is full again.
    logins: HashMap<Name, DateTime<Utc>>,
    /// Until when a network is a login's own, and which version of the credentials it signed in with.
    own: HashMap<(Name, IpAddr), (DateTime<Utc>, Option<i32>)>,
}

/// The first 16 bytes of a login's SHA-256: strangers may type long logins.
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
    /// Admits a try of this login by this asker, or refuses it. Counts the try as failed until it has [`succeeded`], so
    /// that concurrent tries are counted too; a refused try is not counted. `Ok`: the queue to wait in. `Err`: seconds
    /// to wait.
    ///
    /// [`succeeded`]: Throttle::succeeded
    pub(in crate::web) fn admit(
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

    /// As [`Throttle::admit`], but counts nothing: refuses a try before the database is queried.
    pub(in crate::web) fn check(
        &self,
        login: &str,
        asker: Asker,
        now: DateTime<Utc>,
    ) -> Result<Queue, i64> {
        self.state().check(name(login), asker, now)
    }

    /// The password was right: clears the failures of this share, takes the try back, and makes the network the login's
    /// own from now on.
    pub(in crate::web) fn succeeded(
        &self,
        login: &str,
        asker: Asker,
        queue: Queue,
        now: DateTime<Utc>,
    ) {
        self.give_back(login, asker, queue);
        let (mut state, login) = (self.state(), name(login));
        state.shares.remove(&(login, asker.share()));
        if let Some(address) = asker.outside() {
            make_room(&mut state.own, |(until, _)| (0, *until), now);
            let own = (now + OWN_FOR, asker.version);
            state.own.insert((login, home(address)), own);
        }
    }

    /// Takes back a try that was admitted: the queue was full, or the password was right.
    pub(in crate::web) fn give_back(&self, login: &str, asker: Asker, queue: Queue) {
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
            false => Queue::Strangers(Some(queue_network(address))),
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

/// Makes room in a full list: drops the entries that were over at `ended` and, if that is not enough, a sixteenth of
/// the list: the entries with the fewest tries, and of those the ones that end first. When one entry was dropped at a
/// time, each insertion into a full list scanned all of it.
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

/// The networks that an address is counted in, with their limits in tries.
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

/// The network that shares places in the queue of strangers: /16, or /48 of IPv6.
fn queue_network(address: IpAddr) -> IpAddr {
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

/// Whole seconds, rounded up and at least one: after them the wait is over.
fn seconds(wait: TimeDelta) -> i64 {
    (wait + TimeDelta::milliseconds(999)).num_seconds().max(1)
}

#[cfg(test)]
#[path = "throttle_tests.rs"]
mod tests;
