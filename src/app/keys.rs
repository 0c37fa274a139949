//! The secret key and the keyring, found for a command or made for a new archive.

use std::{path::Path, sync::Arc};

use anyhow::{Context, bail};
use sqlx::PgConnection;
use url::Url;

use crate::{
    config::Places,
    records::keys,
    seal::{Cipher, Directory, Error, Keyring, SecretKey, Shelf},
};

/// Opens the keyring that belongs to this database.
///
/// A secret key is made only for an archive that holds nothing yet, and only where the database is the embedded one:
/// several replicas on one database have to be given the same.
///
/// # Errors
/// There is no secret key, or what is archived is sealed under another one, or the keyring is not that of this
/// database, or cannot be reached.
pub async fn open(places: &Places, db: &mut PgConnection) -> anyhow::Result<Keyring> {
    let used = keys::newest_in_use(db).await?;
    let path = match &places.secret_key_file {
        Some(path) => path.clone(),
        None => places.data_dir.join("secret.key"),
    };
    let secret = if used.is_none() && places.database_url.is_none() {
        SecretKey::load_or_make(&path)
    } else {
        SecretKey::load(&path)
    };
    let secret = secret.with_context(|| format!("{}", path.display()))?;
    let keyring = Keyring::new(&secret, shelf(places)?, Cipher::Sealed);
    match used {
        None => {}
        Some(id) => match keyring.find(id).await {
            Ok(_) => {}
            Err(Error::Unreadable) => bail!(
                "what is archived is sealed under another secret key than that in {}",
                path.display()
            ),
            Err(Error::NoKey) => bail!(
                "the keyring is not the one of this database: check KEYRING_URL, or restore it. Without it nothing that is \
                 archived can be read"
            ),
            Err(error) => return Err(error.into()),
        },
    }
    Ok(keyring)
}

/// `KEYRING_URL`, or the directory `keyring` in `DATA_DIR`.
fn shelf(places: &Places) -> anyhow::Result<Arc<dyn Shelf>> {
    let directory = match &places.keyring_url {
        None => std::path::absolute(places.data_dir.join("keyring"))?,
        Some(url) => directory(url)?,
    };
    Ok(Arc::new(open_directory(&directory)?))
}

fn directory(url: &Url) -> anyhow::Result<std::path::PathBuf> {
    let path = (url.scheme() == "file").then(|| url.to_file_path().ok());
    path.flatten()
        .context("the keyring is kept at file:///an/absolute/directory; KEYRING_URL is another kind of address")
}

fn open_directory(path: &Path) -> anyhow::Result<Directory> {
    Directory::open(path).with_context(|| format!("{}", path.display()))
}
