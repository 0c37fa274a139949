//! Which connections are let in, and which one makes room when all slots are taken.
//!
//! A connection waits outside of actix until its first request's head is complete, which costs little; then it is served.
//! Strangers can hold slots of both kinds but cannot keep them: when all are taken, a new connection takes the slot of the
//! one that has delivered least for longest. So a webhook of LINE is let in whatever strangers hold.

mod table;
#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::table::Table;
use super::{limits::Limits, refusal::Tally};
use crate::web::client::Proxies;

/// Connections that were told to close and have not yet, beyond those that there may be. With more of them a new one is
/// refused, so that the open files stay within their limit.
pub(super) const LEAVING: usize = 256;

/// How long a head, a body or an unread answer may take before its connection makes room like one that does nothing.
const GRACE: Duration = Duration::from_secs(2);

/// Heads of more than 4 KiB that may be awaited at once, each of up to 32 KiB in a buffer of 64.
const LONG_HEADS: usize = 1024;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// It has not sent a complete head yet.
    Head,
    /// It is sending a body, and nothing is known of its sender.
    Body,
    /// It does not read its answer.
    Stalled,
    /// It was answered and may ask again.
    Idle,
    /// A request is being answered. It makes room for nobody.
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

/// One connection, as the others see it.
struct Seat {
    /// What it is counted by; none: it comes from a trusted proxy.
    address: Option<IpAddr>,
    /// Not a stranger's: a session or a right signature came on it.
    known: AtomicBool,
    activity: AtomicU8,
    /// Milliseconds since [`Admission::begun`].
    since: AtomicU64,
    evicted: AtomicBool,
    /// Wakes the connection's task.
    waker: AtomicWaker,
}

/// A connection's slot; given back when dropped.
pub(super) struct Slot {
    admission: Arc<Admission>,
    id: u64,
    seat: Arc<Seat>,
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All slots are taken by requests that are being answered.
    Process,
    /// The address has as many connections as one may have.
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

    /// Leave to hold a long head that is not complete yet.
    pub(super) fn long_head(&self) -> Option<OwnedSemaphorePermit> {
        self.long_heads.clone().try_acquire_owned().ok()
    }

    /// A slot for a connection from `peer`, to wait in. Where there is none left, another connection is told to close.
    pub(super) fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Slot, Full> {
        let address = peer
            .filter(|peer| !self.proxies.trusts(*peer))
            .map(counted_as);
        let (now, mut table) = (self.now(), self.table());
        let open = table.waiting.len() + table.served.len();
        if open + table.leaving >= self.limits.connections + LEAVING {
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
            known: AtomicBool::new(false),
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

fn is_young(since: u64, now: u64) -> bool {
    u128::from(now.saturating_sub(since)) < GRACE.as_millis()
}

impl Seat {
    /// The lowest makes room first; none: it makes no room.
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

    fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
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
    /// Notes what the connection does from now on.
    pub(super) fn does(&self, activity: Activity) {
        if self.seat.activity() != activity {
            let now = self.admission.now();
            let mut table = self.admission.table();
            table.note(self.id, &self.seat, activity, now);
        }
    }

    /// The connection's first head is complete. False: as many as may be are being answered.
    pub(super) fn serve(&self) -> bool {
        let now = self.admission.now();
        // Its request is about to be parsed.
        self.does(Activity::Busy);
        let mut table = self.admission.table();
        table.serve(self.id, &self.admission.limits, now)
    }

    /// Whoever uses the connection has shown a session or a right signature.
    pub(super) fn vouch(&self) {
        if !self.seat.is_known() {
            self.admission.table().vouch(self.id, &self.seat);
        }
    }

    /// What the connection is doing.
    pub(super) fn activity(&self) -> Activity {
        self.seat.activity()
    }

    /// True once the connection has to close; wakes the task of `cx` when that becomes so.
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

/// What connections are counted by: an IPv4 address, or the /64 of an IPv6 one, which one customer has to himself.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() >> 64 << 64).to_be_bytes()),
    }
}
