//! Rows that count only if their MAC is right: the operator's row, the result of a look-up, and the facts of a channel.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::seal::{Attestation, Facts};

/// Result of a look-up of an attested row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// The row exists, and its MAC is right.
    Yes(T),
    /// The row does not exist.
    No,
    /// The row exists, but this program did not write it. It counts as missing; callers log it.
    Forged,
}

impl<T> Found<T> {
    /// The row, if it exists and is genuine.
    pub fn yes(self) -> Option<T> {
        match self {
            Self::Yes(row) => Some(row),
            Self::No | Self::Forged => None,
        }
    }
}

/// The columns of [`OperatorRow`], of a table `operator` with the alias `o`.
macro_rules! operator_columns {
    () => {
        "o.id as operator_id, o.login, o.password_hash, o.role, o.all_channels, o.created_at as operator_created_at,
         o.disabled_at, o.version, o.mac as operator_mac,
         array(select channel_id from operator_channel c where c.operator_id = o.id order by channel_id) as scope"
    };
}
pub(super) use operator_columns;

/// An operator's row with everything that is attested.
#[derive(sqlx::FromRow, Clone)]
pub(super) struct OperatorRow {
    pub operator_id: Uuid,
    pub login: String,
    pub password_hash: String,
    pub role: String,
    pub all_channels: bool,
    /// Sorted ids of the channels in scope, if `all_channels` is false.
    pub scope: Vec<i32>,
    pub operator_created_at: DateTime<Utc>,
    pub disabled_at: Option<DateTime<Utc>>,
    pub version: i32,
    pub operator_mac: Option<Vec<u8>>,
}

impl OperatorRow {
    pub(super) fn mac(&self, attestation: &Attestation) -> [u8; 32] {
        attestation.mac(&self.facts())
    }

    pub(super) fn is_genuine(&self, attestation: &Attestation) -> bool {
        let mac = self.operator_mac.as_deref();
        mac.is_some_and(|mac| attestation.verify(&self.facts(), mac))
    }

    fn facts(&self) -> Facts {
        Facts::of("operator")
            .id(self.operator_id)
            .text(&self.login)
            .text(&self.password_hash)
            .text(&self.role)
            .number(self.all_channels)
            .numbers(&self.scope)
            .time(self.operator_created_at)
            .time_or_none(self.disabled_at)
            .number(self.version)
    }
}

/// The facts that bind a slug to a channel.
pub(super) fn channel_facts(id: i32, slug: &str) -> Facts {
    Facts::of("channel").number(id).text(slug)
}
