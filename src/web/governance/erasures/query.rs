//! The filter of the erasures, as it is written in an address.

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer};

use super::OVERDUE;
use crate::records::{
    conversations::{Channel, Cursor},
    erasure_list::{Filter, State, Why},
};
use crate::web::{
    Error,
    conversation::cursor,
    when::{self, Now},
};

/// The filter in the address. A cause, state or day that is empty or cannot be read does not filter.
#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(in crate::web) struct ErasureQuery {
    pub(super) channel: String,
    #[serde(deserialize_with = "word")]
    cause: Word<Why>,
    #[serde(deserialize_with = "word")]
    state: Word<State>,
    /// Days in the viewer's time zone, both inclusive.
    #[serde(deserialize_with = "day")]
    pub(super) from: Option<NaiveDate>,
    #[serde(deserialize_with = "day")]
    pub(super) to: Option<NaiveDate>,
    pub(super) before: Option<String>,
}

/// A word in an address, and its meaning.
type Word<T> = Option<(&'static str, T)>;

const CAUSES: [(&str, Why); 4] = [
    ("unsend", Why::Unsend),
    ("retention", Why::Retention),
    ("subject", Why::Subject),
    ("operator", Why::Operator),
];

const STATES: [(&str, State); 3] = [
    ("gone", State::Gone),
    ("pending", State::Pending),
    ("overdue", State::Overdue),
];

/// A value that an address writes as one of a few words.
trait QueryWord: Copy + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

impl QueryWord for Why {
    const WORDS: &'static [(&'static str, Self)] = &CAUSES;
}

impl QueryWord for State {
    const WORDS: &'static [(&'static str, Self)] = &STATES;
}

fn word<'de, T: QueryWord, D: Deserializer<'de>>(from: D) -> Result<Word<T>, D::Error> {
    let text = String::deserialize(from)?;
    let known = T::WORDS.iter().find(|(word, _)| *word == text);
    Ok(known.copied())
}

fn day<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NaiveDate>, D::Error> {
    Ok(when::read_day(&String::deserialize(from)?))
}

impl ErasureQuery {
    /// Converts this into the filter of the records. Fails with [`Error::NotFound`] for a channel outside of the
    /// viewer's scope.
    pub(in crate::web) fn filter(&self, channels: &[Channel], now: Now) -> Result<Filter, Error> {
        let meant = |channel: &&Channel| self.channel.is_empty() || channel.slug == self.channel;
        let meant: Vec<i32> = channels.iter().filter(meant).map(|one| one.id).collect();
        if meant.is_empty() && !self.channel.is_empty() {
            return Err(Error::NotFound);
        }
        Ok(Filter {
            channels: meant,
            only: None,
            cause: self.cause.map(|(_, cause)| cause),
            state: self.state.map(|(_, state)| state),
            from: self.from.and_then(|day| now.beginning(day)),
            until: self.to.and_then(|day| now.end(day)),
            overdue_before: now.at - OVERDUE,
        })
    }

    /// The cursor of the page. Fails with [`Error::NotFound`] if it cannot be read.
    pub(super) fn cursor(&self) -> Result<Cursor, Error> {
        match self.before.as_deref() {
            Some(text) => cursor::read(text).ok_or(Error::NotFound),
            None => Ok(Cursor::NEWEST),
        }
    }

    /// The fields of the form, as they are written in an address.
    fn fields(&self) -> [(&'static str, String); 5] {
        let day = |day: Option<NaiveDate>| day.map_or_else(String::new, |day| day.to_string());
        [
            ("channel", self.channel.clone()),
            ("cause", self.cause().to_owned()),
            ("state", self.state().to_owned()),
            ("from", day(self.from)),
            ("to", day(self.to)),
        ]
    }

    pub(super) fn cause(&self) -> &'static str {
        self.cause.map_or("", |(word, _)| word)
    }

    pub(super) fn state(&self) -> &'static str {
        self.state.map_or("", |(word, _)| word)
    }

    pub(super) fn is_everything(&self) -> bool {
        self.fields().iter().all(|(_, asked)| asked.is_empty())
    }

    pub(super) fn address(&self, path: &str, before: Option<String>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let fields = self.fields();
        query.extend_pairs(fields.iter().filter(|(_, value)| !value.is_empty()));
        query.extend_pairs(before.map(|cursor| ("before", cursor)));
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::web;
    use chrono::{DateTime, Utc};
    use chrono_tz::Tz;

    use super::*;

    #[test]
    fn a_period_is_days_of_the_viewers_zone() {
        let now = Now {
            at: "2026-11-20T09:00:00Z".parse().unwrap(),
            zone: Tz::Asia__Tokyo,
        };
        let asked = |query| web::Query::<ErasureQuery>::from_query(query).unwrap();
        let period = asked("from=2026-11-01&to=2026-11-30");
        let filter = period.filter(&[], now).unwrap();
        let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        assert_eq!(filter.from, at("2026-10-31T15:00:00Z"));
        assert_eq!(filter.until, at("2026-11-30T15:00:00Z"));
        for odd in [
            "from=yesterday&state=x",
            "from=-200000-01-01&to=%2B200000-01-01&cause=%00",
            "from=0000-01-01&to=1999-12-31&cause=Unsend",
            "from=9999-12-31&to=262142-12-31&state=gone%00",
            "from=&to=&cause=&state=&channel=",
        ] {
            let odd = asked(odd);
            let filter = odd.filter(&[], now).unwrap();
            assert!(filter.from.is_none() && filter.state.is_none());
            assert!(filter.until.is_none() && filter.cause.is_none());
            assert!(odd.is_everything(), "nor is it repeated");
        }
        let words = asked("cause=subject&state=overdue");
        let filter = words.filter(&[], now).unwrap();
        assert_eq!(filter.cause, Some(Why::Subject));
        assert_eq!(filter.state, Some(State::Overdue));
        assert_eq!(
            words.address("/erasures", None),
            "/erasures?cause=subject&state=overdue"
        );
    }
}
