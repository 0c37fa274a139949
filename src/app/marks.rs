//! The marks of the archive's directories and buckets: where one is missing, a disk is not mounted or a setting names
//! another place, and nothing there is written, read or said to be gone.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::database::Purpose;
use crate::{
    marked::{Mark, Marking},
    records::marked_places,
    seal::SecretKey,
};

/// The place of the keyring, and of the copy of the ledger in it.
pub const KEYRING: &str = "keyring";
/// The place of the objects.
pub const OBJECTS: &str = "objects";

/// How the archive's places are marked.
pub struct Marks {
    /// Id of the archive, derived from the secret key.
    archive: String,
    /// The places that are marked.
    marked: HashSet<String>,
    purpose: Purpose,
}

impl Marks {
    /// As if no place was marked.
    pub fn unread(secret: &SecretKey, purpose: Purpose) -> Self {
        let id = secret.derive("archive id");
        Self {
            archive: id[..16].iter().map(|byte| format!("{byte:02x}")).collect(),
            marked: HashSet::new(),
            purpose,
        }
    }

    /// Reads which places are marked. Only with [`Purpose::Make`] others get a mark.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn read(
        secret: &SecretKey,
        db: &mut PgConnection,
        purpose: Purpose,
    ) -> sqlx::Result<Self> {
        let mut marks = Self::unread(secret, purpose);
        marks.marked.extend(marked_places::list(db).await?);
        Ok(marks)
    }

    /// How `place` has to be opened: [`KEYRING`], [`OBJECTS`], or the URL of a copy of the ledger.
    pub fn marking(&self, place: &str) -> Marking {
        let purpose = match place {
            KEYRING | OBJECTS => place,
            _ => "ledger",
        };
        let mark = Mark::new(&self.archive, purpose);
        match self.purpose {
            _ if self.marked.contains(place) => Marking::Require(mark),
            Purpose::Make => Marking::Make(mark),
            Purpose::Change | Purpose::Look => Marking::Unmarked,
        }
    }

    /// Notes that a place that was opened as [`Marks::marking`] says has its mark now.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn note(&self, db: &mut PgConnection, place: &str) -> sqlx::Result<()> {
        match self.purpose {
            Purpose::Make if !self.marked.contains(place) => marked_places::add(db, place).await,
            _ => Ok(()),
        }
    }
}
