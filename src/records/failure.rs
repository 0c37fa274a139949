//! Failures on our side, and what of them may be logged. A database error's own text is left out, because it may hold
//! what a person wrote.

use std::borrow::Cow;

use sqlx::Error;

use crate::seal;

/// A failure of our own database, object store or keyring: the same attempt may succeed later. Its text contains no
/// content.
#[derive(Debug, thiserror::Error)]
pub enum Internal {
    /// A query or the connection failed.
    #[error("the database failed")]
    Database(#[from] Error),
    /// The object store failed.
    #[error(transparent)]
    Objects(#[from] crate::objects::Error),
    /// The keyring failed, or a value could not be opened.
    #[error(transparent)]
    Keyring(#[from] seal::Error),
    /// No wrapping key was made in time for a document that has to be sealed again.
    #[error("no spare key was available in time")]
    NoSpareKey,
}

impl Internal {
    /// The part of it that may be logged: a SQLSTATE or a kind.
    pub fn reason(&self) -> Cow<'_, str> {
        match self {
            Self::Database(error) => reason(error),
            other => other.to_string().into(),
        }
    }
}

/// A SQLSTATE or a short description of the error, for the log.
pub fn reason(error: &Error) -> Cow<'_, str> {
    match error {
        Error::Database(error) => error.code().unwrap_or("database".into()),
        Error::PoolTimedOut => "no connection was free".into(),
        Error::Io(_) => "no connection".into(),
        _ => "database".into(),
    }
}

/// True if the database was unreachable, or ended the connection: the same statement may succeed once it is back.
///
/// SQLSTATE class 08 is about connections, 57P01 to 57P05 are shutdowns and ended sessions, 53300 is too many
/// connections, and 25006 is a read-only server, as after a failover.
pub fn is_away(error: &Error) -> bool {
    match error {
        Error::Io(_)
        | Error::Tls(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => true,
        Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08") || code.starts_with("57P") || code == "53300" || code == "25006"
        }),
        _ => false,
    }
}
