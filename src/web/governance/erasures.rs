//! `GET /erasures`: the erasures, with their causes and progress. For compliance staff and administrators.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use crate::records::{
    conversations::{self, Channel, Cursor},
    erasure_list::{self, Filter, Row, State, Why},
};
use crate::web::{
    Error, Shared,
    auth::session::Viewer,
    conversation::{
        cursor,
        names::{self, ChannelName, Name},
    },
    detached,
    layout::Layout,
    preferences::Preferences,
    when::{Now, When, took},
};

/// Rows of one page.
const PAGE: usize = 40;
/// The most overdue erasures that are shown above the list.
const ABOVE: i64 = 20;
/// An erasure is overdue if it is not confirmed gone this long after its rows were deleted.
pub(in crate::web) const OVERDUE: TimeDelta = TimeDelta::minutes(15);

#[derive(Template)]
#[template(path = "erasures.html")]
struct Page {
    layout: Layout,
    asked: ErasureQuery,
    /// Slug and name of each channel in the viewer's scope.
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
    /// Time from the request until everything was gone, or until now.
    took: String,
    state: State,
    waits: &'static str,
    rows: i32,
    files: i32,
}

/// The filter in the address. A cause, state or day that is empty or cannot be read does not filter.
#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(in crate::web) struct ErasureQuery {
    channel: String,
    #[serde(deserialize_with = "word")]
    cause: Word<Why>,
    #[serde(deserialize_with = "word")]
    state: Word<State>,
    /// Days in the viewer's time zone, both inclusive.
    #[serde(deserialize_with = "day")]
    from: Option<NaiveDate>,
    #[serde(deserialize_with = "day")]
    to: Option<NaiveDate>,
    before: Option<String>,
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

/// Reads a day, `YYYY-MM-DD`. `None` for other texts and for years outside of [`YEARS`], within which PostgreSQL and
/// every time zone can represent a day and the day after it.
fn day<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NaiveDate>, D::Error> {
    let text = String::deserialize(from)?;
    let day = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok();
    Ok(day.filter(|day| YEARS.contains(&day.year())))
}

/// The years that a filter can name: nothing was erased before them, and nothing will be after them.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=9998;

impl ErasureQuery {
    /// Converts this into the filter of the records. Fails with [`Error::NotFound`] for a channel outside of the
    /// viewer's scope.
    pub(in crate::web) fn filter(&self, channels: &[Channel], now: Now) -> Result<Filter, Error> {
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

/// The time at which a day begins. `None` at the end of the calendar, and in a zone whose clocks skip that midnight.
fn midnight(day: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    let begins = zone.from_local_datetime(&day.and_time(chrono::NaiveTime::MIN));
    Some(begins.earliest()?.with_timezone(&Utc))
}

/// `GET /erasures?channel=…&cause=…&state=…&from=…&to=…&before=…`
pub(in crate::web) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    query: web::Query<ErasureQuery>,
) -> Result<HttpResponse, Error> {
    if !viewer.sees_erasures() {
        return Err(Error::Forbidden);
    }
    detached(async move {
        let mut layout = Layout::new(&viewer, &preferences, "erasures");
        layout.live = shared.live.mark().to_string();
        let now = Now {
            at: shared.clock.now(),
            zone: preferences.zone,
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
            layout,
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

/// A cause in words, for operators.
pub(in crate::web) fn cause(cause: &str) -> &'static str {
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
        asked: now.dated(row.requested_at),
        took: took(gone.unwrap_or(now.at) - row.requested_at),
        state,
        waits: match row.objects_gone_at {
            None => "rows gone, files waiting",
            Some(_) => "rows and files gone, keys waiting",
        },
        rows: row.rows_erased,
        files: row.objects_found,
    }
}

/// Address and name of the conversation in which the erased message was sent; `None` if it is not known.
pub(in crate::web) fn conversation(row: &Row) -> Option<(String, Name)> {
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

/// The erased thing: LINE's id of a message, our id of another event, or else what was known of a person.
pub(in crate::web) fn message(row: &Row) -> Name {
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
