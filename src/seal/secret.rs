//! The one secret of an installation: 32 bytes in a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Error;

/// The secret key. Wraps the keyring and the channels' secrets; other keys are derived from it.
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// Reads the 32 bytes of `path`.
    ///
    /// # Errors
    /// There is no such file, it cannot be read, or it does not have exactly 32 bytes.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::Secret(
                    "there is no such file. Restore it: without it nothing that is archived can be read. \
                     For a new archive, make one: head -c 32 /dev/urandom",
                ));
            }
            Err(error) => return Err(error.into()),
        };
        let bytes = <[u8; 32]>::try_from(bytes.as_slice())
            .map_err(|_| Error::Secret("it must have exactly 32 bytes"))?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// As [`SecretKey::load`]; where there is no such file it is made, readable by its owner alone, and synced.
    ///
    /// # Errors
    /// As [`SecretKey::load`], or the file cannot be made.
    pub fn load_or_make(path: &Path) -> Result<Self, Error> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match made {
            Ok(mut file) => {
                let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
                file.write_all(bytes.as_slice())?;
                file.sync_all()?;
                sync_parent(path)?;
                Ok(Self(bytes))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(error.into()),
        }
    }

    /// A secret of its own, kept nowhere: for `demo` and tests.
    pub fn random() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// A key for one purpose: HMAC-SHA256 of `label`. Says nothing of the secret or of other labels' keys.
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        // HMAC takes a key of any length.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_slice()) {
            mac.update(label.as_bytes());
            bytes.copy_from_slice(&mac.finalize().into_bytes());
        }
        bytes
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

/// Makes a name in the directory of `path` last.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        assert!(matches!(SecretKey::load(&path), Err(Error::Secret(_))));
        let made = SecretKey::load_or_make(&path).unwrap();
        let found = SecretKey::load_or_make(&path).unwrap();
        assert_eq!(made.derive("x"), found.derive("x"));
        assert_ne!(made.derive("x"), made.derive("y"));
        assert_ne!(made.derive("x"), SecretKey::random().derive("x"));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_of_another_length_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        for wrong in [0, 31, 33, 64] {
            fs::write(&path, vec![7; wrong]).unwrap();
            assert!(matches!(
                SecretKey::load_or_make(&path),
                Err(Error::Secret(_))
            ));
        }
    }
}
