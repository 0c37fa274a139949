//! The list pane: conversations, the newest first.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Error, cursor,
    names::{self, ChannelName, Face, Name},
    preview::Line,
    when::{Now, When},
};
use crate::{
    records::conversations::{self, Channel, Cursor},
    seal::Keyring,
};

/// Rows of one page.
const PAGE: usize = 40;

/// Where the list stands: which channel, which page. Addresses carry it from one conversation to the next.
#[derive(Clone, Default)]
pub(super) struct Place {
    /// A channel's slug.
    pub(super) channel: Option<String>,
    /// The page's cursor, as text.
    pub(super) before: Option<String>,
}

impl Place {
    /// The address of a conversation, with the list as it is.
    pub(super) fn thread(&self, id: Uuid, before: Option<String>) -> String {
        let list = self.before.as_deref();
        address(
            &format!("/conversations/{id}"),
            &[
                ("channel", self.channel.as_deref()),
                ("list", list),
                ("before", before.as_deref()),
            ],
        )
    }

    /// The address of a message in its conversation: the page that ends with it.
    pub(super) fn message(&self, conversation: Uuid, id: Uuid, at: DateTime<Utc>) -> String {
        let after = Cursor {
            at,
            id: Uuid::max(),
        };
        let page = self.thread(conversation, Some(cursor::text(after)));
        format!("{page}#m-{id}")
    }

    /// The address of a conversation's gallery: one of its tabs, from a place on.
    pub(super) fn media(&self, id: Uuid, of: &str, before: Option<String>) -> String {
        address(
            &format!("/conversations/{id}/media"),
            &[
                ("channel", self.channel.as_deref()),
                ("list", self.before.as_deref()),
                ("of", Some(of)),
                ("before", before.as_deref()),
            ],
        )
    }

    /// The address of the list alone.
    pub(super) fn list(&self) -> String {
        address(
            "/conversations",
            &[
                ("channel", self.channel.as_deref()),
                ("before", self.before.as_deref()),
            ],
        )
    }

    /// The same list at another place, beside the same conversation if there is one.
    fn moved(&self, beside: Option<Uuid>, channel: Option<&str>, before: Option<String>) -> String {
        let place = Self {
            channel: channel.map(str::to_owned),
            before,
        };
        match beside {
            Some(id) => place.thread(id, None),
            None => place.list(),
        }
    }
}

fn address(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in pairs {
        if let Some(value) = value {
            query.append_pair(key, value);
        }
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// The list pane.
pub(super) struct List {
    /// One for each channel, and one for all; empty if there is only one channel.
    pub(super) filters: Vec<Filter>,
    /// Channels whose access token LINE refuses, and when it did so last.
    pub(super) refused: Vec<(Name, When)>,
    pub(super) rows: Vec<Row>,
    /// The same for the same page of the same channel.
    pub(super) key: String,
    /// Where the later and the earlier conversations are.
    pub(super) newest: Option<String>,
    pub(super) older: Option<String>,
}

/// A choice of channel.
pub(super) struct Filter {
    pub(super) href: String,
    pub(super) name: ChannelName,
    /// The channel's colour.
    pub(super) tone: Option<u8>,
    pub(super) current: bool,
}

/// A conversation.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) href: String,
    pub(super) current: bool,
    pub(super) name: Name,
    pub(super) face: Face,
    pub(super) when: When,
    /// The channel's name and colour, where there are several.
    pub(super) channel: Option<(String, u8)>,
    /// Who said what was last; in groups only.
    pub(super) sender: Option<Name>,
    pub(super) line: Line,
    pub(super) unsent: bool,
}

/// Reads a page of the list in two queries. A channel that is not in sight is not found.
pub(super) async fn load(
    conn: &mut PgConnection,
    keyring: &Keyring,
    allowed: &[i32],
    place: &Place,
    current: Option<Uuid>,
    now: Now,
) -> Result<List, Error> {
    let channels = conversations::channels(conn, allowed).await?;
    let scope: Vec<i32> = channels
        .iter()
        .filter(|channel| {
            place
                .channel
                .as_ref()
                .is_none_or(|slug| *slug == channel.slug)
        })
        .map(|channel| channel.id)
        .collect();
    if scope.is_empty() && place.channel.is_some() {
        return Err(Error::NotFound);
    }
    let before = match place.before.as_deref() {
        Some(text) => cursor::read(text).ok_or(Error::NotFound)?,
        None => Cursor::NEWEST,
    };
    let mut rows = conversations::page(conn, keyring, &scope, before, PAGE as i64 + 1).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let oldest = rows.last().filter(|_| more).map(|row| {
        cursor::text(Cursor {
            at: row.last_at,
            id: row.id,
        })
    });
    let channel = place.channel.as_deref();
    Ok(List {
        key: place.list(),
        filters: filters(&channels, place, current),
        refused: refused(&channels, now),
        rows: rows
            .into_iter()
            .map(|row| view(row, &channels, place, current, now))
            .collect(),
        newest: (place.before.is_some()).then(|| place.moved(current, channel, None)),
        older: oldest.map(|cursor| place.moved(current, channel, Some(cursor))),
    })
}

fn refused(channels: &[Channel], now: Now) -> Vec<(Name, When)> {
    channels
        .iter()
        .filter_map(|channel| {
            Some((
                names::plain(&channel.name),
                now.dated(channel.token_refused_at?),
            ))
        })
        .collect()
}

fn filters(channels: &[Channel], place: &Place, current: Option<Uuid>) -> Vec<Filter> {
    if channels.len() < 2 {
        return Vec::new();
    }
    let all = Filter {
        href: place.moved(current, None, None),
        name: ChannelName::new("All", false),
        tone: None,
        current: place.channel.is_none(),
    };
    let each = channels.iter().map(|channel| Filter {
        href: place.moved(current, Some(&channel.slug), None),
        name: ChannelName::new(&channel.name, channel.removed),
        tone: Some(names::channel_tone(channel.id)),
        current: place.channel.as_ref() == Some(&channel.slug),
    });
    std::iter::once(all).chain(each).collect()
}

fn view(
    row: conversations::Row,
    channels: &[Channel],
    place: &Place,
    current: Option<Uuid>,
    now: Now,
) -> Row {
    let name = names::conversation(
        &row.kind,
        &row.source_id,
        row.summary.as_deref(),
        row.profile.as_deref(),
        row.member_profiles.iter().flatten().map(Vec::as_slice),
    );
    let channel = channels.iter().find(|channel| channel.id == row.channel_id);
    let line = match row.last_what.as_deref() {
        Some("message") => Line::message(row.last_content.as_deref()),
        Some("event") => Line::event(row.last_kind.as_deref().unwrap_or_default()),
        Some("unsent") => Line::unsent(),
        Some(_) => Line::erased(),
        None => Line::nothing(),
    };
    let sender = row
        .last_user_id
        .filter(|_| row.kind != "user")
        .map(|user_id| names::person(row.last_profile.as_deref(), &user_id));
    Row {
        id: row.id,
        href: place.thread(row.id, None),
        current: current == Some(row.id),
        face: Face::new(row.id, &name, "conversations", row.picture_key.as_deref()),
        name,
        when: now.listed(row.last_occurred_at.unwrap_or(row.last_at)),
        channel: channel.filter(|_| channels.len() > 1).map(|channel| {
            (
                ChannelName::new(&channel.name, channel.removed).plain(),
                names::channel_tone(channel.id),
            )
        }),
        sender,
        line,
        unsent: matches!(row.last_what.as_deref(), Some("unsent" | "erased")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_carry_the_list_along() {
        let place = Place {
            channel: Some("a&b".to_owned()),
            before: Some("1-x".to_owned()),
        };
        let id = Uuid::from_u128(1);
        assert_eq!(
            place.thread(id, Some("2-y".to_owned())),
            "/conversations/00000000-0000-0000-0000-000000000001?channel=a%26b&list=1-x&before=2-y"
        );
        assert_eq!(place.list(), "/conversations?channel=a%26b&before=1-x");
        assert_eq!(Place::default().list(), "/conversations");
    }
}
