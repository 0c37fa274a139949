//! Failed attempts of an export: whether the failure counts against the export, and when the next attempt is due.

use std::io;

use chrono::TimeDelta;

use super::Exports;
use crate::{
    objects::{self, ObjectKey},
    records::{
        self,
        export_failure::Failure,
        exports::{self, Due, MAX_ATTEMPTS},
        failure::{self, Internal},
    },
    seal,
};

/// Back-off after the first attempt; it doubles with each attempt. It is long because each attempt writes the whole
/// export.
const FIRST_BACKOFF: TimeDelta = TimeDelta::minutes(1);
/// How many other objects are looked up in the bucket when an object is not found.
const SAMPLE: i64 = 20;

/// Why one attempt failed. The texts hold no content.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database, the object store or the keyring failed.
    #[error(transparent)]
    Internal(Internal),
    /// The zip could not be written.
    #[error("the zip could not be written")]
    Zip,
    /// Files were not found, or are damaged. The next attempt looks for them again.
    #[error("{}", Failure::Unreadable)]
    Unreadable,
    /// Files were not found, and most other objects are not in the bucket either.
    #[error("{}", Failure::WrongBucket)]
    WrongBucket,
    /// The attempt panicked, which is a bug.
    #[error("the export panicked")]
    Panic,
    /// The export is no longer wanted, for example because something in it was erased while it was made.
    #[error("the export was withdrawn")]
    Withdrawn,
}

impl<E: Into<Internal>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Internal(error.into())
    }
}

impl Error {
    /// True if a file is missing or damaged.
    pub(super) fn is_file_error(&self) -> bool {
        match self {
            Self::Internal(Internal::Objects(error)) => {
                matches!(error, objects::Error::NotFound | objects::Error::Corrupt)
            }
            Self::Internal(Internal::Keyring(error)) => error.is_permanent(),
            _ => false,
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        match error {
            Error::Internal(Internal::Database(_)) => Self::Database,
            Error::Internal(Internal::Objects(_)) => Self::Objects,
            Error::Internal(Internal::Keyring(_) | Internal::NoSpareKey) => Self::Keyring,
            Error::Unreadable => Self::Unreadable,
            Error::WrongBucket => Self::WrongBucket,
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
    /// Schedules the next attempt of an export that failed, with an exponential back-off, or gives it up after
    /// [`MAX_ATTEMPTS`].
    ///
    /// # Errors
    /// The database cannot be reached: then no other export can be made either.
    pub(super) async fn schedule_retry_or_give_up(
        &self,
        due: &Due,
        error: &Error,
    ) -> sqlx::Result<()> {
        let id = due.task.id;
        let attempts = due.attempts + i32::from(self.counts_as_attempt(error).await);
        let back_off = FIRST_BACKOFF
            * 2_i32.saturating_pow(attempts.clamp(1, MAX_ATTEMPTS).unsigned_abs() - 1);
        let again = (attempts < MAX_ATTEMPTS).then(|| self.clock.now() + back_off);
        let mut conn = self.pool.acquire().await?;
        exports::record_failure(&mut conn, id, attempts, Failure::from(error), again).await?;
        let reason = match error {
            Error::Internal(error) => error.reason(),
            other => other.to_string().into(),
        };
        match again {
            Some(again) => {
                tracing::warn!(request = %id, attempts, %again, %reason, "an export failed and is tried again");
            }
            None => {
                self.last_unreadable().remove(&id);
                tracing::error!(request = %id, attempts, %reason, "an export failed too often and is given up");
            }
        }
        Ok(())
    }

    /// True if the failure counts as an attempt of this export. False if the database, the bucket or the keyring cannot
    /// be reached at the moment: then every other use of it would have failed as well.
    async fn counts_as_attempt(&self, error: &Error) -> bool {
        match error {
            Error::Internal(Internal::Database(error)) => !failure::is_away(error),
            Error::Internal(Internal::Objects(_)) => self.objects.check().await.is_ok(),
            Error::Internal(Internal::Keyring(seal::Error::Io(_))) => {
                self.keyring.check().await.is_ok()
            }
            _ => true,
        }
    }

    /// Checks a sample of 20 objects without those in `excluded`: true if more than half of them are in the bucket. If
    /// not, the disk is not mounted or this is another bucket, and an object that is not found there does not count as
    /// missing. An empty sample counts as the wrong bucket, because an empty mount looks the same.
    pub(super) async fn is_right_bucket(&self, excluded: &[String]) -> Result<bool, Error> {
        let mut conn = self.pool.acquire().await?;
        let others: Vec<ObjectKey> = records::objects::sample(&mut conn, excluded, SAMPLE).await?;
        drop(conn);
        let mut found = 0;
        for key in &others {
            found += usize::from(self.objects.has(*key).await?);
        }
        Ok(found * 2 > others.len())
    }
}
