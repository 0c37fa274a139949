//! Gives up root: a command that root starts opens the port and starts PostgreSQL, then continues as the service's
//! account.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf, absolute},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use nix::unistd::geteuid;
use rustix::{
    fs::{
        Access, CWD, Dir, Gid, Mode, OFlags, ResolveFlags, Uid, access, fchown, fstat, mkdirat,
        openat, openat2,
    },
    io::Errno,
};
use url::Url;

use crate::{
    config::StorageConfig,
    embedded::{Account, DataDir, service_account},
};

/// Directory with one entry for each file descriptor of this process.
const FD_DIRECTORY: &str = "/proc/self/fd/";

/// If root runs the command, finds the account that the command continues as, and makes the data directory. It does not
/// give up root yet: [`give_up_root`] does.
///
/// If the account cannot enter the data directory (for example, one below `/root`), the directory is held open, and
/// `data_dir` becomes a path through the open handle.
///
/// # Errors
/// `RUN_AS` is not an account of this machine, is not the owner of this data directory, or is another account while
/// this process is not root. Or the data directory cannot be made or used.
pub fn prepare(storage: &mut StorageConfig) -> anyhow::Result<()> {
    if !is_root(storage)? {
        return Ok(());
    }
    let data = DataDir::open(&storage.data_dir)?;
    let directory = Some((data.path(), data.owner()));
    let Some(account) = service_account(directory, storage.run_as.as_deref())? else {
        warn_of_root();
        return Ok(());
    };
    data.require_empty_or_archive()?;
    if let Some(path) = &mut storage.secret_key_file {
        *path = absolute(&*path)?;
    }
    storage.data_dir = data.path().to_owned();
    if !account.can_enter(data.path()) {
        storage.data_dir = data.held_path();
        storage.data_dir_handle = Some(Arc::new(data));
    }
    storage.service = Some(account);
    Ok(())
}

/// As [`prepare`], for a command that has no data directory.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_demo(storage: &mut StorageConfig) -> anyhow::Result<()> {
    if is_root(storage)? {
        storage.service = service_account(None, storage.run_as.as_deref())?;
        if storage.service.is_none() {
            warn_of_root();
        }
    }
    Ok(())
}

/// The account that the service runs as if root starts it; `None`: the account of this process. Changes nothing.
///
/// # Errors
/// As [`prepare`].
pub fn account(storage: &StorageConfig) -> anyhow::Result<Option<Account>> {
    if !is_root(storage)? {
        return Ok(None);
    }
    let owner = fs::metadata(&storage.data_dir).map_or(0, |found| found.uid());
    let path = absolute(&storage.data_dir)?;
    let directory = Some((path.as_path(), owner));
    Ok(service_account(directory, storage.run_as.as_deref())?)
}

fn is_root(storage: &StorageConfig) -> anyhow::Result<bool> {
    if geteuid().is_root() {
        return Ok(true);
    }
    if let Some(wanted) = &storage.run_as {
        let is_it = |us: Account| us.name() == wanted || us.uid().to_string() == *wanted;
        ensure!(
            Account::current().is_some_and(is_it),
            "RUN_AS is {wanted}, and only root can become another account: start this as root or as {wanted}, or unset \
             RUN_AS"
        );
    }
    Ok(false)
}

fn warn_of_root() {
    tracing::warn!(
        "RUN_AS is root: everything but PostgreSQL runs as root. Create an unprivileged account (useradd --system \
         line-chat-archive) to limit the damage of an attack"
    );
}

/// Warns that PostgreSQL could read the secret key, if it runs as the same account as the service.
pub fn warn_of_shared_account(storage: &StorageConfig, postgres: &Account) {
    let shared = |service: &&Account| service.uid() == postgres.uid();
    if let Some(service) = storage.service.as_ref().filter(shared) {
        tracing::warn!(
            account = service.name(),
            "PostgreSQL and the service work as the same account, so that PostgreSQL could read the secret key: make an \
             account line-chat-archive (useradd --system) and make it the owner of DATA_DIR and everything in it except \
             the directory postgres (chown -R)"
        );
    }
}

/// Gives the data directory to the service's account, and switches this process to that account permanently.
///
/// # Errors
/// Root cannot be given up, or the account may not use one of the configured files and directories.
pub fn give_up_root(storage: &StorageConfig) -> anyhow::Result<()> {
    let Some(account) = &storage.service else {
        return Ok(());
    };
    DataDir::open(&storage.data_dir)?.hand_over(account)?;
    account.become_for_good()?;
    for (setting, path, wanted) in configured_paths(storage) {
        let nearest_existing = path.ancestors().find(|path| !is_absent(path));
        let nearest_existing = nearest_existing.unwrap_or(Path::new("/"));
        let exists = nearest_existing == path;
        // A missing path will be made, so the directory above it has to be writable.
        let wanted = match exists {
            true => wanted,
            false => Access::WRITE_OK | Access::EXEC_OK,
        };
        if let Err(errno) = access(nearest_existing, wanted) {
            let name = account.name();
            let path = path.display();
            // An account that lacks no right must not be told to take some.
            if !matches!(errno, Errno::ACCESS | Errno::PERM) {
                return Err(io::Error::from(errno))
                    .with_context(|| format!("{path} ({setting}) cannot be used"));
            }
            // Never advise to give away the directory above: it may be any directory of the system.
            let (verb, remedy, other) = match exists {
                true => (
                    "use",
                    format!("give it to that account (chown -R {name} {path})"),
                    "its owner",
                ),
                false => (
                    "create",
                    format!("create it (install -d -o {name} -m 700 {path})"),
                    "an account that can create it",
                ),
            };
            bail!(
                "the account {name} cannot {verb} {path} ({setting}). The service runs as {name} when root starts it. \
                 Either {remedy}, or set RUN_AS to {other}"
            );
        }
    }
    Ok(())
}

/// Error message for a secret key that the service's account may not make, because the directory is another account's.
/// It does not advise to give that directory away: it may be any directory of the system.
pub fn cannot_make_key_message(account: &Account, file: &Path) -> String {
    let (name, file) = (account.name(), file.display());
    format!(
        "the account {name} cannot create {file} (SECRET_KEY_FILE). The service runs as {name} when root starts it. Create \
         the key as root (line-chat-archive keys new {file}). Or set SECRET_KEY_FILE to a file in a directory of that account \
         (install -d -o {name} -m 700 DIR), or RUN_AS to an account that can create the file"
    )
}

fn is_absent(path: &Path) -> bool {
    access(path, Access::EXISTS) == Err(rustix::io::Errno::NOENT)
}

/// The files and directories that the settings name, each with its setting and the access that the service needs.
fn configured_paths(storage: &StorageConfig) -> Vec<(&'static str, PathBuf, Access)> {
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    let local_path = |url: &Option<Url>, name: &str| match url {
        Some(url) => (url.scheme() == "file")
            .then(|| url.to_file_path().ok())
            .flatten(),
        None => Some(storage.data_dir.join(name)),
    };
    let objects =
        local_path(&storage.objects_url, "objects").map(|path| ("OBJECTS_URL", path, all));
    let keyring =
        local_path(&storage.keyring_url, "keyring").map(|path| ("KEYRING_URL", path, all));
    let copies = storage.ledger_copies.iter().filter_map(|url| {
        let path = local_path(&Some(url.clone()), "");
        path.map(|path| ("LEDGER_COPIES", path, all))
    });
    let secret = storage.secret_key_file.clone();
    let secret = secret.unwrap_or_else(|| storage.data_dir.join("secret.key"));
    let secret = ("SECRET_KEY_FILE", secret, Access::READ_OK);
    // The code that needs the secret key reports a missing file itself.
    let secret = Some(secret).filter(|(_, path, _)| !is_absent(path));
    let found = objects.into_iter().chain(keyring).chain(copies);
    found.chain(secret).collect()
}

/// Replaces paths through open handles in a text by the real paths.
pub fn with_real_paths(text: &str) -> String {
    let mut parts = text.split(FD_DIRECTORY);
    let mut real = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit());
        let (number, rest) = part.split_at(digits.unwrap_or(part.len()));
        match fs::read_link(format!("{FD_DIRECTORY}{number}")) {
            Ok(path) => real += &path.to_string_lossy(),
            Err(_) => real = real + FD_DIRECTORY + number,
        }
        real += rest;
    }
    real
}

/// A directory that a command writes its output into, for the person who runs it.
#[derive(Debug)]
pub struct Output {
    /// Its absolute path, for messages.
    pub shown: PathBuf,
    /// A path that stays valid for this process after it has switched to another account.
    pub path: PathBuf,
    /// `path` leads through this handle; `None` if `path` is the plain path.
    _handle: Option<OwnedFd>,
}

impl Output {
    /// Makes the directory for the service's account before root is given up. If this process keeps its account, it
    /// makes nothing: `path` is the plain path.
    ///
    /// # Errors
    /// The directory cannot be made, has files in it, or exists and belongs to another account. Root gives away only a
    /// directory that it has just made, and follows no symbolic link, because another account may have made the link.
    pub fn open(storage: &StorageConfig, path: &Path) -> anyhow::Result<Self> {
        let shown = absolute(path)?;
        let at = || format!("{}", shown.display());
        let Some(account) = &storage.service else {
            let has_no_entries = fs::read_dir(&shown).map(|mut entries| entries.next().is_none());
            match has_no_entries {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(at);
                }
                Ok(false) => bail!(not_empty_message(&shown)),
                _ => {}
            }
            let path = shown.clone();
            return Ok(Self {
                shown,
                path,
                _handle: None,
            });
        };
        let parent = shown
            .parent()
            .context("the path must end in the name of a directory")?;
        let name = shown
            .file_name()
            .context("the path must end in the name of a directory")?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let parent = openat2(CWD, parent, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
        let parent = parent.with_context(|| {
            format!(
                "{}: its parent directory must exist, and the path must not contain a symbolic link",
                shown.display()
            )
        })?;
        let made = match mkdirat(&parent, name, Mode::RWXU) {
            Err(rustix::io::Errno::EXIST) => false,
            made => made.map(|()| true).with_context(at)?,
        };
        let handle = openat(&parent, name, flags, Mode::empty()).with_context(at)?;
        let found = fstat(&handle).with_context(at)?;
        if found.st_uid != account.uid() {
            let is_new_and_root_owned =
                made && found.st_uid == 0 && found.st_mode & 0o7777 == 0o700;
            // The directory must still be empty: an account that has put a file there in the meantime must not get more
            // files.
            ensure!(
                is_new_and_root_owned && is_empty(&handle).with_context(at)?,
                "{} does not belong to {}: name a directory that is not there yet",
                shown.display(),
                account.name()
            );
            let (uid, gid) = (Uid::from_raw(account.uid()), Gid::from_raw(account.gid()));
            fchown(&handle, Some(uid), Some(gid)).with_context(at)?;
        }
        ensure!(
            is_empty(&handle).with_context(at)?,
            not_empty_message(&shown)
        );
        Ok(Self {
            path: format!("{FD_DIRECTORY}{}", handle.as_raw_fd()).into(),
            shown,
            _handle: Some(handle),
        })
    }
}

/// Error message for a directory whose files would be overwritten.
fn not_empty_message(path: &Path) -> String {
    let path = path.display();
    format!("{path} has files in it: name a directory that is empty or not there yet")
}

fn is_empty(directory: &OwnedFd) -> rustix::io::Result<bool> {
    for entry in Dir::read_from(directory)? {
        if ![c".", c".."].contains(&entry?.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Switches off core dumps: one would contain keys and what people wrote.
pub fn no_core_dump() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if setrlimit(Resource::Core, none).is_err() {
        tracing::warn!(
            "core dumps cannot be switched off: one would hold keys and what people wrote"
        );
    }
}
