//! An attempt that failed: whose fault that is, and when the next one is due.

use std::io;

use chrono::TimeDelta;

use super::Exports;
use crate::{
    objects::{self, ObjectKey},
    records::{
        exports::{self, ATTEMPTS, Due, Failure},
        failure, objects as rows,
    },
    seal,
};

/// The pause after the first attempt. Each attempt writes all of the export.
const PAUSE: TimeDelta = TimeDelta::minutes(1);
/// Other objects that are looked for where one is not found.
const SAMPLE: i64 = 20;

/// Errors of one attempt. Their texts hold no content.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The bucket.
    #[error(transparent)]
    Objects(#[from] objects::Error),
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] seal::Error),
    /// The archive could not be put together.
    #[error("the zip could not be written")]
    Zip,
    /// Files were not found, or are damaged, and were not looked for before.
    #[error("{}", Failure::Unreadable)]
    Unreadable,
    /// Files were not found, and most others are not in the bucket either.
    #[error("{}", Failure::Misplaced)]
    Misplaced,
    /// A fault of the program.
    #[error("the export panicked")]
    Panic,
    /// Something in it was erased while it was made.
    #[error("the export is not wanted any more")]
    Withdrawn,
}

impl Error {
    /// True if a file is not there, or is damaged.
    pub(super) fn is_of_file(&self) -> bool {
        match self {
            Self::Objects(error) => {
                matches!(error, objects::Error::NotFound | objects::Error::Corrupt)
            }
            Self::Keyring(error) => error.is_final(),
            _ => false,
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        match error {
            Error::Database(_) => Self::Database,
            Error::Objects(_) => Self::Objects,
            Error::Keyring(_) => Self::Keyring,
            Error::Unreadable => Self::Unreadable,
            Error::Misplaced => Self::Misplaced,
            Error::Zip | Error::Panic | Error::Withdrawn => Self::Other,
        }
    }
}

impl From<zip::result::ZipError> for Error {
    fn from(_: zip::result::ZipError) -> Self {
        Self::Zip
    }
}

impl From<io::Error> for Error {
    fn from(_: io::Error) -> Self {
        Self::Zip
    }
}

impl Exports {
    /// Puts off an export that failed, or gives it up after [`ATTEMPTS`].
    ///
    /// # Errors
    /// The database cannot be reached: then no other export can be made either.
    pub(super) async fn put_off(&self, due: &Due, error: &Error) -> sqlx::Result<()> {
        let id = due.task.id;
        let attempts = due.attempts + i32::from(self.is_own(error).await);
        let pause = PAUSE * 2_i32.saturating_pow(attempts.clamp(1, ATTEMPTS).unsigned_abs() - 1);
        let again = (attempts < ATTEMPTS).then(|| self.clock.now() + pause);
        let mut conn = self.pool.acquire().await?;
        exports::failed(&mut conn, id, attempts, Failure::from(error), again).await?;
        let reason = match error {
            Error::Database(error) => failure::reason(error),
            other => other.to_string().into(),
        };
        match again {
            Some(again) => {
                tracing::warn!(request = %id, attempts, %again, %reason, "an export failed and is tried again");
            }
            None => {
                self.unread().remove(&id);
                tracing::error!(request = %id, attempts, %reason, "an export failed too often and is given up");
            }
        }
        Ok(())
    }

    /// False where everything that is done with the database or the bucket would have failed just now.
    async fn is_own(&self, error: &Error) -> bool {
        match error {
            Error::Database(error) => !failure::is_away(error),
            Error::Objects(_) => self.objects.check().await.is_ok(),
            Error::Keyring(seal::Error::Io(_)) => self.keyring.check().await.is_ok(),
            _ => true,
        }
    }

    /// Whether most objects of this archive are in the bucket, these left aside. If not, the disk is away, or it is
    /// another bucket, and nothing that is not found there is missing.
    pub(super) async fn is_right_bucket(&self, aside: &[String]) -> Result<bool, Error> {
        let mut conn = self.pool.acquire().await?;
        let others: Vec<ObjectKey> = rows::sample(&mut conn, aside, SAMPLE).await?;
        drop(conn);
        let mut found = 0;
        for key in &others {
            found += usize::from(self.objects.has(*key).await?);
        }
        Ok(found * 2 > others.len())
    }
}
