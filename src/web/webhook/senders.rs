//! Addresses from which signed webhooks came within 24 hours. They are served even if strangers have used up their
//! share.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

/// How long an address is known after a valid signature.
const KNOWN: TimeDelta = TimeDelta::hours(24);

/// Maximum number of remembered addresses. Only a sender that knows a channel's secret can add one.
const REMEMBERED: usize = 4096;

/// When each address last sent a webhook with a valid signature. Kept in memory: a restart forgets it.
#[derive(Default)]
pub struct Senders(Mutex<HashMap<IpAddr, DateTime<Utc>>>);

impl Senders {
    /// Notes a valid signature from `address`.
    pub(super) fn signed(&self, address: IpAddr, now: DateTime<Utc>) {
        let mut known = self.known();
        if let Some(at) = known.get_mut(&address) {
            *at = now;
            return;
        }
        if known.len() >= REMEMBERED {
            known.retain(|_, at| now - *at < KNOWN);
        }
        if known.len() >= REMEMBERED
            && let Some(oldest) = known.iter().min_by_key(|(_, at)| **at)
        {
            let oldest = *oldest.0;
            known.remove(&oldest);
        }
        known.insert(address, now);
    }

    /// Whether `address` sent a valid signature within [`KNOWN`].
    pub(super) fn knows(&self, address: IpAddr, now: DateTime<Utc>) -> bool {
        let at = self.known().get(&address).copied();
        at.is_some_and(|at| now - at < KNOWN)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<IpAddr, DateTime<Utc>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    fn address(n: usize) -> IpAddr {
        IpAddr::from(u32::try_from(n).expect("an address").to_be_bytes())
    }

    #[test]
    fn an_address_is_known_for_a_day_after_its_last_signature() {
        let senders = Senders::default();
        assert!(!senders.knows(address(1), at(0)));
        senders.signed(address(1), at(0));
        senders.signed(address(1), at(3600));
        assert!(senders.knows(address(1), at(86_400)));
        assert!(!senders.knows(address(1), at(90_000)));
        assert!(!senders.knows(address(2), at(3600)));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_is_forgotten() {
        let senders = Senders::default();
        for n in 0..REMEMBERED + 10 {
            senders.signed(address(n), at(n as i64));
        }
        assert_eq!(senders.known().len(), REMEMBERED);
        assert!(!senders.knows(address(0), at(5000)));
        assert!(senders.knows(address(REMEMBERED), at(5000)));
    }
}
