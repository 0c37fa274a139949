//! Fetches files again that were too large or could not be fetched: one original (`POST /attachments/{id}/fetch`), those of
//! a conversation (`POST /conversations/{id}/fetch`), or those of a channel and a period (`/missing`).

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::NaiveDate;
use serde::Deserialize;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use crate::records::{
    conversations, media,
    refetch::{self, Batch, LackingConversation, MAX_COUNTED, Period},
};
use crate::web::{
    Error, Shared,
    auth::session::Viewer,
    conversation::{
        list::ListState,
        names::{self, ChannelName, Name},
    },
    detached,
    http::form::FormBody,
    layout::Layout,
    page,
    preferences::Preferences,
    see_other,
    when::{self, Now},
};

/// The most conversations that the page of missing files lists.
const MAX_LISTED: i64 = 50;

/// `POST /attachments/{id}/fetch`
pub(in crate::web) async fn again(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    detached(async move {
        let now = shared.clock.now();
        let mut tx = viewer.begin(&shared).await?;
        let place = media::place(&mut tx, &viewer.session.channels, *id).await?;
        let (conversation, message, at) = place.ok_or(Error::NotFound)?;
        // Idempotent: if asked twice, the original is fetched once. The page shows its state.
        refetch::retry_fetch(&mut tx, &viewer.session.channels, *id, now).await?;
        tx.commit().await?;
        Ok(see_other(&ListState::default().message(
            conversation,
            message,
            at,
        )))
    })
    .await
}

/// The missing files of a conversation, for its gallery.
pub(in crate::web) struct Missing {
    conversation: Uuid,
    /// The number of messages with files that can be fetched again, at most one more than [`MAX_COUNTED`].
    pub(in crate::web) files: i64,
    /// The number that was just asked for, if the page is shown for that reason.
    pub(in crate::web) asked: Option<u32>,
}

impl Missing {
    /// The missing files of a conversation in scope.
    pub(in crate::web) async fn load(
        conn: &mut PgConnection,
        channels: &[i32],
        conversation: Uuid,
        asked: Option<u32>,
    ) -> sqlx::Result<Self> {
        Ok(Self {
            conversation,
            files: refetch::count_conversation(conn, channels, conversation).await?,
            asked,
        })
    }

    /// The number of files on the button.
    pub(in crate::web) fn count(&self) -> String {
        match self.files {
            ..=MAX_COUNTED => self.files.to_string(),
            _ => "more than 1,000".to_owned(),
        }
    }

    /// The address to which the form is sent.
    pub(in crate::web) fn action(&self) -> String {
        format!("/conversations/{}/fetch", self.conversation)
    }
}

/// `POST /conversations/{id}/fetch`
pub(in crate::web) async fn conversation(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    detached(async move {
        let (id, now, channels) = (*id, shared.clock.now(), &viewer.session.channels);
        let mut tx = viewer.begin(&shared).await?;
        let found = conversations::find(&mut tx, &shared.keyring, channels, id).await?;
        found.ok_or(Error::NotFound)?;
        tx.commit().await?;
        let asked = in_batches(&shared, &viewer, async |tx, after| {
            refetch::retry_conversation(tx, channels, id, after, now).await
        });
        let page = format!("/conversations/{id}/media?asked={}", asked.await?);
        Ok(see_other(&page))
    })
    .await
}

#[derive(Template)]
#[template(path = "missing.html")]
struct Page {
    layout: Layout,
    channels: Vec<Channel>,
    /// The number of files that wait to be fetched.
    waiting: i64,
    /// The conversations with the most missing files.
    conversations: Vec<Lacking>,
    /// The number of conversations with missing files that are not listed.
    unlisted: i64,
    /// The time zone of the days in the forms.
    zone: &'static str,
    asked: Option<u32>,
}

/// A conversation with missing files.
struct Lacking {
    id: Uuid,
    name: Name,
    channel: Option<ChannelName>,
    files: i64,
}

struct Channel {
    id: i32,
    name: ChannelName,
    files: i64,
}

#[derive(Deserialize)]
pub(in crate::web) struct Query {
    asked: Option<u32>,
}

/// `GET /missing`: the channels and conversations with files that can be fetched again.
pub(in crate::web) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    query: web::Query<Query>,
) -> Result<HttpResponse, Error> {
    detached(async move {
        let allowed = &viewer.session.channels;
        let mut tx = shared.snapshot().await?;
        let missing = refetch::count_channels(&mut tx, allowed).await?;
        let channels = conversations::channels(&mut tx, allowed).await?;
        let waiting = refetch::count_waiting(&mut tx, allowed).await?;
        let keyring = &shared.keyring;
        let lacking = refetch::lacking_conversations(&mut tx, keyring, allowed, MAX_LISTED).await?;
        tx.commit().await?;
        let channels = channels.into_iter().filter_map(|channel| {
            let (id, files) = *missing.iter().find(|(id, _)| *id == channel.id)?;
            let name = ChannelName::new(&channel.name, channel.removed);
            Some(Channel { id, name, files })
        });
        let channels: Vec<Channel> = channels.collect();
        let all = lacking.first().map_or(0, |one| one.of);
        page::html(&Page {
            layout: Layout::new(&viewer, &preferences, "missing"),
            waiting,
            unlisted: all.saturating_sub(MAX_LISTED).max(0),
            conversations: lacking.iter().map(|one| view(one, &channels)).collect(),
            zone: preferences.zone.name(),
            channels,
            asked: query.asked,
        })
    })
    .await
}

/// The channel is shown if the page has several.
fn view(lacking: &LackingConversation, channels: &[Channel]) -> Lacking {
    let place = &lacking.conversation;
    let channel = channels
        .iter()
        .find(|channel| channels.len() > 1 && channel.id == place.channel_id);
    Lacking {
        id: place.id,
        name: names::known(place),
        channel: channel.map(|channel| channel.name.clone()),
        files: lacking.files,
    }
}

#[derive(Deserialize)]
pub(in crate::web) struct Wanted {
    channel: i32,
    /// Days in the operator's time zone, both inclusive; empty: no limit.
    from: String,
    to: String,
}

impl Wanted {
    fn period(&self, now: Now) -> Result<Period, Error> {
        let day = |text: &str| match text {
            "" => Ok(None),
            text => when::read_day(text).map(Some).ok_or(Error::Unreadable),
        };
        let moment = |day: Option<NaiveDate>, of: fn(Now, NaiveDate) -> Option<_>| match day {
            Some(day) => of(now, day).map(Some).ok_or(Error::Unreadable),
            None => Ok(None),
        };
        let (from, to) = (day(&self.from)?, day(&self.to)?);
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(Error::ReversedPeriod);
        }
        Ok(Period {
            from: moment(from, Now::beginning)?,
            until: moment(to, Now::end)?,
        })
    }
}

/// `POST /missing`
pub(in crate::web) async fn period(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    FormBody(wanted): FormBody<Wanted>,
) -> Result<HttpResponse, Error> {
    detached(async move {
        let now = page::now(&shared, preferences);
        let period = wanted.period(now)?;
        if !viewer.session.channels.contains(&wanted.channel) {
            return Err(Error::NotFound);
        }
        let asked = in_batches(&shared, &viewer, async |tx, after| {
            refetch::retry_period(tx, wanted.channel, period, after, now.at).await
        });
        Ok(see_other(&format!("/missing?asked={}", asked.await?)))
    })
    .await
}

/// Asks for files until none is left, each batch in a transaction of its own, from the id after which it begins. Returns
/// the number of files.
async fn in_batches(
    shared: &Shared,
    viewer: &Viewer,
    ask: impl AsyncFn(&mut Transaction<'static, Postgres>, Uuid) -> sqlx::Result<Batch>,
) -> Result<u64, Error> {
    let mut asked = 0;
    let mut next = Some(Uuid::nil());
    while let Some(after) = next {
        let mut tx = viewer.begin(shared).await?;
        let batch = ask(&mut tx, after).await?;
        tx.commit().await?;
        asked += batch.files;
        next = batch.next;
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_button_counts_up_to_a_limit() {
        let count = |files| {
            let (conversation, asked) = (Uuid::nil(), None);
            Missing {
                conversation,
                files,
                asked,
            }
            .count()
        };
        assert_eq!(count(MAX_COUNTED), "1000");
        assert_eq!(count(MAX_COUNTED + 1), "more than 1,000");
    }
}
