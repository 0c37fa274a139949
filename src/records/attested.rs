//! Rows that are believed only with their code: an operator, and what the other rows share.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::seal::{Attestation, Facts};

/// What a look-up of an attested row gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// There is such a row, and its code is right.
    Yes(T),
    /// There is none.
    No,
    /// There is one that this program did not write. It counts as none; callers log it.
    Forged,
}

impl<T> Found<T> {
    /// The row, if there is one that is believed.
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
    /// The ids of the channels in sight where not all are, sorted.
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

/// The facts of a channel that decide which channel a slug means.
pub(super) fn channel_facts(id: i32, slug: &str) -> Facts {
    Facts::of("channel").number(id).text(slug)
}
