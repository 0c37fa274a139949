//! One record: that something was asked for, done, or forbidden, and when.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a record tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An erasure was asked for; from here on the message is found no more.
    Requested,
    /// Its rows and objects are gone.
    Purged,
    /// The keys it was sealed under are gone, and with them every copy in a backup.
    KeysDestroyed,
    /// An unsend was met under a hold that covers it: the message is found no more, but kept until the hold ends.
    Withheld,
    /// This ledger was handed out.
    Exported,
    /// A hold began: what it covers is not erased.
    HoldSet,
    /// A hold ended.
    HoldLifted,
}

/// A record. The leaf of the tree is its bytes as they were first written, so that no later version of this software can
/// change them by writing them anew: keep [`Record::to_bytes`], not the fields.
///
/// Times are whole milliseconds since 1970, since what is rounded by a database cannot be hashed again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Form of the record: 1.
    pub v: u8,
    /// What it tells of.
    pub kind: Kind,
    /// The erasure; of an export or a hold, that one's id.
    pub erasure: Uuid,
    /// The channel's slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// LINE's id of the message: an auditor proves by it that the message did not come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The archive's id of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Uuid>,
    /// The archive's id of the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Uuid>,
    /// Why: unsent, by an operator, by a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What set it off: a webhook event's id, an operator's name, a rule's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// When it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<i64>,
    /// When what the record tells of happened.
    pub at: i64,
    /// Rows that went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Objects that went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<i64>,
    /// Keys that were destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<i64>,
    /// Name and version of the software that did it.
    pub software: String,
}

impl Record {
    /// Compact JSON without a newline, the fields in their order.
    pub fn to_bytes(&self) -> Vec<u8> {
        #[expect(
            clippy::expect_used,
            reason = "strings, numbers and ids into memory: neither JSON nor a vector refuses them"
        )]
        serde_json::to_vec(self).expect("a record is JSON")
    }

    /// The record that `bytes` are, if they are one of a form this version knows.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes)
            .ok()
            .filter(|record: &Self| record.v == 1)
    }
}
