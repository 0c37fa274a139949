//! One record of the ledger: says that something was requested, done or forbidden, and when.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The kind of event that a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An erasure was requested, and its rows were deleted: from here on the message cannot be found.
    Requested,
    /// The rows and objects of the erasure are gone.
    Purged,
    /// The wrapping keys of the erased data are destroyed, so that every copy in a backup is noise (crypto-shredding).
    KeysDestroyed,
    /// A message was unsent under a hold that covers unsends: it cannot be found, but is kept until the hold ends.
    Withheld,
    /// The ledger was exported. This version writes no such record.
    Exported,
    /// A hold was set: data that it covers is not erased.
    HoldSet,
    /// A hold was lifted.
    HoldLifted,
}

/// A record. The leaf of the tree is the hash of its bytes as they were first written. Store [`Record::to_bytes`], not
/// the fields: a later version of this software could serialise the fields to other bytes.
///
/// Times are whole milliseconds since 1970, because a time that a database has rounded would give another hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of the record's format: 1.
    pub v: u8,
    /// The kind of event.
    pub kind: Kind,
    /// Id of the erasure; for an export or a hold, the id of that.
    pub erasure: Uuid,
    /// The channel's slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// LINE's id of the message: with it an auditor can check that the message did not come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The archive's id of the erased event, if it was not a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Uuid>,
    /// The archive's id of the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Uuid>,
    /// Cause of the erasure: `unsend`, `retention`, `subject` or `operator`. `None` for an export or a hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The trigger, as values separated by spaces: for an unsend LINE's webhook event id, and the hold's id if it is
    /// withheld; for any other erasure the ids of the rule, subject request, operator and contact, and the reason, as
    /// far as there are any; for a hold the operator's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// When the erasure was requested, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<i64>,
    /// When the event of this record happened, in ms since 1970.
    pub at: i64,
    /// Number of rows deleted; the archive writes it in [`Kind::Requested`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Number of objects that the erasure deletes; in [`Kind::Requested`] and [`Kind::Purged`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<i64>,
    /// Number of wrapping keys that the erasure destroys; in [`Kind::Requested`] and [`Kind::KeysDestroyed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<i64>,
    /// Name and version of the software that wrote the record.
    pub software: String,
}

impl Record {
    /// Compact JSON without a newline, the fields in the order of this struct.
    pub fn to_bytes(&self) -> Vec<u8> {
        #[expect(
            clippy::expect_used,
            reason = "strings, numbers and ids into memory: neither JSON nor a vector refuses them"
        )]
        serde_json::to_vec(self).expect("a record is JSON")
    }

    /// Reads a record; `None` if `bytes` are not a record of a format that this version knows.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes)
            .ok()
            .filter(|record: &Self| record.v == 1)
    }
}
