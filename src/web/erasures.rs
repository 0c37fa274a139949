//! `GET /erasures`: what was erased, why, and how far it is gone. For compliance staff and administrators.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::{
    Error, Shared, cursor, detached,
    look::Look,
    names::{self, ChannelName, Name},
    session::Viewer,
    shell::Shell,
    when::{Now, When, took},
};
use crate::records::{
    conversations::{self, Channel, Cursor},
    erasure_list::{self, Filter, Row, State, Why},
};

/// Rows of one page.
const PAGE: usize = 40;
/// What is overdue stands above the list, so many at most.
const ABOVE: i64 = 20;
/// What is not confirmed gone after this time is overdue.
pub(super) const OVERDUE: TimeDelta = TimeDelta::minutes(15);

#[derive(Template)]
#[template(path = "erasures.html")]
struct Page {
    shell: Shell,
    asked: Asked,
    /// Slugs and names.
    channels: Vec<(String, String)>,
    overdue: Vec<Erasure>,
    rows: Vec<Erasure>,
    all: i64,
    gone: i64,
    late: i64,
    median: Option<String>,
    worst: Option<String>,
    csv: String,
    newest: Option<String>,
    older: Option<String>,
}

struct Erasure {
    id: Uuid,
    conversation: Option<(String, Name)>,
    channel: ChannelName,
    message_id: Name,
    cause: &'static str,
    asked: When,
    /// From asked to gone.
    took: String,
    state: State,
    waits: &'static str,
    rows: i32,
    files: i32,
}

/// What is asked for; what is empty, or not understood, is not asked.
#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct Asked {
    channel: String,
    #[serde(deserialize_with = "word")]
    cause: Word<Why>,
    #[serde(deserialize_with = "word")]
    state: Word<State>,
    /// Days in the viewer's zone, both inclusive.
    #[serde(deserialize_with = "day")]
    from: Option<NaiveDate>,
    #[serde(deserialize_with = "day")]
    to: Option<NaiveDate>,
    before: Option<String>,
}

/// A word of an address and what it means.
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

/// A value that an address may have one of a few words for.
trait Worded: Copy + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

impl Worded for Why {
    const WORDS: &'static [(&'static str, Self)] = &CAUSES;
}

impl Worded for State {
    const WORDS: &'static [(&'static str, Self)] = &STATES;
}

fn word<'de, T: Worded, D: Deserializer<'de>>(from: D) -> Result<Word<T>, D::Error> {
    let text = String::deserialize(from)?;
    let known = T::WORDS.iter().find(|(word, _)| *word == text);
    Ok(known.copied())
}

/// A day, `YYYY-MM-DD`, of a year that PostgreSQL and every time zone can count on from.
fn day<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NaiveDate>, D::Error> {
    let text = String::deserialize(from)?;
    let day = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok();
    Ok(day.filter(|day| YEARS.contains(&day.year())))
}

/// Nothing was erased before, and nothing will be after.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=9998;

impl Asked {
    /// As the records understand it. A channel that is not in sight is not found.
    pub(super) fn filter(&self, channels: &[Channel], now: Now) -> Result<Filter, Error> {
        let meant = |channel: &&Channel| self.channel.is_empty() || channel.slug == self.channel;
        let meant: Vec<i32> = channels.iter().filter(meant).map(|one| one.id).collect();
        if meant.is_empty() && !self.channel.is_empty() {
            return Err(Error::NotFound);
        }
        let next = |day: NaiveDate| day.checked_add_days(Days::new(1));
        Ok(Filter {
            channels: meant,
            only: None,
            cause: self.cause.map(|(_, cause)| cause),
            state: self.state.map(|(_, state)| state),
            from: self.from.and_then(|day| midnight(day, now.zone)),
            until: self
                .to
                .and_then(next)
                .and_then(|day| midnight(day, now.zone)),
            overdue_before: now.at - OVERDUE,
        })
    }

    /// The fields of the form, as an address has them.
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

    fn cause(&self) -> &'static str {
        self.cause.map_or("", |(word, _)| word)
    }

    fn state(&self) -> &'static str {
        self.state.map_or("", |(word, _)| word)
    }

    fn is_everything(&self) -> bool {
        self.fields().iter().all(|(_, asked)| asked.is_empty())
    }

    fn address(&self, path: &str, before: Option<String>) -> String {
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

/// When a day begins; `None` where the calendar ends.
fn midnight(day: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    let begins = zone.from_local_datetime(&day.and_time(chrono::NaiveTime::MIN));
    Some(begins.earliest()?.with_timezone(&Utc))
}

/// `GET /erasures?channel=…&cause=…&state=…&from=…&to=…&before=…`
pub(super) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    look: Look,
    query: web::Query<Asked>,
) -> Result<HttpResponse, Error> {
    if !viewer.sees_erasures() {
        return Err(Error::Forbidden);
    }
    detached(async move {
        let mut shell = Shell::new(&viewer, &look, "erasures");
        shell.live = shared.live.mark().to_string();
        let now = Now {
            at: shared.clock.now(),
            zone: look.zone,
        };
        let asked = query.into_inner();
        let before = match asked.before.as_deref() {
            Some(text) => cursor::read(text).ok_or(Error::NotFound)?,
            None => Cursor::NEWEST,
        };
        let mut conn = shared.pool.acquire().await?;
        let channels = conversations::channels(&mut conn, &viewer.session.channels).await?;
        let filter = asked.filter(&channels, now)?;
        let figures = erasure_list::figures(&mut conn, &filter).await?;
        let late = Filter {
            state: Some(State::Overdue),
            ..filter.clone()
        };
        let keyring = &shared.keyring;
        let overdue = match (figures.overdue, filter.state, &asked.before) {
            (1.., None, None) => {
                erasure_list::page(&mut conn, keyring, &late, before, ABOVE).await?
            }
            _ => vec![],
        };
        let limit = PAGE as i64 + 1;
        let mut rows = erasure_list::page(&mut conn, keyring, &filter, before, limit).await?;
        let more = rows.len() > PAGE;
        rows.truncate(PAGE);
        let oldest = rows.last().filter(|_| more).map(|row| Cursor {
            at: row.rows_gone_at,
            id: row.id,
        });
        let span = |seconds: f64| took(TimeDelta::milliseconds((seconds * 1000.0) as i64));
        let page = Page {
            shell,
            overdue: overdue.into_iter().map(|row| view(row, now)).collect(),
            rows: rows.into_iter().map(|row| view(row, now)).collect(),
            all: figures.all,
            gone: figures.gone,
            late: figures.overdue,
            median: figures.median.map(span),
            worst: figures.worst.map(span),
            csv: asked.address("/erasures.csv", None),
            newest: (asked.before.is_some()).then(|| asked.address("/erasures", None)),
            older: oldest.map(|cursor| asked.address("/erasures", Some(cursor::text(cursor)))),
            channels: channels
                .into_iter()
                .map(|channel| {
                    let name = ChannelName::new(&channel.name, channel.removed).plain();
                    (channel.slug, name)
                })
                .collect(),
            asked,
        };
        Ok(HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .body(page.render()?))
    })
    .await
}

/// What operators read for a cause.
pub(super) fn cause(cause: &str) -> &'static str {
    match cause {
        "unsend" => "unsent by its sender",
        "retention" => "erased by retention",
        "subject" => "erased on a person's request",
        "operator" => "erased by an operator",
        _ => "erased",
    }
}

fn view(row: Row, now: Now) -> Erasure {
    let gone = row.objects_gone_at.zip(row.keys_gone_at);
    let gone = gone.map(|(objects, keys)| objects.max(keys));
    let state = match gone {
        Some(_) => State::Gone,
        None if now.at - row.rows_gone_at > OVERDUE => State::Overdue,
        None => State::Pending,
    };
    Erasure {
        id: row.id,
        conversation: conversation(&row),
        channel: ChannelName::new(&row.channel, row.channel_removed),
        message_id: message(&row),
        cause: cause(&row.cause),
        asked: now.dated(row.asked_at),
        took: took(gone.unwrap_or(now.at) - row.asked_at),
        state,
        waits: match row.objects_gone_at {
            None => "rows gone, files waiting",
            Some(_) => "rows and files gone, keys waiting",
        },
        rows: row.rows_erased,
        files: row.objects_found,
    }
}

/// Where it was said, where known: the address and the name.
pub(super) fn conversation(row: &Row) -> Option<(String, Name)> {
    row.conversation_id.map(|id| {
        let name = names::conversation(
            row.kind.as_deref().unwrap_or_default(),
            row.source_id.as_deref().unwrap_or_default(),
            row.summary.as_deref(),
            row.profile.as_deref(),
            row.member_profiles.iter().flatten().map(Vec::as_slice),
        );
        (format!("/conversations/{id}"), name)
    })
}

/// What was erased: LINE's id of the message, or what it was if it was none.
pub(super) fn message(row: &Row) -> Name {
    match (&row.message_id, row.event_id) {
        (Some(id), _) => names::plain(id),
        (None, Some(id)) => names::plain(&format!("event {id}")),
        (None, None) => names::plain("profile, picture, memberships"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_days_of_the_viewers_zone() {
        let now = Now {
            at: "2026-11-20T09:00:00Z".parse().unwrap(),
            zone: Tz::Asia__Tokyo,
        };
        let asked = |query| web::Query::<Asked>::from_query(query).unwrap();
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
