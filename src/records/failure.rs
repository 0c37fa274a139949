//! Classifies database errors. Their text is left out, because it may hold what a person wrote.

use std::borrow::Cow;

use sqlx::Error;

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
