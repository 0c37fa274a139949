//! The message that another one quotes. It is looked up each time, so that a message unsent since is not shown.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Row;
use crate::{
    records::{conversations::Conversation, timeline},
    seal::Keyring,
    web::conversation::{
        list::ListState,
        names::{self, Name},
        preview::Line,
        text::Piece,
    },
};

/// The quoted message, as the archive knows it now.
#[derive(Clone)]
pub(in crate::web) enum Quote {
    /// It is in this conversation.
    Known {
        /// Address of the message.
        href: String,
        who: Option<Name>,
        icon: &'static str,
        pieces: Vec<Piece>,
    },
    /// It was unsent.
    Unsent,
    /// It was erased for another cause.
    Erased,
    /// This conversation has no such message, and it was neither unsent nor erased.
    Unknown,
}

/// The quotes of a page, by LINE's id of the quoted message.
pub(super) async fn load(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation: &Conversation,
    state: &ListState,
    rows: &[Row],
) -> sqlx::Result<HashMap<String, Quote>> {
    let ids: Vec<_> = rows
        .iter()
        .filter_map(|row| row.entry.quoted_message_id.clone())
        .collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let here = |id: Uuid| rows.iter().any(|row| row.entry.id == id);
    let quoted = timeline::quoted(
        conn,
        keyring,
        conversation.channel_id,
        conversation.id,
        &ids,
    )
    .await?;
    let quotes = quoted.into_iter().map(|quoted| {
        let quote = match (
            quoted.unsent || quoted.erased,
            quoted.id,
            quoted.occurred_at,
        ) {
            (false, Some(id), Some(at)) => {
                let line = Line::message(quoted.content.as_deref());
                Quote::Known {
                    href: if here(id) {
                        format!("#m-{id}")
                    } else {
                        state.message(conversation.id, id, at)
                    },
                    who: quoted
                        .user_id
                        .map(|user_id| names::person(quoted.profile.as_deref(), &user_id)),
                    icon: line.icon,
                    pieces: line.pieces,
                }
            }
            _ if quoted.unsent => Quote::Unsent,
            _ => Quote::Erased,
        };
        (quoted.message_id, quote)
    });
    Ok(quotes.collect())
}
