//! Time as a value, so that a test can move it. All code whose behaviour depends on the time reads a [`Clock`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

/// The source of the time: the machine, or a manual clock that a test advances. Clones share their time and their
/// correction.
#[derive(Clone, Debug)]
pub struct Clock {
    machine: Machine,
    /// Microseconds that the database's clock is ahead; `None`: this clock does not follow the database.
    ahead: Option<Arc<AtomicI64>>,
}

#[derive(Clone, Debug)]
enum Machine {
    System,
    /// Microseconds since 1970.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self {
            machine: Machine::System,
            ahead: None,
        }
    }

    /// A manual clock that shows `start` until it is advanced.
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self {
            machine: Machine::Manual(Arc::new(AtomicI64::new(start.timestamp_micros()))),
            ahead: None,
        }
    }

    /// The same clock, which shows the database's time once [`Clock::correct`] has set the difference.
    #[must_use]
    pub fn following_database(self) -> Self {
        Self {
            ahead: Some(Arc::default()),
            ..self
        }
    }

    /// Whether [`Clock::correct`] has an effect.
    pub fn follows_database(&self) -> bool {
        self.ahead.is_some()
    }

    /// The present time in whole microseconds, the precision of PostgreSQL's timestamps.
    pub fn now(&self) -> DateTime<Utc> {
        let ahead = self.ahead.as_ref();
        self.machine() + TimeDelta::microseconds(ahead.map_or(0, |by| by.load(Ordering::Acquire)))
    }

    /// As [`Clock::now`], without the correction.
    pub fn machine(&self) -> DateTime<Utc> {
        let micros = match &self.machine {
            #[expect(
                clippy::disallowed_methods,
                reason = "the only code that may read the system time"
            )]
            Machine::System => Utc::now().timestamp_micros(),
            Machine::Manual(at) => at.load(Ordering::Acquire),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// Sets how far the database's clock is ahead of the machine's, unless the present correction differs from it by at
    /// most `tolerance`. Returns whether the correction has changed; false for a clock that does not follow the
    /// database.
    pub fn correct(&self, ahead: TimeDelta, tolerance: TimeDelta) -> bool {
        let (Some(present), Some(new)) = (&self.ahead, ahead.num_microseconds()) else {
            return false;
        };
        let change = new.saturating_sub(present.load(Ordering::Acquire));
        let is_more = TimeDelta::microseconds(change).abs() > tolerance;
        if is_more {
            present.store(new, Ordering::Release);
        }
        is_more
    }

    /// Moves a manual clock forward; the system clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Machine::Manual(at) = &self.machine {
            let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            at.fetch_add(micros, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_manual_clock_share_its_time() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let twin = clock.clone();
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH);
        twin.advance(Duration::from_secs(90));
        assert_eq!(clock.now().timestamp(), 90);
    }
    #[test]
    fn a_clock_that_follows_is_corrected_beyond_the_tolerance() {
        let tolerance = TimeDelta::seconds(2);
        let clock = Clock::manual(DateTime::UNIX_EPOCH).following_database();
        let twin = clock.clone();
        for (ahead, changes, shown) in [
            (2, false, 0),
            (-2, false, 0),
            (600, true, 600),
            (601, false, 600),
            (-30, true, -30),
            (0, true, 0),
        ] {
            assert_eq!(clock.correct(TimeDelta::seconds(ahead), tolerance), changes);
            assert_eq!(twin.now().timestamp(), shown, "{ahead} s ahead");
            assert_eq!(clock.machine(), DateTime::UNIX_EPOCH);
        }
        let alone = Clock::manual(DateTime::UNIX_EPOCH);
        assert!(!alone.correct(TimeDelta::seconds(600), tolerance));
        assert_eq!(alone.now(), DateTime::UNIX_EPOCH);
    }
}
