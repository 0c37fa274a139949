//! Counts what is logged: the first events of a minute are logged one by one, the rest as a count.

use chrono::{DateTime, TimeDelta, Utc};

/// The time for which events are counted together.
const WINDOW: TimeDelta = TimeDelta::seconds(60);

/// The number of events of one kind since `began`.
#[derive(Clone, Copy, Default)]
pub(in crate::web) struct Window {
    began: Option<DateTime<Utc>>,
    pub(in crate::web) count: u64,
}

impl Window {
    pub(in crate::web) const NEW: Self = Self {
        began: None,
        count: 0,
    };

    /// Counts one event. Returns whether it is logged (it is among the first `burst` of its minute), and how many
    /// events were not logged in the minute before, if that has just been closed.
    pub(in crate::web) fn count(&mut self, now: DateTime<Utc>, burst: u64) -> (bool, Option<u64>) {
        let more = self.close(now, burst);
        self.began.get_or_insert(now);
        self.count += 1;
        (self.count <= burst, more)
    }

    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.began
            .is_none_or(|began| now - began >= WINDOW || now < began)
    }

    /// If the minute is over, begins another and returns how many events were not logged; `None` if there are none.
    pub(in crate::web) fn close(&mut self, now: DateTime<Utc>, burst: u64) -> Option<u64> {
        let is_over = self.is_over(now);
        let more = self.count.saturating_sub(burst);
        if is_over {
            *self = Self::default();
        }
        (is_over && more > 0).then_some(more)
    }
}
