//! Opens the object store and the places for copies of the ledger.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sqlx::PgConnection;
use tokio::time::timeout;
use url::Url;

use super::{
    database::Purpose,
    keys,
    marks::{KEYRING, Marks, OBJECTS},
    starting::step,
};
use crate::{
    config::StorageConfig, erasure::copies::Copies, ledger::Verifier, marked::Marking,
    objects::Objects, records::objects,
};

/// An object store of an earlier version has no mark. It gets one only if one of this many newest objects is in it.
const NEWEST_CHECKED: i64 = 64;

/// How long the object store, the keyring or a copy of the ledger may be silent, where a person waits.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// The object store, and the places for copies of the ledger.
pub struct Stores {
    /// `OBJECTS_URL`, or the directory `objects` in `DATA_DIR`.
    pub objects: Objects,
    /// Places for copies of the ledger, in addition to the copy in the object store: next to the keyring, which is
    /// never restored from a backup and so is never older than the database, and in `LEDGER_COPIES`.
    pub copies: Vec<Objects>,
}

impl Stores {
    /// Opens all of them. With [`Purpose::Make`], those that are new are made and marked.
    ///
    /// # Errors
    /// One of the places cannot be opened, lacks its mark, or is not the one that the database knows.
    pub async fn open(
        storage: &StorageConfig,
        db: &mut PgConnection,
        purpose: Purpose,
    ) -> anyhow::Result<Self> {
        step("the database");
        let marks = marks(storage, db, purpose).await?;
        let objects = open_objects(storage, db, &marks).await?;
        let keyring = match &storage.keyring_url {
            Some(url) => url.clone(),
            None => in_data_dir(storage, "keyring")?,
        };
        step(format!("the copy of the ledger at {}", shown(&keyring)));
        let mut copies = vec![open(storage, &keyring, marks.marking(KEYRING)).await?];
        for url in &storage.ledger_copies {
            let place = shown(url);
            step(format!("the copy of the ledger at {place}"));
            let copy = open(storage, url, marks.marking(&place)).await;
            copies.push(copy.with_context(|| {
                format!(
                    "a copy of the ledger at {place} (if it is lost, take it out of LEDGER_COPIES)"
                )
            })?);
            step("the database");
            marks.note(db, &place).await?;
        }
        Ok(Self { objects, copies })
    }

    /// As [`Stores::open`].
    ///
    /// # Errors
    /// As [`Stores::open`]; they do not answer within a minute.
    pub async fn open_in_time(
        storage: &StorageConfig,
        db: &mut PgConnection,
        purpose: Purpose,
    ) -> anyhow::Result<Self> {
        in_time(Self::open(storage, db, purpose)).await
    }

    /// All copies of the ledger, with that in the object store. Their checkpoints are signed with the key of `verifier`.
    pub fn ledger_copies(self, verifier: Verifier) -> Copies {
        Copies::new(self.objects, self.copies, verifier)
    }
}

/// Opens one of the places that the settings name, where a person waits.
///
/// # Errors
/// `opening` fails, or does not end within a minute.
pub async fn in_time<T>(opening: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let opened = timeout(OPEN_TIMEOUT, opening).await;
    opened.unwrap_or_else(|_| bail!("it does not answer"))
}

/// As [`Stores::open`], of the object store alone.
///
/// # Errors
/// As [`Stores::open`].
pub async fn objects_alone(
    storage: &StorageConfig,
    db: &mut PgConnection,
    purpose: Purpose,
) -> anyhow::Result<Objects> {
    let marks = marks(storage, db, purpose).await?;
    open_objects(storage, db, &marks).await
}

async fn marks(
    storage: &StorageConfig,
    db: &mut PgConnection,
    purpose: Purpose,
) -> anyhow::Result<Marks> {
    let secret = keys::secret(storage)?;
    // With another secret key every mark looks wrong. A command that changes nothing takes no notice of them then, and
    // reports the key.
    let is_other_key =
        purpose == Purpose::Look && !keys::matches_secret(&secret, db).await.unwrap_or(true);
    Ok(match is_other_key {
        true => Marks::unread(&secret, purpose),
        false => Marks::read(&secret, db, purpose).await?,
    })
}

async fn open(storage: &StorageConfig, url: &Url, marking: Marking) -> anyhow::Result<Objects> {
    Ok(Objects::open_with(url, &storage.s3.settings(), marking).await?)
}

async fn open_objects(
    storage: &StorageConfig,
    db: &mut PgConnection,
    marks: &Marks,
) -> anyhow::Result<Objects> {
    let url = match &storage.objects_url {
        Some(url) => url.clone(),
        None => in_data_dir(storage, "objects")?,
    };
    let marking = marks.marking(OBJECTS);
    step(format!("the object store at {}", shown(&url)));
    if let Marking::Make(mark) = &marking
        && let Ok(marked) = open(storage, &url, Marking::Require(mark.clone())).await
    {
        marks.note(db, OBJECTS).await?;
        return Ok(marked);
    }
    if let Marking::Make(mark) = &marking {
        let newest = objects::newest_kept(db, NEWEST_CHECKED).await?;
        if !newest.is_empty() {
            let mut found = false;
            if let Ok(unmarked) = open(storage, &url, Marking::Unmarked).await {
                for key in newest {
                    found = found || unmarked.has(key).await?;
                }
            }
            ensure!(
                found,
                "the newest files of this archive are not in {}: its disk is not mounted, or OBJECTS_URL names another place. If \
                 they are lost, or this is the right place, write this line into its file `mark` (in S3 its object \
                 `archive/mark`): {}",
                shown(&url),
                mark.text().trim_end()
            );
        }
    }
    let objects = open(storage, &url, marking).await.context("OBJECTS_URL")?;
    marks.note(db, OBJECTS).await?;
    Ok(objects)
}

/// A URL without user name, password and query, which may contain secrets.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that have no such part.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
}

fn in_data_dir(storage: &StorageConfig, name: &str) -> anyhow::Result<Url> {
    let directory = std::path::absolute(storage.data_dir.join(name))?;
    Url::from_directory_path(directory)
        .ok()
        .context("DATA_DIR cannot be written as a URL")
}
