//! Counts webhooks without a valid signature. Anybody can send them, so the log gets a count now and then, not a line
//! for each.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

/// At most one log line for each channel within this time.
const LOG_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// The number of refused webhooks, by channel id. Has at most as many entries as there are channels.
#[derive(Default)]
pub struct UnsignedCounter(Mutex<HashMap<i32, Refusals>>);

struct Refusals {
    unlogged: u64,
    logged_at: DateTime<Utc>,
}

impl UnsignedCounter {
    /// Counts one webhook that is refused at `now`. Returns how many were refused since the last log line, if another
    /// line is due now.
    pub(super) fn refuse(&self, channel_id: i32, now: DateTime<Utc>) -> Option<u64> {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refusals = channels.entry(channel_id).or_insert(Refusals {
            unlogged: 0,
            logged_at: DateTime::<Utc>::MIN_UTC,
        });
        refusals.unlogged += 1;
        if now.signed_duration_since(refusals.logged_at) < LOG_INTERVAL {
            return None;
        }
        refusals.logged_at = now;
        Some(std::mem::take(&mut refusals.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_once_a_minute_and_of_all() {
        let counter = UnsignedCounter::default();
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
        assert_eq!(counter.refuse(1, at(0)), Some(1), "the first at once");
        for second in 0..60 {
            assert_eq!(counter.refuse(1, at(second)), None);
        }
        assert_eq!(counter.refuse(2, at(30)), Some(1), "of each channel");
        assert_eq!(counter.refuse(1, at(60)), Some(61));
        assert_eq!(counter.refuse(1, at(61)), None);
    }
}
