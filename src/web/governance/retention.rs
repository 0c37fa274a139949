//! `/retention`: the retention rules of each channel. A rule is added, previewed, switched on and switched off, but
//! never changed.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use crate::records::{
    conversations,
    retention::{self, KINDS, Month, Switch},
};
use crate::web::{
    Error, Shared,
    auth::session::Viewer,
    conversation::names::ChannelName,
    detached,
    http::form::FormBody,
    layout::Layout,
    page,
    preferences::Preferences,
    see_other,
    when::{Now, When},
};

#[derive(Template)]
#[template(path = "retention.html")]
struct Page {
    layout: Layout,
    channels: Vec<Channel>,
    kinds: Vec<(&'static str, &'static str)>,
}

struct Channel {
    id: i32,
    name: ChannelName,
    rules: Vec<Rule>,
}

struct Rule {
    id: Uuid,
    words: String,
    written: (String, When),
    on: Option<(String, When)>,
    off: Option<(String, When)>,
}

#[derive(Template)]
#[template(path = "retention_rule.html")]
struct Preview {
    layout: Layout,
    channel: ChannelName,
    rule: Rule,
    before: When,
    months: Vec<Month>,
    all: Month,
    size: String,
}

#[derive(Deserialize)]
pub(in crate::web) struct New {
    channel: i32,
    kind: String,
    days: i32,
}

/// `GET /retention`
pub(in crate::web) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let now = page::now(&shared, preferences);
        let mut conn = shared.pool.acquire().await?;
        let allowed = &viewer.session.channels;
        let mut rules = retention::rules(&mut conn, allowed).await?;
        let channels = conversations::channels(&mut conn, allowed).await?;
        let channels = channels.into_iter().map(|channel| Channel {
            id: channel.id,
            name: ChannelName::new(&channel.name, channel.removed),
            rules: rules
                .extract_if(.., |rule| rule.channel_id == channel.id)
                .map(|rule| view(rule, now))
                .collect(),
        });
        let page = Page {
            layout: Layout::new(&viewer, &preferences, "retention"),
            channels: channels.collect(),
            kinds: KINDS.iter().map(|kind| (*kind, what(kind))).collect(),
        };
        page::html(&page)
    })
    .await
}

/// `GET /retention/{id}`: a preview of everything that the rule would erase now.
pub(in crate::web) async fn preview(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let now = page::now(&shared, preferences);
        let mut conn = shared.pool.acquire().await?;
        let allowed = &viewer.session.channels;
        let rules = retention::rules(&mut conn, allowed).await?;
        let rule = rules.into_iter().find(|rule| rule.id == *id);
        let rule = rule.ok_or(Error::NotFound)?;
        let task = retention::tasks(&mut conn, Some(*id), now.at).await?;
        // A rule that was switched off has no task.
        let task = task.first().ok_or(Error::NotFound)?;
        let months = retention::preview(&mut conn, task).await?;
        let channels = conversations::channels(&mut conn, &[rule.channel_id]).await?;
        let channel = channels.first().ok_or(Error::NotFound)?;
        let sum = |of: fn(&Month) -> i64| months.iter().map(of).sum::<i64>();
        let all = Month {
            month: "all".to_owned(),
            messages: sum(|month| month.messages),
            events: sum(|month| month.events),
            files: sum(|month| month.files),
            bytes: sum(|month| month.bytes),
            held: sum(|month| month.held),
        };
        let page = Preview {
            layout: Layout::new(&viewer, &preferences, "retention"),
            channel: ChannelName::new(&channel.name, channel.removed),
            rule: view(rule, now),
            before: now.date_only(task.before),
            size: size(all.bytes),
            months,
            all,
        };
        page::html(&page)
    })
    .await
}

/// `POST /retention`: adds a rule, which erases nothing until it is switched on.
pub(in crate::web) async fn add(
    shared: web::Data<Shared>,
    viewer: Viewer,
    FormBody(new): FormBody<New>,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    if !viewer.session.channels.contains(&new.channel) {
        return Err(Error::NotFound);
    }
    if !KINDS.contains(&new.kind.as_str()) || !(1..=36_500).contains(&new.days) {
        return Err(Error::Unreadable);
    }
    detached(async move {
        let (now, by) = (shared.clock.now(), viewer.session.operator_id);
        let mut tx = viewer.begin(&shared).await?;
        if !retention::add(&mut tx, new.channel, &new.kind, new.days, by, now).await? {
            return Err(Error::RuleExists);
        }
        tx.commit().await?;
        Ok(see_other("/retention"))
    })
    .await
}

/// `POST /retention/{id}/on`
pub(in crate::web) async fn on(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    switch(shared, viewer, *id, Switch::On).await
}

/// `POST /retention/{id}/off`
pub(in crate::web) async fn off(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    switch(shared, viewer, *id, Switch::Off).await
}

async fn switch(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: Uuid,
    to: Switch,
) -> Result<HttpResponse, Error> {
    viewer.governs()?;
    detached(async move {
        let (now, session) = (shared.clock.now(), &viewer.session);
        let mut tx = viewer.begin(&shared).await?;
        let by = session.operator_id;
        if !retention::switch(&mut tx, &session.channels, id, to, by, now).await? {
            return Err(Error::NotFound);
        }
        tx.commit().await?;
        Ok(see_other("/retention"))
    })
    .await
}

fn view(rule: retention::Rule, now: Now) -> Rule {
    let by = |who: Option<String>, at: Option<_>| Some((who?, now.dated(at?)));
    Rule {
        id: rule.id,
        words: match rule.days {
            1 => format!("{}: 1 day", what(&rule.kind)),
            days => format!("{}: {days} days", what(&rule.kind)),
        },
        written: (rule.created_by, now.dated(rule.created_at)),
        on: by(rule.switched_on_by, rule.switched_on_at),
        off: by(rule.switched_off_by, rule.switched_off_at),
    }
}

fn what(kind: &str) -> &'static str {
    match kind {
        "text" => "Texts",
        "image" => "Photos",
        "video" => "Videos",
        "audio" => "Voice messages",
        "file" => "Files",
        "location" => "Places",
        "sticker" => "Stickers",
        "other" => "Other messages",
        "event" => "Other events, such as postbacks",
        _ => "Everything without a rule of its own",
    }
}

/// A size in bytes as kB (1000 bytes), MB or GB.
fn size(bytes: i64) -> String {
    match bytes {
        ..=999_999 => format!("{} kB", (bytes + 999) / 1000),
        1_000_000..=999_999_999 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
