//! The message for an error that ends a command.

use std::io;

use sqlx::migrate::MigrateError;

use super::{disk, privileges};

/// The error and its causes in one line, and the remedy if a disk is at fault. Of a database error it contains only the
/// SQLSTATE or a fixed phrase, because the database's messages may contain values.
pub fn in_words(error: &anyhow::Error) -> String {
    let mut messages: Vec<String> = Vec::new();
    let mut trouble = None;
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<sqlx::Error>() {
            messages.push(database_error_message(error));
            break;
        }
        trouble = trouble.or_else(|| disk::trouble(cause.downcast_ref::<io::Error>()?));
        match cause.downcast_ref::<MigrateError>() {
            // This error repeats the text of the database error, which comes next.
            Some(error) if std::error::Error::source(error).is_some() => {}
            _ => {
                // Many errors repeat their cause.
                let cause = cause.to_string();
                if !messages
                    .last()
                    .is_some_and(|previous| previous.contains(&cause))
                {
                    messages.push(cause);
                }
            }
        }
    }
    messages.extend(trouble.map(str::to_owned));
    privileges::with_real_paths(&messages.join(": "))
}

fn database_error_message(error: &sqlx::Error) -> String {
    let message = match error {
        sqlx::Error::Database(error) => {
            let code = error.code();
            return format!(
                "the database refused: SQLSTATE {}",
                code.as_deref().unwrap_or("unknown")
            );
        }
        sqlx::Error::Io(error) => {
            return format!("no connection to the database: {}", error.kind());
        }
        sqlx::Error::Configuration(_) => "the database URL is not valid",
        sqlx::Error::Tls(_) => "the TLS connection to the database failed",
        sqlx::Error::PoolTimedOut => "timed out while waiting for a database connection",
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            "the database connection was closed"
        }
        sqlx::Error::RowNotFound => "a row is missing in the database",
        sqlx::Error::Migrate(_) => "the database could not be migrated",
        _ => "unexpected answer from the database",
    };
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use sqlx::Connection;

    use super::*;
    use crate::{embedded::Scratch, records::failure::Internal};

    #[tokio::test]
    async fn database_error_messages_are_redacted() {
        let scratch = Scratch::shared().await.expect("a cluster");
        let options = scratch.create_database("words").await.expect("a database");
        let mut db = sqlx::PgConnection::connect_with(&options)
            .await
            .expect("a connection");
        let refused = sqlx::query("select 'her secret'::int")
            .execute(&mut db)
            .await
            .expect_err("the cast must fail");
        assert!(
            refused.to_string().contains("her secret"),
            "the raw error contains the value"
        );
        let error = anyhow::Error::from(refused).context("the channels cannot be read");
        assert_eq!(
            in_words(&error),
            "the channels cannot be read: the database refused: SQLSTATE 22P02"
        );
        let refused = sqlx::query("select 'her secret'::int")
            .execute(&mut db)
            .await;
        let error = refused
            .map_err(|error| MigrateError::ExecuteMigration(error, 7))
            .context("the database could not be migrated")
            .expect_err("the cast must fail");
        assert_eq!(
            in_words(&error),
            "the database could not be migrated: the database refused: SQLSTATE 22P02"
        );
    }

    #[test]
    fn protocol_errors_are_redacted() {
        let raw = sqlx::Error::Protocol("her secret".into());
        let error = anyhow::Error::from(raw).context("nothing done");
        assert!(!in_words(&error).contains("secret"));
    }

    #[test]
    fn a_fault_of_a_disk_says_what_to_do() {
        let full = || io::Error::from(rustix::io::Errno::NOSPC);
        for error in [
            anyhow::Error::new(full()).context("the keyring"),
            anyhow::Error::new(crate::seal::Error::Io(full())),
            anyhow::Error::new(crate::objects::Error::Io(full())),
            anyhow::Error::new(Internal::Keyring(crate::seal::Error::Io(full()))),
        ] {
            let words = in_words(&error);
            assert!(
                words.ends_with("(os error 28): its disk is full. Make space"),
                "{words}"
            );
        }
        let denied = io::Error::from(rustix::io::Errno::ACCESS);
        assert_eq!(in_words(&denied.into()), "Permission denied (os error 13)");
    }

    #[test]
    fn own_messages_are_kept() {
        let ours = anyhow::anyhow!("there is no channel x").context("not removed");
        assert_eq!(in_words(&ours), "not removed: there is no channel x");
    }

    #[test]
    fn a_repeated_cause_is_dropped() {
        let twice = anyhow::anyhow!("denied").context("the file: denied");
        assert_eq!(in_words(&twice), "the file: denied");
    }
}
