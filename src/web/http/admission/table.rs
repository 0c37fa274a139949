//! The connections there are, and the order in which they make room.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use super::{Activity, Seat, is_young};
use crate::web::http::limits::Limits;

/// Since when, and the connection's id.
type Place = (u64, u64);

/// Connections by id; ids grow with time.
#[derive(Default)]
pub(super) struct Table {
    pub(super) next: u64,
    /// Those whose first head is not complete: the first is the oldest.
    pub(super) waiting: BTreeMap<u64, Arc<Seat>>,
    pub(super) served: HashMap<u64, Arc<Seat>>,
    pub(super) strangers: Kin,
    pub(super) known: Kin,
    pub(super) by_address: HashMap<IpAddr, HashMap<u64, Arc<Seat>>>,
    /// Told to close, and not closed yet.
    pub(super) leaving: usize,
}

/// Connections that are served, of strangers or of others. To look at all of them for each new one cost a flood 150 µs of the
/// lock a connection.
#[derive(Default)]
pub(super) struct Kin {
    /// How many there are.
    pub(super) count: usize,
    pub(super) idle: BTreeSet<Place>,
    /// Idle ones that go last: of trusted proxies, which send webhooks on them and do not repeat a POST that was cut, and
    /// those that are known.
    pub(super) kept: BTreeSet<Place>,
    /// Those that send or read slowly.
    pub(super) slow: BTreeSet<Place>,
}

impl Kin {
    /// Those that do the same, if they make room.
    fn order(&mut self, seat: &Seat) -> Option<&mut BTreeSet<Place>> {
        match seat.activity() {
            Activity::Idle if seat.is_known() || seat.address.is_none() => Some(&mut self.kept),
            Activity::Idle => Some(&mut self.idle),
            Activity::Head | Activity::Body | Activity::Stalled => Some(&mut self.slow),
            Activity::Busy => None,
        }
    }

    /// The one that has done nothing for longest: an idle one, or one whose head, body or unread answer has taken
    /// [`GRACE`](super::GRACE) or more.
    fn at_rest(&self, now: u64) -> Option<Place> {
        let slow = self.slow.first();
        let late = slow.filter(|(since, _)| !is_young(*since, now));
        self.idle.first().into_iter().chain(late).min().copied()
    }

    /// The one that makes room first.
    fn first_to_go(&self, now: u64) -> Option<Place> {
        let rest = || self.kept.first().or(self.slow.first()).copied();
        self.at_rest(now).or_else(rest)
    }
}

impl Table {
    /// Makes room for one more connection of `address`, which may have `most`, at the cost of its own.
    pub(super) fn make_room_of(&mut self, address: IpAddr, most: usize, now: u64) -> bool {
        match self.by_address.get(&address) {
            Some(own) if own.len() >= most => self.evict(first_to_go(own, now)),
            _ => true,
        }
    }

    /// Makes room for one more connection. The first of these goes:
    ///
    /// 1. the oldest that has had time enough for its first head;
    /// 2. one that is served and [at rest](Self::at_rest);
    /// 3. of those whose head, body or answer may still be on its way, the one that began first. A body that has just
    ///    begun must not go before older silent connections: strangers open those faster than a body travels.
    pub(super) fn make_room(&mut self, now: u64) -> bool {
        let oldest = self.waiting.first_key_value();
        let oldest = oldest.map(|(id, seat)| (seat.since(), *id));
        let late = oldest.filter(|(since, _)| !is_young(*since, now));
        let young = || oldest.into_iter().chain(self.first_slow()).min();
        let first = late.or_else(|| self.at_rest(now)).or_else(young);
        self.evict(first.map(|(_, id)| id))
    }

    /// Moves a connection among those that are served. False: there are as many as there may be, and all of them are busy.
    ///
    /// Beyond [`Limits::strangers`] a stranger's takes the place of another stranger's. While all of those are busy there may
    /// be more of them.
    pub(super) fn serve(&mut self, id: u64, limits: &Limits, now: u64) -> bool {
        let Some(seat) = self.waiting.remove(&id) else {
            // It was told to close in this moment, and notices when it reads.
            return true;
        };
        if !seat.is_known() && self.strangers.count >= limits.strangers {
            let first = self.strangers.first_to_go(now);
            self.evict(first.map(|(_, id)| id));
        }
        if self.served.len() >= limits.served && !self.evict(self.first_served_to_go(now)) {
            self.waiting.insert(id, seat);
            return false;
        }
        self.enter(id, &seat);
        self.served.insert(id, seat);
        true
    }

    fn kin(&mut self, seat: &Seat) -> &mut Kin {
        match seat.is_known() {
            true => &mut self.known,
            false => &mut self.strangers,
        }
    }

    /// Counts and orders one that is served.
    fn enter(&mut self, id: u64, seat: &Seat) {
        let kin = self.kin(seat);
        kin.count += 1;
        if let Some(order) = kin.order(seat) {
            order.insert((seat.since(), id));
        }
    }

    /// Undoes [`Table::enter`].
    fn leave(&mut self, id: u64, seat: &Seat) {
        let kin = self.kin(seat);
        kin.count -= 1;
        if let Some(order) = kin.order(seat) {
            order.remove(&(seat.since(), id));
        }
    }

    /// Changes what is noted of a connection.
    fn change(&mut self, id: u64, seat: &Seat, change: impl FnOnce(&Seat)) {
        let is_served = self.served.contains_key(&id);
        if is_served {
            self.leave(id, seat);
        }
        change(seat);
        if is_served {
            self.enter(id, seat);
        }
    }

    /// Notes what a connection does since `now`.
    pub(super) fn note(&mut self, id: u64, seat: &Seat, activity: Activity, now: u64) {
        self.change(id, seat, |seat| {
            seat.activity.store(activity as u8, Ordering::Relaxed);
            seat.since.store(now, Ordering::Relaxed);
        });
    }

    /// Notes that a connection is not a stranger's.
    pub(super) fn vouch(&mut self, id: u64, seat: &Seat) {
        self.change(id, seat, |seat| seat.known.store(true, Ordering::Relaxed));
    }

    /// As [`first_to_go`], of those that are served.
    ///
    /// An idle connection of a proxy goes before a body that is on its way. The body is lost for certain, and may be
    /// a webhook that LINE does not send again. On the idle connection a request is lost only if the proxy sends one at that
    /// moment.
    /// Strangers gain no time by this: after [`GRACE`](super::GRACE) their bodies are the first to go, and each has
    /// a deadline.
    pub(super) fn first_served_to_go(&self, now: u64) -> Option<u64> {
        let first = self.at_rest(now).or_else(|| self.first_slow());
        first.map(|(_, id)| id)
    }

    fn first_slow(&self) -> Option<Place> {
        let kinds = [&self.strangers, &self.known];
        kinds
            .iter()
            .filter_map(|kin| kin.slow.first())
            .min()
            .copied()
    }

    /// As [`Kin::at_rest`], of all; then idle ones that are kept longer, those of strangers first.
    fn at_rest(&self, now: u64) -> Option<Place> {
        let (strangers, known) = (&self.strangers, &self.known);
        let both = [strangers.at_rest(now), known.at_rest(now)];
        let kept = || strangers.kept.first().or(known.kept.first()).copied();
        both.into_iter().flatten().min().or_else(kept)
    }

    /// Tells a connection to close; it counts no more.
    pub(super) fn evict(&mut self, id: Option<u64>) -> bool {
        let Some(seat) = id.and_then(|id| self.remove(id)) else {
            return false;
        };
        self.leaving += 1;
        seat.evicted.store(true, Ordering::Release);
        seat.waker.wake();
        true
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Arc<Seat>> {
        let served = self.served.remove(&id);
        if let Some(seat) = &served {
            self.leave(id, seat);
        }
        let seat = served.or_else(|| self.waiting.remove(&id))?;
        if let Some(address) = seat.address
            && let Some(own) = self.by_address.get_mut(&address)
        {
            own.remove(&id);
            if own.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(seat)
    }
}

/// The connection that makes room first: the one that has done nothing for longest, and only then one whose head, body or
/// answer has been on its way for less than [`GRACE`](super::GRACE). None if all are busy. Looks at each of an address, of
/// which there are hundreds at most.
pub(super) fn first_to_go(seats: &HashMap<u64, Arc<Seat>>, now: u64) -> Option<u64> {
    let ranked = seats
        .iter()
        .filter_map(|(id, seat)| Some((seat.rank(now)?, *id)));
    ranked.min().map(|(_, id)| id)
}
