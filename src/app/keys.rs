//! The secret key and the keyring, found for a command or made for a new archive.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use sqlx::PgConnection;
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    database::{self, Purpose},
    privileges,
};
use crate::{
    config::Places,
    embedded,
    ledger::Signer,
    objects::{self, Objects},
    records::{attest, installation, keys},
    seal::{Cipher, Directory, Error, Keyring, SecretKey, Shelf},
};

/// Keys that are looked for where the newest in use is not in the keyring.
const NEWEST: i64 = 64;

/// Opens the keyring that belongs to this database.
///
/// # Errors
/// There is no secret key, or what is archived is sealed under another one, or the keyring is not that of this
/// database, or cannot be reached.
pub async fn open(places: &Places, db: &mut PgConnection) -> anyhow::Result<Keyring> {
    let used = keys::newest_in_use(db).await?;
    let path = secret_path(places);
    let secret = secret(places)?;
    let keyring = Keyring::new(&secret, shelf(places).await?, Cipher::Sealed);
    match used {
        None => {}
        Some(id) => match keyring.find(id).await {
            Ok(_) => {}
            Err(Error::Unreadable) => bail!(another(&path)),
            Err(Error::NoKey) => ensure!(
                is_of_database(&keyring, db).await?,
                "the keyring is not the one of this database, or an old copy of it: check KEYRING_URL. Without the right one \
                 nothing that is archived can be read"
            ),
            Err(error) => return Err(error.into()),
        },
    }
    // Two that begin on an empty database at once would both find nothing under the other's key.
    let is_ours = installation::claim(db, mark(&secret).as_slice()).await?;
    ensure!(is_ours, "{}", another(&path));
    Ok(keyring)
}

/// Whether the keyring is the database's, though it lacks the newest key in use. A database that was restored may name keys
/// that were destroyed since; but of those made last a keyring that is not older has some.
async fn is_of_database(keyring: &Keyring, db: &mut PgConnection) -> anyhow::Result<bool> {
    let newest = keys::newest(db, NEWEST).await?;
    Ok(!keyring.find_all(newest).await?.is_empty())
}

/// As [`open`], and gives codes to the operators and channels of an archive of before there were codes: once for each
/// keyring, for the mark that this was done lies there. A database that is restored or altered later is not believed a
/// second time. The database has to be migrated.
///
/// # Errors
/// As [`open`].
pub async fn open_attested(places: &Places, db: &mut PgConnection) -> anyhow::Result<Keyring> {
    let keyring = open(places, db).await?;
    if keyring.is_attested().await? {
        return Ok(keyring);
    }
    let earlier = attest::unattested(db, &keyring).await?;
    if !earlier.is_empty() {
        attest::accept_all(db, &keyring).await?;
        tracing::info!(
            operators = earlier.operators.len(),
            channels = earlier.channels.len(),
            "rows of an earlier version were attested; this is done once"
        );
    }
    keyring.set_attested().await?;
    Ok(keyring)
}

/// Runs a command that changes or lists what is attested: with the archive's database and its keyring.
///
/// # Errors
/// As [`database::with`] and [`open_attested`].
pub async fn with_attested<T>(
    places: &Places,
    work: impl AsyncFnOnce(&mut PgConnection, &Keyring) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    database::with(places, Purpose::Change, async |database| {
        let mut db = database.connect().await?;
        let keyring = open_attested(places, &mut db).await?;
        work(&mut db, &keyring).await
    })
    .await
}

fn another(path: &Path) -> String {
    let path = path.display();
    format!(
        "this database belongs to another secret key than that in {path}: check SECRET_KEY_FILE. All that share a database \
         have to be given the same. Nothing was changed"
    )
}

/// The secret key.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn secret(places: &Places) -> anyhow::Result<SecretKey> {
    let path = secret_path(places);
    SecretKey::load(&path).with_context(|| path.display().to_string())
}

/// Makes a secret key for an archive to which none came yet, where the database is the embedded one: several replicas on
/// one database have to be given the same.
///
/// # Errors
/// It cannot be made.
pub async fn make_for_new(places: &Places, db: &mut PgConnection) -> anyhow::Result<()> {
    let is_new = !installation::has_key(db).await? && keys::newest_in_use(db).await?.is_none();
    if places.database_url.is_none() && is_new {
        let path = secret_path(places);
        SecretKey::load_or_make(&path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// `keys new`: makes a secret key in a file that is not there yet. Where root makes it, it belongs to the account that the
/// service works as.
///
/// # Errors
/// The file is there, or cannot be made; or the service's account cannot be told.
pub fn new(places: &Places, path: &Path, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let account = privileges::account(places)?;
    let made = match &account {
        // Root makes no file where another account leads it.
        Some(account) => embedded::new_file(path, account, SecretKey::make)
            .with_context(|| format!("{}", path.display()))?,
        None => SecretKey::make(path, None),
    };
    match made {
        Err(Error::SecretFile(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already, and was not touched", path.display())
        }
        made => made.with_context(|| format!("{}", path.display()))?,
    };
    let owner = account.map_or(String::new(), |account| {
        format!(" for the account {}", account.name())
    });
    say(&format!(
        "Made {}{owner}. Keep a copy of it apart from those of the database and the objects: without it nothing that is \
         archived can be read.",
        path.display()
    ));
    Ok(())
}

/// `SECRET_KEY_FILE`, or `secret.key` in `DATA_DIR`.
pub fn secret_path(places: &Places) -> PathBuf {
    match &places.secret_key_file {
        Some(path) => path.clone(),
        None => places.data_dir.join("secret.key"),
    }
}

/// Who signs the ledger: a key of its own, and a name that no other installation has.
pub fn signer(secret: &SecretKey) -> Signer {
    let name = secret.derive("ledger name");
    let name: String = name[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    Signer::from_seed(
        &format!("line-chat-archive/{name}"),
        &secret.derive("ledger"),
    )
}

/// Says whether a database belongs to this secret key. One that no key came to yet belongs to any.
///
/// # Errors
/// The database cannot be read.
pub async fn is_of(secret: &SecretKey, db: &mut PgConnection) -> anyhow::Result<bool> {
    let is_of = installation::belongs_to(db, mark(secret).as_slice()).await?;
    Ok(is_of.unwrap_or(true))
}

/// The value by which the database recognises its secret key.
fn mark(secret: &SecretKey) -> Zeroizing<[u8; 32]> {
    secret.derive("installation")
}

/// The message for a ledger that was signed with another secret key.
pub fn not_the_ledgers(places: &Places) -> String {
    format!(
        "the secret key in {} is not the one that this ledger was signed with, so the ledger was not looked at: check \
         SECRET_KEY_FILE, and DATA_DIR or DATABASE_URL. If it is the right key, somebody has exchanged the database: check an \
         export that you had before, with `erasures verify --export`",
        secret_path(places).display()
    )
}

/// `KEYRING_URL`, or the directory `keyring` in `DATA_DIR`.
async fn shelf(places: &Places) -> anyhow::Result<Arc<dyn Shelf>> {
    let directory = match &places.keyring_url {
        None => std::path::absolute(places.data_dir.join("keyring"))?,
        Some(url) if url.scheme() == "s3" => {
            check_url(places, url)?;
            let bucket = Objects::open_with(url, &places.s3.access()).await?;
            bucket.check().await.context("KEYRING_URL")?;
            return Ok(Arc::new(Bucket(bucket)));
        }
        Some(url) => {
            check_url(places, url)?;
            directory(url)?
        }
    };
    Ok(Arc::new(open_directory(&directory)?))
}

/// Looks at the form of `KEYRING_URL` and of the secret key's file. Has no side effects and uses no network.
///
/// # Errors
/// One of them cannot be used. That the file is not there is an error where nobody makes it.
pub fn check_form(places: &Places) -> anyhow::Result<()> {
    if let Some(url) = &places.keyring_url {
        check_url(places, url)?;
    }
    let path = secret_path(places);
    if places.database_url.is_some() || path.exists() {
        return SecretKey::check_form(&path).with_context(|| path.display().to_string());
    }
    // It will be made there. DATA_DIR, and so a path through it, is made with the archive.
    let data = std::path::absolute(&places.data_dir)?;
    if places.secret_key_file.is_some()
        && let Some(above) = std::path::absolute(&path)?.parent()
        && !above.starts_with(data)
    {
        ensure!(
            above.is_dir(),
            "{}: there is no directory {}, so no secret key can be made in it",
            path.display(),
            above.display()
        );
    }
    Ok(())
}

fn check_url(places: &Places, url: &Url) -> anyhow::Result<()> {
    let bare = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    ensure!(
        places.objects_url.as_ref().map(bare) != Some(bare(url)),
        "KEYRING_URL must not be the place of the objects: who can read one must not find the other there"
    );
    match url.scheme() {
        "s3" => Objects::check_form(url, &places.s3.access()).context("KEYRING_URL"),
        _ => directory(url).map(drop),
    }
}

fn directory(url: &Url) -> anyhow::Result<PathBuf> {
    let path = (url.scheme() == "file").then(|| url.to_file_path().ok());
    path.flatten().context(
        "the keyring is kept at file:///an/absolute/directory or s3://bucket/prefix; KEYRING_URL is another kind of address",
    )
}

fn open_directory(path: &Path) -> anyhow::Result<Directory> {
    Directory::open(path).with_context(|| format!("{}", path.display()))
}

/// A keyring in S3: each key an object of its own, destroyed with all its versions.
#[derive(Debug)]
struct Bucket(Objects);

/// Keys written, or destroyed, at the same time.
const AT_ONCE: usize = 16;

fn named(id: Uuid) -> String {
    format!("keys/{}", id.simple())
}

fn trouble(error: objects::Error) -> Error {
    Error::Io(io::Error::other(error))
}

impl Shelf for Bucket {
    fn put<'a>(&'a self, keys: &'a [(Uuid, Vec<u8>)]) -> BoxFuture<'a, Result<(), Error>> {
        let bucket = &self.0;
        let written = stream::iter(keys).map(move |(id, key)| async move {
            let written = bucket.write_named(&named(*id), key.clone()).await;
            written.map_err(trouble)
        });
        Box::pin(written.buffer_unordered(AT_ONCE).try_collect())
    }

    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<u8>, Error>> {
        Box::pin(async move {
            let found = self.0.read_named(&named(id)).await;
            found.map_err(trouble)?.ok_or(Error::NoKey)
        })
    }

    fn destroy<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), Error>> {
        let purged = stream::iter(ids).map(move |id| async move {
            let purged = self.0.purge_named(&named(*id)).await;
            purged.map_err(trouble)
        });
        Box::pin(purged.buffer_unordered(AT_ONCE).try_collect())
    }
}
