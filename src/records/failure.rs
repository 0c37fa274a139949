//! Failures on our side, and what of them may be logged. A database error's own text is left out, because it may hold
//! what a person wrote.

use std::borrow::Cow;

use sqlx::{
    Error,
    postgres::{PgDatabaseError, PgSeverity},
};

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
/// Each refusal of a connection is fatal, whatever its SQLSTATE: a role that may not sign in (28000, 28P01), a database
/// that is gone (3D000), a limit of connections (53300). SQLSTATE class 08 is about connections, 53 about disk, memory and
/// connections, 57P01 to 57P05 are shutdowns and ended sessions, 58 is a fault of the server's disk, and 25006 a read-only
/// server, as after a failover.
pub fn is_away(error: &Error) -> bool {
    match error {
        Error::Io(_)
        | Error::Tls(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => true,
        Error::Database(refused) => {
            let severity = refused
                .try_downcast_ref::<PgDatabaseError>()
                .map(PgDatabaseError::severity);
            matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
                || refused.code().is_some_and(|code| {
                    let classes = ["08", "28", "53", "57P", "58"];
                    classes.iter().any(|class| code.starts_with(class))
                        || ["25006", "3D000"].contains(&&*code)
                })
        }
        _ => false,
    }
}

/// True if the statement was not carried out because of others: a lock was held for too long (55P03), or the time for the
/// statement was up (57014). The same statement may succeed later.
pub fn is_busy(error: &Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| ["55P03", "57014"].contains(&&*code))
}
