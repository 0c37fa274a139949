//! Why an export could not be made.

use std::fmt;

/// Why an attempt failed.
#[derive(sqlx::Type, Clone, Copy, Debug, PartialEq, Eq)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Failure {
    /// The database refused something, or could not be reached.
    Database,
    /// The object store failed.
    Objects,
    /// Files are missing or damaged.
    Unreadable,
    /// Most objects of the archive are not in the bucket.
    #[sqlx(rename = "misplaced")]
    WrongBucket,
    /// The keyring failed.
    Keyring,
    /// Anything else.
    Other,
}

/// Text for the page and the log.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "the database failed",
            Self::Objects => "the object store failed",
            Self::Unreadable => "some files are missing or damaged",
            Self::WrongBucket => {
                "most files of this archive are not in the object store: is it the right one, and is its disk there?"
            }
            Self::Keyring => "the keyring failed",
            Self::Other => "the export could not be assembled",
        })
    }
}
