//! The platform's clock: the real time, or a time that a test or the demo sets.

use chrono::Utc;

/// Gives each event a different timestamp, in milliseconds.
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

    /// Stops the clock at `ms`, or returns to the real time. Events after this call can be earlier than those before
    /// it.
    pub(super) fn set(&mut self, ms: Option<i64>) {
        *self = Time {
            stopped_at: ms,
            last: 0,
        };
    }

    /// The current time, or one millisecond after the last result if that is later.
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
