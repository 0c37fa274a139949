//! The message for an error that ends a command.

use sqlx::migrate::MigrateError;

use super::privileges;

/// The error and its causes in one line. Of a database error it contains only the SQLSTATE or a fixed phrase, because
/// the database's messages may contain values.
pub fn in_words(error: &anyhow::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<sqlx::Error>() {
            words.push(of_database(error));
            break;
        }
        match cause.downcast_ref::<MigrateError>() {
            // This error repeats the text of the database error, which comes next.
            Some(error) if std::error::Error::source(error).is_some() => {}
            _ => {
                // Many errors repeat their cause.
                let cause = cause.to_string();
                if !words.last().is_some_and(|said| said.contains(&cause)) {
                    words.push(cause);
                }
            }
        }
    }
    privileges::with_real_paths(&words.join(": "))
}

fn of_database(error: &sqlx::Error) -> String {
    let word = match error {
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
        sqlx::Error::Configuration(_) => "the database's address cannot be used",
        sqlx::Error::Tls(_) => "no TLS with the database",
        sqlx::Error::PoolTimedOut => "no connection to the database in time",
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => "the connection has ended",
        sqlx::Error::RowNotFound => "a row is missing in the database",
        sqlx::Error::Migrate(_) => "the database could not be migrated",
        _ => "the database answered what was not expected",
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use sqlx::Connection;

    use super::*;
    use crate::embedded::Scratch;

    #[tokio::test]
    async fn what_the_database_says_is_not_repeated() {
        let scratch = Scratch::shared().await.expect("a cluster");
        let options = scratch.create_database("words").await.expect("a database");
        let mut db = sqlx::PgConnection::connect_with(&options)
            .await
            .expect("a connection");
        let refused = sqlx::query("select 'her secret'::int")
            .execute(&mut db)
            .await
            .expect_err("no number");
        assert!(
            refused.to_string().contains("her secret"),
            "it would be said"
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
            .expect_err("no number");
        assert_eq!(
            in_words(&error),
            "the database could not be migrated: the database refused: SQLSTATE 22P02"
        );
    }

    #[test]
    fn other_words_are_ours_and_stay() {
        let odd = sqlx::Error::Protocol("her secret".into());
        let error = anyhow::Error::from(odd).context("nothing done");
        assert!(!in_words(&error).contains("secret"));
        let ours = anyhow::anyhow!("there is no channel x").context("not removed");
        assert_eq!(in_words(&ours), "not removed: there is no channel x");
        let twice = anyhow::anyhow!("denied").context("the file: denied");
        assert_eq!(in_words(&twice), "the file: denied", "no cause twice");
    }
}
