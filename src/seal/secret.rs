//! The secret key of an installation: 32 bytes in a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::Path,
};

use hmac::{Hmac, KeyInit, Mac};
use rustix::fs::OFlags;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Error;

const ABSENT: &str = "there is no such file. Restore it: nothing in the archive can be read without it. For a new archive, make one: line-chat-archive keys new FILE";
const LENGTH: &str = "it must have exactly 32 bytes";
const NOT_REGULAR: &str = "it is not a regular file";

/// The secret key. It wraps the keyring and the secrets of channels; other keys are derived from it.
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// Checks that the file at `path` has the form of a secret key, without reading it. `serve` checks this at its
    /// start, when the process does not yet run as the account that will read the file.
    ///
    /// # Errors
    /// There is no such file, it cannot be looked up, or it is not a regular file of exactly 32 bytes.
    pub fn check_form(path: &Path) -> Result<(), Error> {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => Err(Error::Secret(NOT_REGULAR)),
            Ok(found) if found.len() != 32 => Err(Error::Secret(LENGTH)),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::Secret(ABSENT)),
            Err(error) => Err(Error::SecretFile(error)),
        }
    }

    /// Reads the secret key from the file at `path`.
    ///
    /// # Errors
    /// The file does not exist, cannot be read, is not a regular file of exactly 32 bytes, belongs to another account
    /// than this process's or root, or can be opened by other accounts. A group may read a file of root's.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let opened = OpenOptions::new()
            .read(true)
            // Without this flag, opening a FIFO would block until its other end is opened.
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::Secret(ABSENT)),
            Err(error) => return Err(Error::SecretFile(error)),
        };
        closed_to_others(&file.metadata().map_err(Error::SecretFile)?)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        let read = file.take(33).read_to_end(&mut bytes);
        read.map_err(Error::SecretFile)?;
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| Error::Secret(LENGTH))?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// As [`SecretKey::load`]. If the file does not exist, it is created, readable by its owner only, and synced.
    ///
    /// # Errors
    /// As [`SecretKey::load`], or the file cannot be created.
    pub fn load_or_make(path: &Path) -> Result<Self, Error> {
        // Check first: if the file exists, its directory need not be writable for this process.
        if path.try_exists().map_err(Error::SecretFile)? {
            return Self::load(path);
        }
        match Self::make(path, None) {
            Err(Error::SecretFile(error)) if error.kind() == ErrorKind::AlreadyExists => {
                Self::load(path)
            }
            made => made,
        }
    }

    /// Creates a secret key in a new file, readable by its owner only, and synced. `owner` is a user id and a group id,
    /// which only root can set. `None`: the file belongs to the account of this process.
    ///
    /// # Errors
    /// The file exists already, or cannot be created.
    pub fn make(path: &Path, owner: Option<(u32, u32)>) -> Result<Self, Error> {
        let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
        write_new(path, bytes.as_slice(), owner).map_err(Error::SecretFile)?;
        Ok(Self(bytes))
    }

    /// A random secret key that is not stored anywhere: for `demo` and tests.
    pub fn random() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// A key for one purpose: HMAC-SHA256 of `label` under the secret key. It reveals nothing about the secret key or
    /// the keys of other labels.
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

/// Writes a new file, complete before it gets its name. Of two processes that start at the same time, the later one
/// reads the key that the other has made.
fn write_new(path: &Path, bytes: &[u8], owner: Option<(u32, u32)>) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".secret-key-")
        .tempfile_in(parent.unwrap_or(Path::new(".")))
        // The error's text names the temporary file, which means nothing to its reader.
        .map_err(|error| error.kind())?;
    if let Some((uid, gid)) = owner {
        fchown(file.as_file(), Some(uid), Some(gid))?;
    }
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_parent(path)
}

/// libpq's rule for private key files: open to its owner only, or a file of root's that a group may read.
fn closed_to_others(file: &fs::Metadata) -> Result<(), Error> {
    let us = rustix::process::geteuid().as_raw();
    if !file.is_file() {
        return Err(Error::Secret(NOT_REGULAR));
    }
    match (file.uid(), file.mode()) {
        (owner, mode) if owner == us && mode & 0o077 == 0 => Ok(()),
        (0, mode) if us != 0 && mode & 0o037 == 0 => Ok(()),
        (owner, _) if owner == us || owner == 0 => Err(Error::Secret(
            "other accounts than its owner can open it: run chmod 600. An account that has read it may have read the whole archive",
        )),
        _ => Err(Error::Secret(
            "it belongs to another account, which could replace it. Run chown to give it to the account of this process. Or give it to root, with a group of this process and mode 640",
        )),
    }
}

/// Syncs the directory of `path`, so that a name that was created or removed in it is durable.
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
    fn a_secret_that_another_account_can_open_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        SecretKey::make(&path, None).unwrap();
        for mode in [0o644, 0o640, 0o660, 0o604, 0o601, 0o620, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = SecretKey::load(&path).unwrap_err().to_string();
            assert!(refused.contains("chmod 600"), "{mode:o}: {refused}");
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            SecretKey::load(&path).unwrap();
        }
        if rustix::process::geteuid().is_root() {
            fchown(File::open(&path).unwrap(), Some(65534), None).unwrap();
            let refused = SecretKey::load(&path).unwrap_err().to_string();
            assert!(refused.contains("chown"), "{refused}");
        } else {
            eprintln!("not root: a file of another account cannot be made, not tested");
        }
    }

    #[test]
    fn a_secret_is_made_only_where_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(
            SecretKey::make(&path, None).is_err(),
            "a link is not followed"
        );
        fs::remove_file(&path).unwrap();
        let made = SecretKey::make(&path, None).unwrap();
        assert!(SecretKey::make(&path, None).is_err());
        assert_eq!(
            SecretKey::load(&path).unwrap().derive("x"),
            made.derive("x")
        );
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo"), 0o600.into()).unwrap();
        assert!(
            SecretKey::load(&dir.path().join("fifo")).is_err(),
            "and does not hang"
        );
    }

    #[test]
    fn a_file_of_another_length_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        for wrong in [0, 31, 33, 64] {
            fs::write(&path, vec![7; wrong]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(
                SecretKey::load_or_make(&path),
                Err(Error::Secret(_))
            ));
        }
    }
}
