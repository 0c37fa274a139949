//! The third pane: the person, or the group and its members.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    names::{self, Document, Face, Name},
    text::{self, Piece},
    when::{Now, When},
};
use crate::{
    records::{
        conversations::{self, Conversation},
        holds,
    },
    seal::Keyring,
};

/// Who is at the other end.
pub(super) struct Person {
    pub(super) name: Name,
    pub(super) face: Face,
    /// "Person", "Group chat", …
    pub(super) what: &'static str,
    /// LINE's id.
    pub(super) source_id: String,
    /// "Follows the account", "Blocked the account", … and since when.
    pub(super) standing: Option<(&'static str, Option<When>)>,
    pub(super) status: Vec<Piece>,
    pub(super) language: Option<String>,
    pub(super) first_seen: When,
    pub(super) members: Vec<Member>,
    pub(super) former: Vec<Member>,
    /// Our id of the person, if it is one.
    pub(super) contact: Option<Uuid>,
    /// The conversation is held.
    pub(super) held: bool,
}

/// Somebody in a group.
pub(super) struct Member {
    pub(super) id: Uuid,
    pub(super) name: Name,
    pub(super) face: Face,
    pub(super) since: When,
}

/// Reads the pane in one query.
pub(super) async fn load(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation: &Conversation,
    now: Now,
) -> sqlx::Result<Person> {
    let all = conversations::members(conn, keyring, conversation.id).await?;
    let known = all.iter().filter(|member| member.present);
    let name = names::conversation(
        &conversation.kind,
        &conversation.source_id,
        conversation.summary.as_deref(),
        conversation.profile.as_deref(),
        known.filter_map(|member| member.profile.as_deref()),
    );
    let profile = Document::read(conversation.profile.as_deref());
    let (members, former) = all
        .into_iter()
        .map(|member| (member.present, view(member, now)))
        .partition::<Vec<_>, _>(|(present, _)| *present);
    let strip =
        |members: Vec<(bool, Member)>| members.into_iter().map(|(_, member)| member).collect();
    Ok(Person {
        face: Face::new(
            conversation.id,
            &name,
            "conversations",
            conversation.picture_key.as_deref(),
        ),
        name,
        what: match conversation.kind.as_str() {
            "user" => "Person",
            "group" => "Group chat",
            "room" => "Multi-person chat",
            _ => "Events that LINE sends without a person or group",
        },
        source_id: text::plain(&conversation.source_id),
        standing: standing(conversation, now),
        status: profile
            .text("statusMessage")
            .map(text::pieces)
            .unwrap_or_default(),
        language: profile.text("language").map(text::plain),
        first_seen: now.date_only(conversation.created_at),
        members: strip(members),
        former: strip(former),
        contact: conversation.contact_id,
        held: !holds::held(conn, &[conversation.id], false)
            .await?
            .is_empty(),
    })
}

fn standing(conversation: &Conversation, now: Now) -> Option<(&'static str, Option<When>)> {
    let since = |at: Option<_>| at.map(|at| now.date_only(at));
    match conversation.kind.as_str() {
        "user" => {
            let words = match conversation.follows? {
                true => "Follows the account",
                false => "Blocked the account",
            };
            Some((words, since(conversation.follow_changed_at)))
        }
        "group" | "room" => {
            let words = match conversation.present? {
                true => "The account is a member",
                false => "The account is no longer a member",
            };
            Some((words, since(conversation.presence_changed_at)))
        }
        _ => None,
    }
}

fn view(member: conversations::Member, now: Now) -> Member {
    let name = names::person(member.profile.as_deref(), &member.user_id);
    Member {
        id: member.contact_id,
        face: Face::new(
            member.contact_id,
            &name,
            "contacts",
            member.picture_key.as_deref(),
        ),
        name,
        since: now.date_only(member.changed_at),
    }
}
