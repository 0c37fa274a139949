//! Makes the body of an entry from an event that is not a message: a system line.

use serde_json::Value;
use uuid::Uuid;

use super::{Body, Context, raw};
use crate::{
    line::event::{Event, Source},
    web::{
        conversation::{
            names::Name,
            text::{self, Piece},
        },
        when::When,
    },
};

/// A system line; each is one sentence of the template.
pub(in crate::web) enum System {
    Followed {
        who: Option<Name>,
        again: bool,
    },
    Blocked {
        who: Option<Name>,
    },
    AccountJoined {
        group: bool,
    },
    AccountLeft {
        group: bool,
    },
    MembersJoined(Vec<Name>),
    MembersLeft(Vec<Name>),
    Postback {
        who: Option<Name>,
        data: Vec<Piece>,
        params: Vec<Piece>,
    },
    VideoWatched {
        who: Option<Name>,
        tracking: Vec<Piece>,
    },
    Beacon {
        who: Option<Name>,
        what: Vec<Piece>,
        hardware: Vec<Piece>,
        message: Vec<Piece>,
    },
    AccountLinked {
        who: Option<Name>,
        ok: bool,
    },
    Membership {
        who: Option<Name>,
        what: Vec<Piece>,
        id: Vec<Piece>,
    },
    Module {
        what: Vec<Piece>,
        bot: Vec<Piece>,
    },
    Activated {
        until: Option<When>,
    },
    Deactivated,
    Suspended,
    Resumed,
    Delivered {
        data: Vec<Piece>,
    },
    Things {
        who: Option<Name>,
        what: Vec<Piece>,
        device: Vec<Piece>,
    },
}

/// The body of an event. An event of an unknown type becomes a tile with its raw fields.
pub(super) fn body(event: &Event, contact: Option<Uuid>, context: &Context) -> Body {
    let who = || context.name(contact);
    let system = presence_line(event, who, context)
        .or_else(|| action_line(event, who))
        .or_else(|| account_line(event, context));
    match system {
        Some(system) => Body::System(system),
        None => raw::event(event),
    }
}

/// Lines on following the account, and on joining and leaving a chat.
fn presence_line(
    event: &Event,
    who: impl Fn() -> Option<Name>,
    context: &Context,
) -> Option<System> {
    let group = matches!(event.source(), Source::Group(_));
    let members = || {
        event
            .members()
            .iter()
            .map(|user_id| context.name_by_user_id(user_id))
            .collect()
    };
    Some(match event.kind() {
        "follow" => System::Followed {
            who: who(),
            again: event.body()["follow"]["isUnblocked"] == true,
        },
        "unfollow" => System::Blocked { who: who() },
        "join" => System::AccountJoined { group },
        "leave" => System::AccountLeft { group },
        "memberJoined" => System::MembersJoined(members()),
        "memberLeft" => System::MembersLeft(members()),
        _ => return None,
    })
}

/// Lines on other actions of a person.
fn action_line(event: &Event, who: impl Fn() -> Option<Name>) -> Option<System> {
    let who = who();
    let part = &event.body()[event.kind()];
    Some(match event.kind() {
        "postback" => System::Postback {
            who,
            data: shown(&part["data"]),
            params: parameters(&part["params"]),
        },
        "videoPlayComplete" => System::VideoWatched {
            who,
            tracking: shown(&part["trackingId"]),
        },
        "beacon" => System::Beacon {
            who,
            what: shown(&part["type"]),
            hardware: shown(&part["hwid"]),
            message: shown(&part["dm"]),
        },
        "accountLink" => match event.body()["link"]["result"].as_str() {
            Some(result @ ("ok" | "failed")) => System::AccountLinked {
                who,
                ok: result == "ok",
            },
            _ => return None,
        },
        "membership" => System::Membership {
            who,
            what: shown(&part["type"]),
            id: shown(&part["membershipId"]),
        },
        "things" => System::Things {
            who,
            what: shown(&part["type"]),
            device: shown(&part["deviceId"]),
        },
        _ => return None,
    })
}

/// Lines on the account itself and on what it sent.
fn account_line(event: &Event, context: &Context) -> Option<System> {
    let part = &event.body()[event.kind()];
    Some(match event.kind() {
        "module" => System::Module {
            what: shown(&part["type"]),
            bot: shown(&part["botId"]),
        },
        "activated" => System::Activated {
            until: event.body()["chatControl"]["expireAt"]
                .as_i64()
                .and_then(chrono::DateTime::from_timestamp_millis)
                .map(|until| context.now.dated(until)),
        },
        "deactivated" => System::Deactivated,
        "botSuspended" => System::Suspended,
        "botResumed" => System::Resumed,
        "delivery" => System::Delivered {
            data: shown(&part["data"]),
        },
        _ => return None,
    })
}

/// A field as text. A value that is not a string is written as JSON; null gives no text.
fn shown(value: &Value) -> Vec<Piece> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text::pieces(text),
        other => text::pieces(&other.to_string()),
    }
}

/// Writes parameters as `date: 2026-11-12, status: SUCCESS`.
fn parameters(params: &Value) -> Vec<Piece> {
    let Some(params) = params.as_object() else {
        return shown(params);
    };
    let pairs: Vec<_> = params
        .iter()
        .map(|(key, value)| match value {
            Value::String(text) => format!("{key}: {text}"),
            other => format!("{key}: {other}"),
        })
        .collect();
    text::pieces(&pairs.join(", "))
}
