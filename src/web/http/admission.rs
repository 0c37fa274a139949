//! Decides which connections are admitted, and which one is evicted when all slots are taken.
//!
//! A connection waits outside of actix until its first request's head is complete, which costs little; then it is
//! served. Strangers can take slots of both kinds but cannot keep them: when all are taken, a new connection evicts the
//! one that has been inactive for longest. So a webhook of LINE is admitted even if strangers hold all slots.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::client::Proxies;
use super::{limits::Limits, refusal::Tally};

/// Evicted connections that may still be open, beyond the limit on connections. If there are more, a new connection is
/// refused, so that the open files stay within their limit.
pub(super) const MAX_EVICTED_OPEN: usize = 256;

/// How long a head, a body or an unread response may take before its connection is evicted like an idle one.
const GRACE: Duration = Duration::from_secs(2);

/// Incomplete heads of more than 4 KiB at once, each of up to 32 KiB in a buffer of 64 KiB.
const LONG_HEADS: usize = 1024;

/// The activity of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// It has not sent a complete head yet.
    Head,
    /// It is sending a body, and its sender is not known.
    Body,
    /// It does not read its response.
    Stalled,
    /// It was answered and may send another request.
    Idle,
    /// A request is being answered. Such a connection is never evicted.
    Busy,
}

impl Activity {
    const ALL: [Self; 5] = [
        Self::Head,
        Self::Body,
        Self::Stalled,
        Self::Idle,
        Self::Busy,
    ];
}

/// The connections of the whole process, across the server's threads.
pub(super) struct Admission {
    limits: Limits,
    proxies: Proxies,
    begun: Instant,
    table: Mutex<Table>,
    long_heads: Arc<Semaphore>,
    pub(super) tally: Tally,
}

/// Connections by id; a later connection has a larger id.
#[derive(Default)]
struct Table {
    next: u64,
    /// Connections whose first head is not complete, the oldest first.
    waiting: BTreeMap<u64, Arc<Seat>>,
    served: HashMap<u64, Arc<Seat>>,
    /// Of the served connections, the idle ones, and those that send or read slowly, by the start of the activity and
    /// id.
    /// During a flood, a scan of all of them held the lock for 150 µs for each new connection.
    idle: BTreeSet<(u64, u64)>,
    slow: BTreeSet<(u64, u64)>,
    /// The idle connections of trusted proxies, which send webhooks on them: a proxy does not repeat a POST that was
    /// cut.
    proxied: BTreeSet<(u64, u64)>,
    by_address: HashMap<IpAddr, HashMap<u64, Arc<Seat>>>,
    /// Number of connections that were evicted and have not closed yet.
    leaving: usize,
}

/// The state of one connection, shared by its slot and the table.
struct Seat {
    address: Option<IpAddr>,
    activity: AtomicU8,
    /// When the activity began, in milliseconds since [`Admission::begun`].
    since: AtomicU64,
    evicted: AtomicBool,
    /// Wakes the connection's task.
    waker: AtomicWaker,
}

/// A connection's slot; freed when dropped.
pub(super) struct Slot {
    admission: Arc<Admission>,
    id: u64,
    seat: Arc<Seat>,
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All slots are taken by requests that are being answered, or too many evicted connections are still open.
    Process,
    /// The address has as many connections as one may have, and all of them are busy.
    Address,
}

impl Admission {
    pub(super) fn new(limits: Limits, proxies: Proxies) -> Self {
        Self {
            limits,
            proxies,
            begun: Instant::now(),
            table: Mutex::default(),
            long_heads: Arc::new(Semaphore::new(LONG_HEADS)),
            tally: Tally::default(),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A permit to keep a long head that is not complete yet; `None` if all are taken.
    pub(super) fn long_head(&self) -> Option<OwnedSemaphorePermit> {
        self.long_heads.clone().try_acquire_owned().ok()
    }

    /// A slot for a connection from `peer`, to wait in. If none is left, another connection is evicted.
    pub(super) fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Slot, Full> {
        let address = peer
            .filter(|peer| !self.proxies.trusts(*peer))
            .map(counted_as);
        let (now, mut table) = (self.now(), self.table());
        let open = table.waiting.len() + table.served.len();
        if open + table.leaving >= self.limits.connections + MAX_EVICTED_OPEN {
            return Err(Full::Process);
        }
        if let Some(address) = address
            && !table.make_room_of(address, self.limits.per_address, now)
        {
            return Err(Full::Address);
        }
        let open = table.waiting.len() + table.served.len();
        if open >= self.limits.connections && !table.make_room(now) {
            return Err(Full::Process);
        }
        let id = table.next;
        table.next += 1;
        let seat = Arc::new(Seat {
            address,
            activity: AtomicU8::new(Activity::Head as u8),
            since: AtomicU64::new(now),
            evicted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        table.waiting.insert(id, seat.clone());
        if let Some(address) = address {
            let own = table.by_address.entry(address).or_default();
            own.insert(id, seat.clone());
        }
        drop(table);
        Ok(Slot {
            admission: self.clone(),
            id,
            seat,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        let table = self.table();
        table.waiting.len() + table.served.len()
    }
}

impl Table {
    /// Makes room for one more connection of `address`, which may have `most`: evicts one of its own if it has as many.
    /// False if all of those are busy.
    fn make_room_of(&mut self, address: IpAddr, most: usize, now: u64) -> bool {
        match self.by_address.get(&address) {
            Some(own) if own.len() >= most => self.evict(first_to_go(own, now)),
            _ => true,
        }
    }

    /// Makes room for one more connection. Evicts the first of these:
    ///
    /// 1. the oldest waiting connection, if its first head has taken [`GRACE`] or more;
    /// 2. the served connection [at rest](Self::at_rest);
    /// 3. of those whose head, body or response may still be in transit, the one that began first. A body that has just
    ///    begun must not be evicted before older silent connections: strangers open those faster than a body travels.
    fn make_room(&mut self, now: u64) -> bool {
        let oldest = self.waiting.first_key_value();
        let oldest = oldest.map(|(id, seat)| (seat.since(), *id));
        let late = oldest.filter(|(since, _)| !is_young(*since, now));
        let young = || oldest.into_iter().chain(self.slow.first().copied()).min();
        let first = late.or_else(|| self.at_rest(now)).or_else(young);
        self.evict(first.map(|(_, id)| id))
    }

    /// Moves a connection from those that wait to those that are served; there may be `most`, so one of them may be
    /// evicted. False if all of them are busy.
    fn serve(&mut self, id: u64, most: usize, now: u64) -> bool {
        let Some(seat) = self.waiting.remove(&id) else {
            // It has just been evicted, and notices that when it reads.
            return true;
        };
        if self.served.len() >= most && !self.evict(self.first_served_to_go(now)) {
            self.waiting.insert(id, seat);
            return false;
        }
        if let Some(order) = self.order(&seat, seat.activity()) {
            order.insert((seat.since(), id));
        }
        self.served.insert(id, seat);
        true
    }

    /// The set of the served connections with this activity; `None` if such connections are never evicted.
    fn order(&mut self, seat: &Seat, activity: Activity) -> Option<&mut BTreeSet<(u64, u64)>> {
        match activity {
            Activity::Idle if seat.address.is_none() => Some(&mut self.proxied),
            Activity::Idle => Some(&mut self.idle),
            Activity::Head | Activity::Body | Activity::Stalled => Some(&mut self.slow),
            Activity::Busy => None,
        }
    }

    /// Notes the activity of a connection since `now`.
    fn note(&mut self, id: u64, seat: &Seat, activity: Activity, now: u64) {
        let is_served = self.served.contains_key(&id);
        let before = (seat.since(), id);
        if is_served && let Some(order) = self.order(seat, seat.activity()) {
            order.remove(&before);
        }
        seat.activity.store(activity as u8, Ordering::Relaxed);
        seat.since.store(now, Ordering::Relaxed);
        if is_served && let Some(order) = self.order(seat, activity) {
            order.insert((now, id));
        }
    }

    /// The served connection that is evicted first, as [`first_to_go`] for one address.
    ///
    /// An idle connection of a proxy is evicted before one whose body is arriving. The body would be lost for certain,
    /// and may be a webhook that LINE does not send again. On the idle connection a request is lost only if the proxy
    /// sends one at that moment. Strangers gain no time by this: after [`GRACE`] their bodies are evicted first, and
    /// each body has a deadline.
    fn first_served_to_go(&self, now: u64) -> Option<u64> {
        let first = self.at_rest(now).or(self.slow.first().copied());
        first.map(|(_, id)| id)
    }

    /// The served connection that has been inactive for longest: an idle one, or one whose head, body or unread
    /// response has taken [`GRACE`] or more. Idle ones of proxies come last: a proxy does not repeat a POST that was
    /// cut.
    fn at_rest(&self, now: u64) -> Option<(u64, u64)> {
        let slow = self.slow.first();
        let late = slow.filter(|(since, _)| !is_young(*since, now));
        let first = self.idle.first().into_iter().chain(late).min();
        first.or(self.proxied.first()).copied()
    }

    /// Tells a connection to close, and removes it from the table. False: no such connection.
    fn evict(&mut self, id: Option<u64>) -> bool {
        let Some(seat) = id.and_then(|id| self.remove(id)) else {
            return false;
        };
        self.leaving += 1;
        seat.evicted.store(true, Ordering::Release);
        seat.waker.wake();
        true
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Seat>> {
        let served = self.served.remove(&id);
        if let Some(seat) = &served
            && let Some(order) = self.order(seat, seat.activity())
        {
            order.remove(&(seat.since(), id));
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

/// The connection of an address that is evicted first: the one that has been inactive for longest, and only then one
/// whose head, body or response has been in transit for less than [`GRACE`]. `None` if all are busy. Scans all
/// connections of the address, of which there are hundreds at most.
fn first_to_go(seats: &HashMap<u64, Arc<Seat>>, now: u64) -> Option<u64> {
    let ranked = seats
        .iter()
        .filter_map(|(id, seat)| Some((seat.rank(now)?, *id)));
    ranked.min().map(|(_, id)| id)
}

fn is_young(since: u64, now: u64) -> bool {
    u128::from(now.saturating_sub(since)) < GRACE.as_millis()
}

impl Seat {
    /// The connection with the lowest rank is evicted first; `None`: it is never evicted.
    fn rank(&self, now: u64) -> Option<(bool, u64)> {
        let since = self.since();
        match self.activity() {
            Activity::Idle => Some((false, since)),
            Activity::Head | Activity::Body | Activity::Stalled => {
                Some((is_young(since, now), since))
            }
            Activity::Busy => None,
        }
    }

    fn since(&self) -> u64 {
        self.since.load(Ordering::Relaxed)
    }

    fn activity(&self) -> Activity {
        let index = usize::from(self.activity.load(Ordering::Relaxed));
        Activity::ALL.get(index).copied().unwrap_or(Activity::Busy)
    }
}

impl Slot {
    /// Notes the activity of the connection from now on.
    pub(super) fn set_activity(&self, activity: Activity) {
        if self.seat.activity() != activity {
            let now = self.admission.now();
            let mut table = self.admission.table();
            table.note(self.id, &self.seat, activity, now);
        }
    }

    /// Notes that the first head is complete. False if the served connections are at their limit and all busy.
    pub(super) fn try_serve(&self) -> bool {
        let most = self.admission.limits.served;
        let now = self.admission.now();
        // Its request is about to be parsed.
        self.set_activity(Activity::Busy);
        self.admission.table().serve(self.id, most, now)
    }

    pub(super) fn activity(&self) -> Activity {
        self.seat.activity()
    }

    /// True once the connection has to close. Registers the task of `cx` to be woken when it is evicted.
    pub(super) fn is_evicted(&self, cx: &std::task::Context<'_>) -> bool {
        self.seat.waker.register(cx.waker());
        self.seat.evicted.load(Ordering::Acquire)
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.admission.table();
        if table.remove(self.id).is_none() {
            table.leaving -= 1;
        }
    }
}

/// The key that connections are counted by: an IPv4 address, or the /64 of an IPv6 one, which belongs to one customer.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() >> 64 << 64).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests;
