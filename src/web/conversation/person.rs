//! The third pane: the person, or the group and its members.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    names::{self, Document, Face, Name},
    text::{self, Piece},
};
use crate::web::when::{Now, When};
use crate::{
    records::{
        conversations::{self, Conversation},
        holds,
    },
    seal::Keyring,
};

/// The person or group of a conversation, as the pane shows it.
pub(in crate::web) struct Person {
    pub(in crate::web) name: Name,
    pub(in crate::web) face: Face,
    /// "Person", "Group chat", …
    pub(in crate::web) what: &'static str,
    /// LINE's id of the user, group or room.
    pub(in crate::web) source_id: String,
    /// "Follows the account", "Blocked the account", … and since when.
    pub(in crate::web) standing: Option<(&'static str, Option<When>)>,
    pub(in crate::web) status: Vec<Piece>,
    pub(in crate::web) language: Option<String>,
    pub(in crate::web) first_seen: When,
    pub(in crate::web) members: Vec<Member>,
    pub(in crate::web) former: Vec<Member>,
    /// Our id of the contact; `None` unless this is a chat with one user.
    pub(in crate::web) contact: Option<Uuid>,
    /// True while a legal hold covers the conversation.
    pub(in crate::web) held: bool,
}

/// A present or former member of a group or room.
pub(in crate::web) struct Member {
    pub(in crate::web) id: Uuid,
    pub(in crate::web) name: Name,
    pub(in crate::web) face: Face,
    pub(in crate::web) since: When,
}

/// Reads the pane in two queries.
pub(in crate::web) async fn load(
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
