//! The platform's own time: real, or stopped where a test or a history sets it.

use chrono::Utc;

/// Gives each event a timestamp of its own.
#[derive(Debug)]
pub(super) struct Time {
    stopped_at: Option<i64>,
    last: i64,
}

impl Time {
    pub(super) fn real() -> Self {
        Time {
            stopped_at: None,
            last: 0,
        }
    }

    /// Stops at `ms`, or runs with the real time again. From here events may be earlier than those before.
    pub(super) fn set(&mut self, ms: Option<i64>) {
        *self = Time {
            stopped_at: ms,
            last: 0,
        };
    }

    /// Now, or a millisecond after the last answer where that was not before now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the platform outside has its own clock, as LINE has"
    )]
    pub(super) fn next(&mut self) -> i64 {
        let now = self
            .stopped_at
            .unwrap_or_else(|| Utc::now().timestamp_millis());
        self.last = now.max(self.last + 1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn no_two_events_share_a_millisecond() {
        let mut time = Time::real();
        time.set(Some(5_000));
        assert_eq!(
            [time.next(), time.next(), time.next()],
            [5_000, 5_001, 5_002]
        );
    }
}
