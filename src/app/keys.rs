//! Opens the secret key and the keyring for a command, or makes them for a new archive.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use sqlx::PgConnection;
use tokio::task::spawn_blocking;
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    bucket_key_store::BucketKeyStore,
    database::{self, Purpose},
    marks::{KEYRING, Marks},
    places, privileges,
    starting::step,
};
use crate::{
    config::StorageConfig,
    embedded,
    ledger::Signer,
    marked::Marking,
    objects::Objects,
    records::{attest, installation, keys},
    seal::{Cipher, DirectoryKeyStore, Error, KeyStore, Keyring, SecretKey},
};

/// How many keys are looked for in a keyring that has no mark yet.
const NEWEST_KEYS_CHECKED: i64 = 64;

/// How many keys are looked for if the newest key in use is not in the keyring: of this key's file and seven others.
const OTHERS_CHECKED: i64 = 512;

const MISSING_KEYRING: &str = "the keyring is missing, is an old copy, or belongs to another database: check KEYRING_URL. Without the \
     right keyring the archive cannot be read";

/// Opens the keyring that belongs to this database.
///
/// # Errors
/// There is no secret key, the archive is sealed under another one, the keyring does not belong to this database, or
/// the keyring cannot be reached.
pub async fn open(
    storage: &StorageConfig,
    db: &mut PgConnection,
    purpose: Purpose,
) -> anyhow::Result<Keyring> {
    step("the database");
    let used = keys::newest_in_use(db).await?;
    let path = secret_path(storage);
    let secret = secret(storage)?;
    let marks = Marks::read(&secret, db, purpose).await?;
    // Read after the marks: whoever has marked the keyring has claimed the database before.
    ensure!(
        matches_secret(&secret, db).await?,
        wrong_secret_key_message(&path)
    );
    let known = keys::newest_of_all(db, NEWEST_KEYS_CHECKED).await?;
    step("the keyring");
    let marking = first_marking(storage, &marks, known.is_empty()).await;
    let is_unmarked = matches!(marking, Marking::Unmarked);
    let keyring = Keyring::new(&secret, key_store(storage, marking).await?, Cipher::Sealed);
    if let Marking::Make(mark) = marks.marking(KEYRING)
        && is_unmarked
        && used.is_none()
    {
        ensure!(
            !keyring.find_all(known).await?.is_empty(),
            "none of this archive's keys is in the keyring: its disk is not mounted, or KEYRING_URL names another place. If this \
             is the right place, write this line into its file `mark` (in S3 its object `archive/mark`): {}",
            mark.text().trim_end()
        );
    }
    match used {
        None => {}
        Some(id) => match keyring.find(id).await {
            Ok(_) => {}
            Err(error @ (Error::Unreadable | Error::NoKey | Error::Damaged(_))) => {
                if belongs_to_database(&keyring, db, id).await? {
                    report_damaged(&keyring, id, &error);
                } else if matches!(error, Error::Unreadable) {
                    bail!(wrong_secret_key_message(&path));
                } else {
                    bail!(MISSING_KEYRING);
                }
            }
            Err(error) => return Err(error.into()),
        },
    }
    // Two processes with different secret keys that start on an empty database at once would each find no key of the
    // other, so the first one claims the database.
    step("the database");
    let is_ours = installation::claim(db, key_fingerprint(&secret).as_slice()).await?;
    ensure!(is_ours, "{}", wrong_secret_key_message(&path));
    match marks.marking(KEYRING) {
        marking @ Marking::Make(_) => {
            step("the keyring");
            let store = key_store(storage, marking).await?;
            marks.note(db, KEYRING).await?;
            Ok(Keyring::new(&secret, store, Cipher::Sealed))
        }
        _ => Ok(keyring),
    }
}

/// How to open the keyring before it is known to be this archive's: a keyring gets its mark only after that.
async fn first_marking(storage: &StorageConfig, marks: &Marks, is_new: bool) -> Marking {
    match marks.marking(KEYRING) {
        Marking::Make(_) if is_new => Marking::MakeUnmarked,
        Marking::Make(mark) => match key_store(storage, Marking::Require(mark.clone())).await {
            Ok(_) => Marking::Require(mark),
            Err(_) => Marking::Unmarked,
        },
        marking => marking,
    }
}

/// Whether the keyring belongs to the database, although the newest key in use, `id`, is not there or cannot be read. After a
/// restore, that key may have been destroyed since the backup; and a file of keys may be damaged or lost. The right keyring then
/// still has keys that were made at the same time or later; an old copy that has none of them is refused.
async fn belongs_to_database(
    keyring: &Keyring,
    db: &mut PgConnection,
    id: Uuid,
) -> anyhow::Result<bool> {
    let others = keys::made_with_or_after(db, id, OTHERS_CHECKED).await?;
    Ok(!keyring.find_all(others).await?.is_empty())
}

/// Logs that a key in use cannot be read.
fn report_damaged(keyring: &Keyring, id: Uuid, error: &Error) {
    if !matches!(error, Error::NoKey) {
        tracing::error!(
            file = keyring.file_of(id),
            "a file of the keyring is damaged: conversations whose keys it holds cannot be read. `doctor` looks at all files"
        );
    }
}

/// As [`open`]. If the archive is of a version without MACs, also adds a MAC to the rows of operators and channels. A
/// flag in the keyring records this, so it is done once for each keyring: rows of a database that is restored or
/// altered later never get a MAC. The database has to be migrated.
///
/// # Errors
/// As [`open`].
pub async fn open_attested(
    storage: &StorageConfig,
    db: &mut PgConnection,
    purpose: Purpose,
) -> anyhow::Result<Keyring> {
    let keyring = open(storage, db, purpose).await?;
    step("the keyring");
    if keyring.is_attested().await? {
        return Ok(keyring);
    }
    let earlier = attest::unattested(db, &keyring).await?;
    if !earlier.is_empty() {
        attest::accept_all(db, &keyring).await?;
        tracing::info!(
            operators = earlier.operators.len(),
            channels = earlier.channels.len(),
            "added MACs to operators and channels of an earlier version; this happens once"
        );
    }
    keyring.set_attested().await?;
    Ok(keyring)
}

/// Runs a command that changes or lists attested rows, with the archive's database and its keyring.
///
/// # Errors
/// As [`database::with`] and [`open_attested`].
pub async fn with_attested<T>(
    storage: &StorageConfig,
    work: impl AsyncFnOnce(&mut PgConnection, &Keyring) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    database::with(storage, Purpose::Change, async |database| {
        let mut db = database.connect().await?;
        let keyring = open_attested(storage, &mut db, Purpose::Change).await?;
        work(&mut db, &keyring).await
    })
    .await
}

fn wrong_secret_key_message(path: &Path) -> String {
    let path = path.display();
    format!(
        "the database was created with another secret key than {path}: check SECRET_KEY_FILE. All processes on one \
         database need the same key. Nothing was changed"
    )
}

/// Loads the secret key.
///
/// # Errors
/// There is no secret key, or it cannot be read.
pub fn secret(storage: &StorageConfig) -> anyhow::Result<SecretKey> {
    let path = secret_path(storage);
    SecretKey::load(&path).with_context(|| path.display().to_string())
}

/// Makes a secret key for an archive that has none yet, if it uses the embedded PostgreSQL. For `DATABASE_URL` it makes
/// none: all replicas on one database have to be given the same key.
///
/// # Errors
/// The file cannot be made, or the database cannot be read.
pub async fn make_for_new(storage: &StorageConfig, db: &mut PgConnection) -> anyhow::Result<()> {
    let is_new = !installation::has_key(db).await? && keys::newest_in_use(db).await?.is_none();
    if storage.database_url.is_none() && is_new {
        let path = secret_path(storage);
        let made = SecretKey::load_or_make(&path);
        if let (Some(account), Err(Error::SecretFile(error))) = (&storage.service, &made)
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            bail!(privileges::cannot_make_key_message(account, &path));
        }
        made.with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// `keys new`: makes a secret key in a new file. If root runs this, the file belongs to the account that the service
/// works as.
///
/// # Errors
/// The file exists or cannot be made, or the service's account cannot be found.
pub fn new(storage: &StorageConfig, path: &Path, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let account = privileges::account(storage)?;
    let made = match &account {
        // Root must not create the file through a symbolic link of another account.
        Some(account) => embedded::new_file(path, account, SecretKey::make)
            .with_context(|| format!("{}", path.display()))?,
        None => SecretKey::make(path, None),
    };
    match made {
        Err(Error::SecretFile(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already, and was not touched", path.display())
        }
        Err(Error::SecretFile(error)) if error.kind() == io::ErrorKind::NotFound => {
            let at = std::path::absolute(path)?;
            bail!(no_directory_message(path, at.parent().unwrap_or(&at)))
        }
        made => made.with_context(|| format!("{}", path.display()))?,
    };
    let owner = account.map_or(String::new(), |account| {
        format!(" for the account {}", account.name())
    });
    say(&format!(
        "Made {}{owner}. Keep a copy apart from the backups of the database and the objects. Without this key the \
         archive cannot be read.",
        path.display()
    ));
    Ok(())
}

/// `SECRET_KEY_FILE`, or `secret.key` in `DATA_DIR`.
pub fn secret_path(storage: &StorageConfig) -> PathBuf {
    match &storage.secret_key_file {
        Some(path) => path.clone(),
        None => storage.data_dir.join("secret.key"),
    }
}

/// The signer of the ledger: a key derived from the secret key, and a name that no other installation has.
pub fn signer(secret: &SecretKey) -> Signer {
    let name = secret.derive("ledger name");
    let name: String = name[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    Signer::from_seed(
        &format!("line-chat-archive/{name}"),
        &secret.derive("ledger"),
    )
}

/// Whether a database belongs to this secret key. A database without a secret key yet belongs to any.
///
/// # Errors
/// The database cannot be read.
pub async fn matches_secret(secret: &SecretKey, db: &mut PgConnection) -> anyhow::Result<bool> {
    let matches = installation::belongs_to(db, key_fingerprint(secret).as_slice()).await?;
    Ok(matches.unwrap_or(true))
}

/// The value by which the database recognises its secret key.
pub(super) fn key_fingerprint(secret: &SecretKey) -> Zeroizing<[u8; 32]> {
    secret.derive("installation")
}

/// Error message for a ledger that was signed with another secret key.
pub fn wrong_ledger_key_message(storage: &StorageConfig) -> String {
    format!(
        "{} is not the key that signed this ledger. The ledger was not verified. Check SECRET_KEY_FILE, and DATA_DIR \
         or DATABASE_URL. If the key is right, the database was replaced: check an earlier export with \
         `erasures verify --export`",
        secret_path(storage).display()
    )
}

/// Opens the keyring's storage: `KEYRING_URL`, or the directory `keyring` in `DATA_DIR`.
async fn key_store(storage: &StorageConfig, marking: Marking) -> anyhow::Result<Arc<dyn KeyStore>> {
    places::check(storage)?;
    let path = match &storage.keyring_url {
        None => std::path::absolute(storage.data_dir.join("keyring"))?,
        Some(url) if url.scheme() == "s3" => {
            check_url(storage, url)?;
            let bucket = Objects::open_with(url, &storage.s3.settings(), marking).await?;
            bucket.check().await.context("KEYRING_URL")?;
            return Ok(Arc::new(BucketKeyStore(bucket)));
        }
        Some(url) => {
            check_url(storage, url)?;
            directory(url)?
        }
    };
    let shown = path.display().to_string();
    // On a thread of its own: a disk that hangs must not keep a signal from ending the start.
    let store = spawn_blocking(move || DirectoryKeyStore::open_with(&path, marking)).await?;
    Ok(Arc::new(store.context(shown)?))
}

/// Checks the form of `KEYRING_URL` and of the secret key's file. Has no side effects and uses no network.
///
/// # Errors
/// One of them cannot be used. A missing file is an error only if the service does not make it.
pub fn check_form(storage: &StorageConfig) -> anyhow::Result<()> {
    places::check(storage)?;
    if let Some(url) = &storage.keyring_url {
        check_url(storage, url)?;
    }
    let path = secret_path(storage);
    if storage.database_url.is_some() || path.exists() {
        return SecretKey::check_form(&path).with_context(|| path.display().to_string());
    }
    // The service will make the file in this directory. DATA_DIR, and so a path through it, is made with the archive.
    let data = std::path::absolute(&storage.data_dir)?;
    if storage.secret_key_file.is_some()
        && let Some(parent) = std::path::absolute(&path)?.parent()
        && !parent.starts_with(data)
    {
        ensure!(parent.is_dir(), no_directory_message(&path, parent));
    }
    Ok(())
}

fn no_directory_message(file: &Path, directory: &Path) -> String {
    format!(
        "{}: there is no directory {}, so no secret key can be made in it. Make the directory first",
        file.display(),
        directory.display()
    )
}

fn check_url(storage: &StorageConfig, url: &Url) -> anyhow::Result<()> {
    match url.scheme() {
        "s3" => Objects::check_form(url, &storage.s3.settings()).context("KEYRING_URL"),
        _ => directory(url).map(drop),
    }
}

fn directory(url: &Url) -> anyhow::Result<PathBuf> {
    let path = (url.scheme() == "file").then(|| url.to_file_path().ok());
    path.flatten()
        .context("KEYRING_URL must be file:///an/absolute/directory or s3://bucket/prefix")
}
