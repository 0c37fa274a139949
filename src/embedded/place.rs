//! Finds or makes the database's directory: `DATA_DIR/postgres`, or, if PostgreSQL's account cannot enter `DATA_DIR`
//! (for example, below `/root`), a directory elsewhere that `DATA_DIR/postgres` links to.
//!
//! Root makes directories and gives them away through open handles only: a name could lead to another one a moment
//! later.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, fchmod, fchown, fstat,
    mkdirat, open, openat, openat2, readlinkat, statat, symlinkat,
};
use sha2::{Digest, Sha256};

use super::{Account, EmbeddedError, owned_directory::OwnedDirectory, owner::Owner, safe_path};

/// The longest path of a unix socket in bytes, and the name that PostgreSQL adds to the directory.
const LONGEST_SOCKET: usize = 107;
const SOCKET_NAME: &str = "/.s.PGSQL.5432";

/// The database's directory in `DATA_DIR`, or the link to it.
pub(super) const NAME: &str = "postgres";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// An open data directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    pub(super) handle: OwnedFd,
    owner: u32,
}

impl DataDir {
    /// Opens `path`, and makes it if absent. Others may pass through a new one (the server has to) but not list it.
    ///
    /// # Errors
    /// It cannot be made or opened, or root owns it inside a directory of another account.
    pub fn open(path: &Path) -> Result<Self, EmbeddedError> {
        let opened = || {
            let (path, owner_above) = match geteuid().is_root() {
                // The path has no links from here on: a link that is found now was put there since, and is refused.
                true => safe_path::resolve_trusted(path)?,
                false => {
                    safe_path::make_dirs(path)?;
                    (path.canonicalize()?, 0)
                }
            };
            match owner_above {
                0 => safe_path::make_dirs(&path)?,
                // Make it as the owner of the directory above, who could replace a directory that root makes there.
                uid => safe_path::account(uid)?.run_as_account(|| safe_path::make_dirs(&path))?,
            }
            let handle = openat2(
                CWD,
                &path,
                DIRECTORY,
                Mode::empty(),
                ResolveFlags::NO_SYMLINKS,
            )?;
            let owner = fstat(&handle)?.st_uid;
            if owner == 0 && owner_above != 0 {
                return Err(io::Error::other(
                    "root owns it, but another account owns the directory above: give it to that account, or name another directory",
                ));
            }
            Ok(Self {
                path,
                handle,
                owner,
            })
        };
        opened().map_err(EmbeddedError::in_data_dir(path, path))
    }

    /// A path to it that is valid for this process as long as this value lives, also after the process has switched to
    /// an account that may not enter the directories above.
    pub fn held_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.handle.as_raw_fd()).into()
    }

    /// Its path, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The user id of its owner.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// Reads again who owns it.
    ///
    /// # Errors
    /// Its owner cannot be read.
    pub(super) fn look_again(&mut self) -> Result<(), EmbeddedError> {
        let stat = fstat(&self.handle).map_err(io::Error::from);
        self.owner = stat.map_err(EmbeddedError::file(&self.path))?.st_uid;
        Ok(())
    }

    /// Does `work` as the owner, if this process is root and the owner is not.
    pub(super) fn run_as_owner<T: Send>(
        &self,
        work: impl FnOnce(&OwnedFd) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        match self.owner {
            uid if uid != 0 && geteuid().is_root() => {
                let account = Account::of_uid(uid);
                let account = account.ok_or_else(|| io::Error::other("its owner has no name"))?;
                account.run_as_account(|| work(&self.handle))
            }
            _ => work(&self.handle),
        }
    }

    /// Opens a lock file in it, and makes the file if absent.
    pub(super) fn lock_file(&self, name: &str) -> Result<File, EmbeddedError> {
        let opened = self.run_as_owner(|dir| {
            let flags = OFlags::RDWR
                | OFlags::CREATE
                | OFlags::NOFOLLOW
                | OFlags::NONBLOCK
                | OFlags::CLOEXEC;
            let file = File::from(openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?);
            match file.metadata()?.is_file() {
                true => Ok(file),
                false => Err(io::Error::other("it is not a regular file")),
            }
        });
        opened.map_err(EmbeddedError::in_data_dir(&self.path, self.path.join(name)))
    }
}

/// True if there is a database in `data_dir`, or one that this process may not see.
pub(super) fn has_database(data_dir: &Path) -> bool {
    let version = data_dir.join(NAME).join("data/PG_VERSION");
    !fs::metadata(version).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Opens the database's own directory, and makes it if absent: in `data`, or in `elsewhere` if PostgreSQL's account
/// cannot enter `data`. `service` is the account that will connect; `None`: the account of this process.
pub(super) fn base(
    data: &DataDir,
    elsewhere: &Path,
    service: Option<&Account>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<OwnedDirectory, EmbeddedError> {
    let link = data.path.join(NAME);
    let there = statat(&data.handle, NAME, AtFlags::SYMLINK_NOFOLLOW);
    let err = || EmbeddedError::file(&link);
    match there {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            linked(data, elsewhere, service)
        }
        Ok(_) => {
            let handle = openat(&data.handle, NAME, DIRECTORY, Mode::empty());
            let handle =
                handle.map_err(|error| EmbeddedError::in_database_dir(&link)(error.into()))?;
            existing(handle, link, data, service)
        }
        Err(rustix::io::Errno::NOENT) => {
            let owner = Owner::for_new()?;
            if owner.can_enter(&data.path) {
                let handle = give_new(&data.handle, NAME, &owner, service);
                return Ok(OwnedDirectory::new(handle.map_err(err())?, link, owner));
            }
            let name = name_of(&data.path);
            say(&format!(
                "PostgreSQL can't run as root, and user {} may not enter {}: the database goes to {}",
                owner.account().name(),
                data.path.display(),
                elsewhere.join(&name).display()
            ));
            let directory = in_elsewhere(data, elsewhere, service)?;
            let linked = data.run_as_owner(|dir| Ok(symlinkat(directory.path(), dir, NAME)?));
            linked.map_err(err())?;
            Ok(directory)
        }
        Err(error) => Err(err()(error.into())),
    }
}

/// Opens the database that the link `DATA_DIR/postgres` leads to. Root follows the link only to the path in `elsewhere`
/// where root itself puts the database: another account may own the directory that contains the link.
fn linked(
    data: &DataDir,
    elsewhere: &Path,
    service: Option<&Account>,
) -> Result<OwnedDirectory, EmbeddedError> {
    let link = data.path.join(NAME);
    let err = || EmbeddedError::file(&link);
    if !geteuid().is_root() {
        let opened = || {
            let path = link.canonicalize()?;
            Ok((open(&path, DIRECTORY, Mode::empty())?, path))
        };
        let (handle, path) = opened().map_err(err())?;
        return existing(handle, path, data, service);
    }
    let target = readlinkat(&data.handle, NAME, vec![]);
    let target = target.map_err(|error| err()(error.into()))?;
    let known = elsewhere.join(name_of(&data.path));
    if target.as_bytes() != known.as_os_str().as_encoded_bytes() {
        return Err(EmbeddedError::OddLink { link, known });
    }
    in_elsewhere(data, elsewhere, service)
}

/// Opens the database of `data` in `elsewhere`, or makes it. Its name is derived from the path of `data`, so that the
/// same database is found again if the link is lost.
fn in_elsewhere(
    data: &DataDir,
    elsewhere: &Path,
    service: Option<&Account>,
) -> Result<OwnedDirectory, EmbeddedError> {
    let name = name_of(&data.path);
    let path = elsewhere.join(&name);
    let err = || EmbeddedError::file(elsewhere);
    let opened = || {
        safe_path::make_dirs(elsewhere)?;
        let parent = open(elsewhere, DIRECTORY, Mode::empty())?;
        let stat = fstat(&parent)?;
        match stat.st_uid == 0 && stat.st_mode & 0o022 == 0 {
            true => Ok(parent),
            false => Err(io::Error::other(
                "it has to belong to root, and no other account may write to it",
            )),
        }
    };
    let parent = opened().map_err(err())?;
    match openat(&parent, &*name, DIRECTORY, Mode::empty()) {
        Ok(handle) => existing(handle, path, data, service),
        Err(rustix::io::Errno::NOENT) => {
            let owner = Owner::for_new()?;
            let handle = give_new(&parent, &name, &owner, service).map_err(err())?;
            check_can_enter(OwnedDirectory::new(handle, path, owner))
        }
        Err(error) => Err(err()(error.into())),
    }
}

/// Takes a directory that exists: it has to belong to an account that PostgreSQL may run as.
fn existing(
    handle: OwnedFd,
    path: PathBuf,
    data: &DataDir,
    service: Option<&Account>,
) -> Result<OwnedDirectory, EmbeddedError> {
    let err = || EmbeddedError::file(&path);
    let stat = fstat(&handle).map_err(|error| err()(error.into()))?;
    let service_uid = service.map(Account::uid);
    let trusted: Vec<u32> = service_uid.into_iter().chain([data.owner]).collect();
    let owner = match stat.st_uid {
        // An empty volume is mounted here, or an earlier start failed before it gave the directory away.
        0 if geteuid().is_root() && data.owner == 0 && is_empty(&handle).map_err(err())? => {
            Owner::for_new()?
        }
        uid => Owner::existing(&path, uid, &trusted)?,
    };
    give(&handle, &owner, service).map_err(err())?;
    check_can_enter(OwnedDirectory::new(handle, path, owner))
}

fn check_can_enter(directory: OwnedDirectory) -> Result<OwnedDirectory, EmbeddedError> {
    directory.owner().check_can_enter(directory.path())?;
    Ok(directory)
}

fn is_empty(dir: &OwnedFd) -> io::Result<bool> {
    for entry in rustix::fs::Dir::read_from(dir)? {
        if ![c".", c"..", c"lost+found"].contains(&entry?.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a new directory and gives it to `owner`. The account that owns the parent could put another directory in its
/// place meanwhile; root would not own that, or its mode or content would differ, and it is refused.
pub(super) fn give_new(
    parent: &OwnedFd,
    name: &str,
    owner: &Owner,
    service: Option<&Account>,
) -> io::Result<OwnedFd> {
    mkdirat(parent, name, Mode::RWXU)?;
    let handle = openat(parent, name, DIRECTORY, Mode::empty())?;
    let made: Stat = fstat(&handle)?;
    if made.st_uid != geteuid().as_raw() || made.st_mode & 0o7777 != 0o700 || !is_empty(&handle)? {
        return Err(io::Error::other("another directory has taken its place"));
    }
    give(&handle, owner, service)?;
    Ok(handle)
}

/// Gives a directory to `owner`. No other account may enter it but `service`, which may pass through it to the socket.
fn give(dir: &OwnedFd, owner: &Owner, service: Option<&Account>) -> io::Result<()> {
    let account = owner.account();
    let other = service.filter(|service| service.uid() != account.uid());
    if owner.switches_account() {
        let group = other.map_or(account.gid(), Account::gid);
        let group = Some(Gid::from_raw(group));
        fchown(dir, Some(Uid::from_raw(account.uid())), group)?;
    }
    let mode = if other.is_some() { 0o710 } else { 0o700 };
    Ok(fchmod(dir, Mode::from_raw_mode(mode))?)
}

/// Opens the directory of the unix socket: the database's own, or a new one in `/run` or `/tmp` if the path would be
/// too long for the kernel or needs quoting in PostgreSQL's settings.
pub(super) fn socket_dir(
    base: &OwnedDirectory,
    service: Option<&Account>,
) -> Result<OwnedDirectory, EmbeddedError> {
    let plain = base.path().to_str().is_some_and(|path| {
        path.len() + SOCKET_NAME.len() <= LONGEST_SOCKET
            && path
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    });
    if plain {
        return Ok(base.clone());
    }
    let owner = base.owner();
    let run = Path::new("/run");
    let parent = if owner.switches_account() && run.is_dir() {
        run
    } else {
        Path::new("/tmp")
    };
    let name = format!("line-chat-archive-{}", name_of(base.path()));
    let dir = parent.join(&name);
    let opened = || {
        // /tmp itself may be a link that belongs to the system, so it is followed.
        let parent = open(parent, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        match give_new(&parent, &name, owner, service) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
        // In /tmp another account may have made a directory of this name first.
        let handle = openat(&parent, &*name, DIRECTORY, Mode::empty())?;
        let uid = fstat(&handle)?.st_uid;
        if uid != owner.account().uid() {
            return Err(io::Error::other(format!(
                "it belongs to user id {uid}; remove it"
            )));
        }
        give(&handle, owner, service)?;
        Ok(handle)
    };
    let handle = opened().map_err(EmbeddedError::file(&dir))?;
    Ok(OwnedDirectory::new(handle, dir, owner.clone()))
}

/// A short name that is always the same for the same path.
fn name_of(path: &Path) -> String {
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Makes a directory of this name for `owner` in the directory for temporary files, or in `/tmp` if that account cannot
/// enter it.
pub(super) fn temporary(
    name: &str,
    owner: Owner,
    service: Option<&Account>,
) -> Result<OwnedDirectory, EmbeddedError> {
    let temp = std::env::temp_dir();
    let parent = match owner.can_enter(&temp) {
        true => temp,
        false => "/tmp".into(),
    };
    let path = parent.join(name);
    let made = || {
        let parent = open(&parent, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        give_new(&parent, name, &owner, service)
    };
    let handle = made().map_err(EmbeddedError::file(&path))?;
    Ok(OwnedDirectory::new(handle, path, owner))
}
