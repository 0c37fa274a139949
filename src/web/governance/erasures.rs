//! `GET /erasures`: the erasures, with their causes and progress. For compliance staff and administrators.

mod query;

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::TimeDelta;
use sqlx::PgConnection;
use uuid::Uuid;

pub(in crate::web) use query::ErasureQuery;

use crate::records::{
    conversations::{self, Channel, Cursor},
    erasure_list::{self, Figures, Filter, Row, State},
    lost_objects, scrubs,
};
use crate::seal::Keyring;
use crate::web::{
    Error, Shared,
    auth::session::Viewer,
    conversation::{
        cursor,
        names::{self, ChannelName, Name},
    },
    detached,
    layout::Layout,
    page,
    preferences::Preferences,
    when::{Now, When, took},
};

/// Rows of one page.
const PAGE: usize = 40;
/// The most overdue erasures that are shown above the list.
const MAX_OVERDUE_ROWS: i64 = 20;
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
    /// When all keys and objects were last read; `None`: not yet.
    scrubbed: Option<When>,
    /// True if keys or objects are known to be missing or damaged.
    damaged: bool,
    /// Number of objects that erasures wait for and that are missing.
    lost: i64,
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
        let now = page::now(&shared, preferences);
        let asked = query.into_inner();
        let before = asked.cursor()?;
        let scope = &viewer.session.channels;
        let mut conn = shared.pool.acquire().await?;
        let contents = load(&mut conn, &shared.keyring, scope, &asked, before, now).await?;
        let page = contents.page(layout, asked, now);
        page::html(&page)
    })
    .await
}

/// The rows and figures that a page shows.
struct Contents {
    channels: Vec<Channel>,
    figures: Figures,
    scrub: scrubs::Report,
    lost: i64,
    overdue: Vec<Row>,
    rows: Vec<Row>,
    /// Where the next page begins; `None` if this is the last one.
    next: Option<Cursor>,
}

async fn load(
    conn: &mut PgConnection,
    keyring: &Keyring,
    scope: &[i32],
    asked: &ErasureQuery,
    before: Cursor,
    now: Now,
) -> Result<Contents, Error> {
    let channels = conversations::channels(conn, scope).await?;
    let filter = asked.filter(&channels, now)?;
    let figures = erasure_list::figures(conn, &filter).await?;
    let overdue = match (figures.overdue, filter.state, &asked.before) {
        (1.., None, None) => {
            let late = Filter {
                state: Some(State::Overdue),
                ..filter.clone()
            };
            erasure_list::page(conn, keyring, &late, before, MAX_OVERDUE_ROWS).await?
        }
        _ => vec![],
    };
    let mut rows = erasure_list::page(conn, keyring, &filter, before, PAGE as i64 + 1).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let next = rows.last().filter(|_| more).map(|row| Cursor {
        at: row.rows_gone_at,
        id: row.id,
    });
    Ok(Contents {
        channels,
        figures,
        scrub: scrubs::report(conn).await?,
        lost: lost_objects::count_lost(conn).await?.1,
        overdue,
        rows,
        next,
    })
}

impl Contents {
    fn page(self, layout: Layout, asked: ErasureQuery, now: Now) -> Page {
        let span = |seconds: f64| took(TimeDelta::milliseconds((seconds * 1000.0) as i64));
        let address = |before| asked.address("/erasures", before);
        let views = |rows: Vec<Row>| rows.into_iter().map(|row| view(row, now)).collect();
        let channels = self.channels.into_iter().map(|channel| {
            let name = ChannelName::new(&channel.name, channel.removed).plain();
            (channel.slug, name)
        });
        Page {
            layout,
            channels: channels.collect(),
            overdue: views(self.overdue),
            rows: views(self.rows),
            all: self.figures.all,
            gone: self.figures.gone,
            late: self.figures.overdue,
            median: self.figures.median.map(span),
            worst: self.figures.worst.map(span),
            scrubbed: self
                .scrub
                .keys_at
                .zip(self.scrub.objects_at)
                .map(|(keys, objects)| now.dated(keys.min(objects))),
            damaged: self.scrub.damaged_keys > 0 || self.scrub.damaged_objects > 0,
            lost: self.lost,
            csv: asked.address("/erasures.csv", None),
            newest: (asked.before.is_some()).then(|| address(None)),
            older: self.next.map(|next| address(Some(cursor::text(next)))),
            asked,
        }
    }
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
