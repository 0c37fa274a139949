//! Checks that the objects, the keyring and the secret key are in different places. Objects are sealed with keys of the
//! keyring, and these with the secret key: who may read or restore one of the three must not get another with it.

use std::path::{Path, PathBuf, absolute};

use anyhow::ensure;
use url::Url;

use crate::config::StorageConfig;

/// Checks the three places. Has no side effects and uses no network.
///
/// # Errors
/// One of the places is another one, or inside of it.
pub fn check(storage: &StorageConfig) -> anyhow::Result<()> {
    let objects = place(storage, storage.objects_url.as_ref(), "objects")?;
    let keyring = place(storage, storage.keyring_url.as_ref(), "keyring")?;
    for (outer, inner) in [(&objects, &keyring), (&keyring, &objects)] {
        ensure!(
            !inner.starts_with(outer.as_str()),
            "the keyring must not be where the objects are, nor inside of their place or around it: access to one must \
             not give access to the other. Check OBJECTS_URL and KEYRING_URL, which are `objects` and `keyring` in \
             DATA_DIR if they are not set. docs/settings.md says how to move a keyring that is in use"
        );
    }
    let secret = storage.secret_key_file.clone();
    let secret = secret.unwrap_or_else(|| storage.data_dir.join("secret.key"));
    let secret = as_place(&secret)?;
    for (name, outer) in [("OBJECTS_URL", &objects), ("KEYRING_URL", &keyring)] {
        ensure!(
            !secret.starts_with(outer.as_str()),
            "the file of SECRET_KEY_FILE must not be inside {name}: whoever may read that place could read the key"
        );
    }
    Ok(())
}

/// A URL that ends in `/`, so that a place inside another one begins with it.
fn place(storage: &StorageConfig, url: Option<&Url>, default: &str) -> anyhow::Result<String> {
    match url {
        None => as_place(&storage.data_dir.join(default)),
        Some(url) => match url.to_file_path() {
            Ok(path) if url.scheme() == "file" => as_place(&path),
            _ => {
                let parts = url.path().split('/').filter(|part| !part.is_empty());
                let bucket = url.host_str().unwrap_or_default();
                let parts: Vec<_> = std::iter::once(bucket).chain(parts).collect();
                Ok(format!("{}://{}/", url.scheme(), parts.join("/")))
            }
        },
    }
}

fn as_place(path: &Path) -> anyhow::Result<String> {
    Ok(format!("file://{}/", resolve(path)?.display()))
}

/// The path without symbolic links, as far as it exists.
fn resolve(path: &Path) -> anyhow::Result<PathBuf> {
    let path = absolute(path)?;
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            // `join` of nothing would add a slash.
            let rest = path.strip_prefix(ancestor)?;
            return Ok(real.components().chain(rest.components()).collect());
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        storage: StorageConfig,
    }

    fn checked(data_dir: &Path, settings: &[&str]) -> bool {
        let data_dir = data_dir.display().to_string();
        let args = ["x", "--data-dir", &data_dir].into_iter();
        let flags = Flags::parse_from(args.chain(settings.iter().copied()));
        check(&flags.storage).is_ok()
    }

    #[test]
    fn no_place_is_another_one_or_inside_of_it() {
        let home = tempfile::tempdir().expect("a directory");
        let data = home.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        std::os::unix::fs::symlink(&data, home.path().join("link")).expect("a link");
        let url = |path: &str| format!("file://{}/{path}", home.path().display());
        let (objects, keyring) = ("--objects-url", "--keyring-url");
        assert!(checked(&data, &[]));
        assert!(checked(&data, &[objects, &url("o"), keyring, &url("k")]));
        assert!(checked(
            &data,
            &[objects, &url("keys2"), keyring, &url("keys")]
        ));
        assert!(checked(&data, &[objects, "s3://b/o", keyring, "s3://b/k"]));
        for wrong in [
            [objects, "s3://b", keyring, "s3://b/k"],
            [objects, "s3://b/x/", keyring, "s3://b/x"],
            [objects, "s3://b//x", keyring, "s3://b/x"],
            [objects, &url("o"), keyring, &url("o/k")],
            [objects, &url("k/o"), keyring, &url("k")],
            [keyring, &url("data/objects"), objects, &url("data/objects")],
            [keyring, &url("link/new"), objects, &url("data/new")],
        ] {
            assert!(!checked(&data, &wrong), "{wrong:?}");
        }
        assert!(!checked(&data, &[keyring, &url("data/objects")]));
        assert!(!checked(&data, &[objects, &url("data/keyring")]));
        assert!(!checked(&data, &[objects, &url("data")]));
        let secret = |path: &str| home.path().join(path).display().to_string();
        assert!(!checked(
            &data,
            &["--secret-key-file", &secret("data/objects/key")]
        ));
        assert!(!checked(
            &data,
            &["--secret-key-file", &secret("data/keyring/key")]
        ));
        assert!(checked(&data, &["--secret-key-file", &secret("data/key")]));
    }
}
