//! Webhooks that nobody signed: anybody can send them, so they are counted, and a log is told now and then.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

/// One line a channel in this time.
const NOW_AND_THEN: TimeDelta = TimeDelta::minutes(1);

/// How many were refused, by channel. As many as there are channels.
#[derive(Default)]
pub struct Strangers(Mutex<HashMap<i32, Refusals>>);

struct Refusals {
    untold: u64,
    told_at: DateTime<Utc>,
}

impl Strangers {
    /// Counts one that is refused at `now`. How many there were since the log was told last, if it is to be told now.
    pub(super) fn refuse(&self, channel_id: i32, now: DateTime<Utc>) -> Option<u64> {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refusals = channels.entry(channel_id).or_insert(Refusals {
            untold: 0,
            told_at: DateTime::<Utc>::MIN_UTC,
        });
        refusals.untold += 1;
        if now.signed_duration_since(refusals.told_at) < NOW_AND_THEN {
            return None;
        }
        refusals.told_at = now;
        Some(std::mem::take(&mut refusals.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_once_a_minute_and_of_all() {
        let strangers = Strangers::default();
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
        assert_eq!(strangers.refuse(1, at(0)), Some(1), "the first at once");
        for second in 0..60 {
            assert_eq!(strangers.refuse(1, at(second)), None);
        }
        assert_eq!(strangers.refuse(2, at(30)), Some(1), "of each channel");
        assert_eq!(strangers.refuse(1, at(60)), Some(61));
        assert_eq!(strangers.refuse(1, at(61)), None);
    }
}
