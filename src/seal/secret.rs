//! The one secret of an installation: 32 bytes in a file.

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

const ABSENT: &str = "there is no such file. Restore it: without it nothing that is archived can be read. For a new archive, \
                      make one: line-chat-archive keys new FILE";
const LENGTH: &str = "it must have exactly 32 bytes";
const NOT_REGULAR: &str = "it is not a regular file";

/// The secret key. Wraps the keyring and the channels' secrets; other keys are derived from it.
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// Looks whether the file at `path` has the form of a secret key, without reading it: a start looks before it is the
    /// account that will.
    ///
    /// # Errors
    /// There is no such file, or it is not a regular one of exactly 32 bytes.
    pub fn check_form(path: &Path) -> Result<(), Error> {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => Err(Error::Secret(NOT_REGULAR)),
            Ok(found) if found.len() != 32 => Err(Error::Secret(LENGTH)),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::Secret(ABSENT)),
            Err(error) => Err(Error::SecretFile(error)),
        }
    }

    /// Reads the 32 bytes of `path`.
    ///
    /// # Errors
    /// There is no such file, it cannot be read, does not have exactly 32 bytes, belongs to another account, or can be
    /// opened by one.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let opened = OpenOptions::new()
            .read(true)
            // A FIFO would wait for its other end.
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

    /// As [`SecretKey::load`]; where there is no such file it is made, readable by its owner alone, and synced.
    ///
    /// # Errors
    /// As [`SecretKey::load`], or the file cannot be made.
    pub fn load_or_make(path: &Path) -> Result<Self, Error> {
        // Looked for first: where the file is there, its directory need not be writable for this process.
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

    /// Makes a secret key in a file that is not there yet, readable by its owner alone, and synced. The owner is this
    /// process's account, or for root to say: `owner`, a user id and a group id.
    ///
    /// # Errors
    /// The file is there already, or cannot be made.
    pub fn make(path: &Path, owner: Option<(u32, u32)>) -> Result<Self, Error> {
        let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
        write_new(path, bytes.as_slice(), owner).map_err(Error::SecretFile)?;
        Ok(Self(bytes))
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

/// Writes a file that is not there yet: whole before it has its name. Of two processes that start at once, the later reads
/// what the other has made.
fn write_new(path: &Path, bytes: &[u8], owner: Option<(u32, u32)>) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".secret-key-")
        .tempfile_in(parent.unwrap_or(Path::new(".")))
        // Its text names the temporary file, which nobody knows.
        .map_err(|error| error.kind())?;
    if let Some((uid, gid)) = owner {
        fchown(file.as_file(), Some(uid), Some(gid))?;
    }
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_parent(path)
}

/// The rule that libpq has for private keys: its owner alone, or a file of root's that a group may read.
fn closed_to_others(file: &fs::Metadata) -> Result<(), Error> {
    let us = rustix::process::geteuid().as_raw();
    if !file.is_file() {
        return Err(Error::Secret(NOT_REGULAR));
    }
    match (file.uid(), file.mode()) {
        (owner, mode) if owner == us && mode & 0o077 == 0 => Ok(()),
        (0, mode) if us != 0 && mode & 0o037 == 0 => Ok(()),
        (owner, _) if owner == us || owner == 0 => Err(Error::Secret(
            "other accounts than its owner can open it: take that away (chmod 600). If one of them may have read it, all \
             that is archived may have been read",
        )),
        _ => Err(Error::Secret(
            "it belongs to another account than this process works as, which could replace it: give it to that one \
             (chown), or to root with a group that this process is in (mode 640)",
        )),
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
