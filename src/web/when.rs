//! Shows times in the operator's time zone: as short as possible, and the full time on hover.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// A time to be shown.
#[derive(Clone)]
pub(super) struct When {
    /// RFC 3339, in UTC, for `<time datetime>`.
    pub(super) iso: String,
    /// The text that is shown.
    pub(super) short: String,
    /// The text that is shown on hover.
    pub(super) full: String,
}

/// The current time, and the operator's time zone.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) at: DateTime<Utc>,
    pub(super) zone: Tz,
}

impl Now {
    /// A time in the operator's zone. A time outside of the years 1 to 9999 becomes the epoch: chrono panics at the
    /// ends of its calendar.
    fn local(self, at: DateTime<Utc>) -> DateTime<Tz> {
        let at = if (1..=9999).contains(&at.year()) {
            at
        } else {
            DateTime::UNIX_EPOCH
        };
        at.with_timezone(&self.zone)
    }

    fn when(self, at: DateTime<Utc>, short: String) -> When {
        When {
            iso: at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            short,
            full: self
                .local(at)
                .format("%A, %-d %B %Y, %H:%M:%S %Z")
                .to_string(),
        }
    }

    /// For a list: today the time of day, within a week the weekday, else the date.
    pub(super) fn listed(self, at: DateTime<Utc>) -> When {
        let (local, today) = (self.local(at), self.date(self.at));
        let format = match (today - local.date_naive()).num_days() {
            0 => "%H:%M",
            1..=6 => "%a",
            _ if local.year() == today.year() => "%-d %b",
            _ => "%-d %b %Y",
        };
        self.when(at, local.format(format).to_string())
    }

    /// The time of day, for use below the heading of its day.
    pub(super) fn hour(self, at: DateTime<Utc>) -> When {
        let short = self.local(at).format("%H:%M").to_string();
        self.when(at, short)
    }

    /// Date and time of day, for use elsewhere.
    pub(super) fn dated(self, at: DateTime<Utc>) -> When {
        let local = self.local(at);
        let format = if local.year() == self.date(self.at).year() {
            "%-d %b, %H:%M"
        } else {
            "%-d %b %Y, %H:%M"
        };
        self.when(at, local.format(format).to_string())
    }

    /// The date alone.
    pub(super) fn date_only(self, at: DateTime<Utc>) -> When {
        let short = self.local(at).format("%-d %b %Y").to_string();
        self.when(at, short)
    }

    /// The day of a time in the operator's zone.
    pub(super) fn date(self, at: DateTime<Utc>) -> NaiveDate {
        self.local(at).date_naive()
    }

    /// The time at which a day begins in the operator's zone. `None` if its clocks skip that midnight.
    pub(super) fn beginning(self, day: NaiveDate) -> Option<DateTime<Utc>> {
        let begins = self.zone.from_local_datetime(&day.and_time(NaiveTime::MIN));
        Some(begins.earliest()?.with_timezone(&Utc))
    }

    /// The time at which a day ends in the operator's zone. `None` if its clocks skip that midnight.
    pub(super) fn end(self, day: NaiveDate) -> Option<DateTime<Utc>> {
        self.beginning(day.checked_add_days(Days::new(1))?)
    }

    /// The heading of a day, between messages.
    pub(super) fn day(self, day: NaiveDate) -> String {
        let today = self.date(self.at);
        match (today - day).num_days() {
            0 => "Today".to_owned(),
            1 => "Yesterday".to_owned(),
            _ if day.year() == today.year() => day.format("%A, %-d %B").to_string(),
            _ => day.format("%A, %-d %B %Y").to_string(),
        }
    }
}

/// The years that a form can name: nothing was archived before them, and nothing will be after them. Within them PostgreSQL
/// and every time zone can represent a day and the day after it.
const YEARS: RangeInclusive<i32> = 2000..=9998;

/// Reads a day, `YYYY-MM-DD`. `None` for other texts and for years outside of [`YEARS`].
pub(super) fn read_day(text: &str) -> Option<NaiveDate> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    day.filter(|day| YEARS.contains(&day.year()))
}

/// A duration in its two largest units: `0.4 s`, `3 min 20 s`, `2 d 4 h`.
pub(super) fn took(span: TimeDelta) -> String {
    let milliseconds = span.num_milliseconds().max(0);
    let seconds = milliseconds / 1000;
    let pair = |big: i64, unit: &str, small: i64, sub: &str| match small {
        0 => format!("{big} {unit}"),
        _ => format!("{big} {unit} {small} {sub}"),
    };
    match seconds {
        0..10 => format!("{}.{} s", seconds, milliseconds % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => pair(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn a_list_shows_what_tells_most() {
        let now = Now {
            at: at("2026-11-12T01:00:00Z"),
            zone: Tz::Asia__Tokyo,
        };
        let listed = |text| now.listed(at(text)).short;
        assert_eq!(
            listed("2026-11-11T15:30:00Z"),
            "00:30",
            "today in Tokyo, yesterday in UTC"
        );
        assert_eq!(listed("2026-11-11T14:30:00Z"), "Wed");
        assert_eq!(listed("2026-11-01T14:30:00Z"), "1 Nov");
        assert_eq!(listed("2025-11-01T14:30:00Z"), "1 Nov 2025");
        assert_eq!(
            now.hour(at("2026-11-11T15:30:00Z")).full,
            "Thursday, 12 November 2026, 00:30:00 JST"
        );
        assert_eq!(now.day(now.date(at("2026-11-11T14:30:00Z"))), "Yesterday");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_no_panic() {
        for zone in [Tz::Asia__Tokyo, Tz::America__New_York] {
            let now = Now {
                at: at("2026-11-12T01:00:00Z"),
                zone,
            };
            for odd in [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC] {
                assert!(now.listed(odd).full.contains("19"));
            }
        }
    }

    #[test]
    fn a_span_is_told_to_two_places() {
        let spans = [420, 12_300, 200_000, 3_600_000, 187_200_000, -5];
        assert_eq!(
            spans.map(|span| took(TimeDelta::milliseconds(span))),
            ["0.4 s", "12 s", "3 min 20 s", "1 h", "2 d 4 h", "0.0 s"]
        );
    }
}
