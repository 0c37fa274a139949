//! The list pane: conversations, the newest first.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    cursor,
    names::{self, ChannelName, Face, Name},
    preview::Line,
};
use crate::web::{
    Error,
    when::{Now, When},
};
use crate::{
    records::conversations::{self, Channel, Cursor, EntryKind},
    seal::Keyring,
};

/// Rows of one page.
const PAGE: usize = 40;

/// The state of the list: which channel, which page. Addresses carry it from one conversation to the next.
#[derive(Clone, Default)]
pub(in crate::web) struct ListState {
    /// Slug of the channel that the list is limited to; `None`: all channels.
    pub(in crate::web) channel: Option<String>,
    /// The page's cursor, as text; `None`: the newest page.
    pub(in crate::web) before: Option<String>,
}

impl ListState {
    /// The address of a conversation, which keeps the state of the list.
    pub(in crate::web) fn thread(&self, id: Uuid, before: Option<String>) -> String {
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
    pub(in crate::web) fn message(
        &self,
        conversation: Uuid,
        id: Uuid,
        at: DateTime<Utc>,
    ) -> String {
        let after = Cursor {
            at,
            id: Uuid::max(),
        };
        let page = self.thread(conversation, Some(cursor::text(after)));
        format!("{page}#m-{id}")
    }

    /// The address of one tab of a conversation's gallery; `before` is the cursor of the page.
    pub(in crate::web) fn media(&self, id: Uuid, of: &str, before: Option<String>) -> String {
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
    pub(in crate::web) fn list(&self) -> String {
        address(
            "/conversations",
            &[
                ("channel", self.channel.as_deref()),
                ("before", self.before.as_deref()),
            ],
        )
    }

    /// The address of another channel or page of the list, beside the same conversation if one is open.
    fn moved(&self, beside: Option<Uuid>, channel: Option<&str>, before: Option<String>) -> String {
        let state = Self {
            channel: channel.map(str::to_owned),
            before,
        };
        match beside {
            Some(id) => state.thread(id, None),
            None => state.list(),
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
pub(in crate::web) struct List {
    /// One for each channel, and one for all channels; empty if there are fewer than two channels.
    pub(in crate::web) filters: Vec<Filter>,
    /// Channels whose access token LINE refuses, and the time of the last refusal.
    pub(in crate::web) refused: Vec<(Name, When)>,
    pub(in crate::web) rows: Vec<Row>,
    /// Equal for two versions of one page of one channel: the script then patches the list instead of replacing it.
    pub(in crate::web) key: String,
    /// Address of the newest page; `None` if this is it.
    pub(in crate::web) newest: Option<String>,
    /// Address of the page with the earlier conversations; `None` if there are none.
    pub(in crate::web) older: Option<String>,
}

/// An entry of the channel filter.
pub(in crate::web) struct Filter {
    pub(in crate::web) href: String,
    pub(in crate::web) name: ChannelName,
    /// The channel's colour, 0 to 7; `None` for all channels.
    pub(in crate::web) tone: Option<u8>,
    pub(in crate::web) current: bool,
}

/// A conversation in the list.
pub(in crate::web) struct Row {
    pub(in crate::web) id: Uuid,
    pub(in crate::web) href: String,
    pub(in crate::web) current: bool,
    pub(in crate::web) name: Name,
    pub(in crate::web) face: Face,
    pub(in crate::web) when: When,
    /// The channel's name and its colour, 0 to 7; `None` if there is only one channel.
    pub(in crate::web) channel: Option<(String, u8)>,
    /// Sender of the last message or event; `None` in a chat with one user, or if the sender is not known.
    pub(in crate::web) sender: Option<Name>,
    pub(in crate::web) line: Line,
    pub(in crate::web) unsent: bool,
}

/// Reads a page of the list in two queries. Fails with [`Error::NotFound`] for a channel outside of the operator's
/// scope, and for a cursor that cannot be read.
pub(in crate::web) async fn load(
    conn: &mut PgConnection,
    keyring: &Keyring,
    allowed: &[i32],
    state: &ListState,
    current: Option<Uuid>,
    now: Now,
) -> Result<List, Error> {
    let channels = conversations::channels(conn, allowed).await?;
    let scope: Vec<i32> = channels
        .iter()
        .filter(|channel| {
            state
                .channel
                .as_ref()
                .is_none_or(|slug| *slug == channel.slug)
        })
        .map(|channel| channel.id)
        .collect();
    if scope.is_empty() && state.channel.is_some() {
        return Err(Error::NotFound);
    }
    let before = match state.before.as_deref() {
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
    let channel = state.channel.as_deref();
    Ok(List {
        key: state.list(),
        filters: filters(&channels, state, current),
        refused: refused(&channels, now),
        rows: rows
            .into_iter()
            .map(|row| view(row, &channels, state, current, now))
            .collect(),
        newest: (state.before.is_some()).then(|| state.moved(current, channel, None)),
        older: oldest.map(|cursor| state.moved(current, channel, Some(cursor))),
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

fn filters(channels: &[Channel], state: &ListState, current: Option<Uuid>) -> Vec<Filter> {
    if channels.len() < 2 {
        return Vec::new();
    }
    let all = Filter {
        href: state.moved(current, None, None),
        name: ChannelName::new("All", false),
        tone: None,
        current: state.channel.is_none(),
    };
    let each = channels.iter().map(|channel| Filter {
        href: state.moved(current, Some(&channel.slug), None),
        name: ChannelName::new(&channel.name, channel.removed),
        tone: Some(names::channel_tone(channel.id)),
        current: state.channel.as_ref() == Some(&channel.slug),
    });
    std::iter::once(all).chain(each).collect()
}

fn view(
    row: conversations::Row,
    channels: &[Channel],
    state: &ListState,
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
    let line = match row.last_entry_kind {
        Some(EntryKind::Message) => Line::message(row.last_content.as_deref()),
        Some(EntryKind::Event) => Line::event(row.last_kind.as_deref().unwrap_or_default()),
        Some(EntryKind::Unsent) => Line::unsent(),
        Some(EntryKind::Erased) => Line::erased(),
        None => Line::nothing(),
    };
    let sender = row
        .last_user_id
        .filter(|_| row.kind != "user")
        .map(|user_id| names::person(row.last_profile.as_deref(), &user_id));
    Row {
        id: row.id,
        href: state.thread(row.id, None),
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
        unsent: matches!(
            row.last_entry_kind,
            Some(EntryKind::Unsent | EntryKind::Erased)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_carry_the_list_along() {
        let state = ListState {
            channel: Some("a&b".to_owned()),
            before: Some("1-x".to_owned()),
        };
        let id = Uuid::from_u128(1);
        assert_eq!(
            state.thread(id, Some("2-y".to_owned())),
            "/conversations/00000000-0000-0000-0000-000000000001?channel=a%26b&list=1-x&before=2-y"
        );
        assert_eq!(state.list(), "/conversations?channel=a%26b&before=1-x");
        assert_eq!(ListState::default().list(), "/conversations");
    }
}
