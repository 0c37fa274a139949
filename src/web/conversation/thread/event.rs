//! Makes the body of an entry from an event that is not a message: a system line.

use uuid::Uuid;

use super::{Body, Context, raw};
use crate::{
    line::{
        event::{Event, Source},
        other_event::OtherEvent,
    },
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
    match system_line(event, contact, context) {
        Some(system) => Body::System(system),
        None => raw::event(event),
    }
}

fn system_line(event: &Event, contact: Option<Uuid>, context: &Context) -> Option<System> {
    let who = context.name(contact);
    let group = matches!(event.source(), Source::Group(_));
    let names = |members: Vec<String>| {
        members
            .iter()
            .map(|user_id| context.name_by_user_id(user_id))
            .collect()
    };
    let shown = |value: String| text::pieces(&value);
    Some(match OtherEvent::of(event) {
        OtherEvent::Follow { is_unblocked } => System::Followed {
            who,
            again: is_unblocked,
        },
        OtherEvent::Unfollow => System::Blocked { who },
        OtherEvent::Join => System::AccountJoined { group },
        OtherEvent::Leave => System::AccountLeft { group },
        OtherEvent::MemberJoined(members) => System::MembersJoined(names(members)),
        OtherEvent::MemberLeft(members) => System::MembersLeft(names(members)),
        OtherEvent::Postback { data, params } => System::Postback {
            who,
            data: shown(data),
            params: shown(params),
        },
        OtherEvent::VideoPlayComplete { tracking_id } => System::VideoWatched {
            who,
            tracking: shown(tracking_id),
        },
        OtherEvent::Beacon {
            kind,
            hwid,
            device_message,
        } => System::Beacon {
            who,
            what: shown(kind),
            hardware: shown(hwid),
            message: shown(device_message),
        },
        OtherEvent::AccountLink { ok } => System::AccountLinked { who, ok },
        OtherEvent::Membership {
            kind,
            membership_id,
        } => System::Membership {
            who,
            what: shown(kind),
            id: shown(membership_id),
        },
        OtherEvent::Things { kind, device_id } => System::Things {
            who,
            what: shown(kind),
            device: shown(device_id),
        },
        OtherEvent::Module { kind, bot_id } => System::Module {
            what: shown(kind),
            bot: shown(bot_id),
        },
        OtherEvent::Activated { expire_at } => System::Activated {
            until: expire_at
                .and_then(chrono::DateTime::from_timestamp_millis)
                .map(|until| context.now.dated(until)),
        },
        OtherEvent::Deactivated => System::Deactivated,
        OtherEvent::BotSuspended => System::Suspended,
        OtherEvent::BotResumed => System::Resumed,
        OtherEvent::Delivery { data } => System::Delivered { data: shown(data) },
        OtherEvent::Unknown => return None,
    })
}
