//! Giving up root: a command that root runs starts PostgreSQL and binds the port, and goes on as the service's account.

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
use rustix::fs::{
    Access, CWD, Dir, Gid, Mode, OFlags, ResolveFlags, Uid, access, fchown, fstat, mkdirat, openat,
    openat2,
};
use url::Url;

use crate::{
    config::Places,
    embedded::{Account, DataDir, service_account},
};

/// Where the files are that this process has open, by number.
const OPEN: &str = "/proc/self/fd/";

/// Finds the account that a command goes on as, where root runs it, and makes the data directory. Nothing is given up yet:
/// that is [`give_up_root`].
///
/// Where the account could not enter the data directory (below `/root`, say), that is held open, and `data_dir` becomes a
/// path through the open handle.
///
/// # Errors
/// `RUN_AS` is no account, or cannot be the one of this data directory, or is another one and this process is not root.
pub fn prepare(places: &mut Places) -> anyhow::Result<()> {
    if !is_root(places)? {
        return Ok(());
    }
    let data = DataDir::open(&places.data_dir)?;
    let Some(account) = service_account(data.owner(), places.run_as.as_deref())? else {
        warn_of_root();
        return Ok(());
    };
    data.refuse_other_uses()?;
    if let Some(path) = &mut places.secret_key_file {
        *path = absolute(&*path)?;
    }
    places.data_dir = data.path().to_owned();
    if !account.reaches(data.path()) {
        places.data_dir = data.held_path();
        places.held = Some(Arc::new(data));
    }
    places.service = Some(account);
    Ok(())
}

/// The same for a command that has no data directory.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_demo(places: &mut Places) -> anyhow::Result<()> {
    if is_root(places)? {
        places.service = service_account(0, places.run_as.as_deref())?;
        if places.service.is_none() {
            warn_of_root();
        }
    }
    Ok(())
}

/// The account that the service works as where root starts it; `None`: the account of this process. Makes nothing.
///
/// # Errors
/// As [`prepare`].
pub fn account(places: &Places) -> anyhow::Result<Option<Account>> {
    if !is_root(places)? {
        return Ok(None);
    }
    let owner = fs::metadata(&places.data_dir).map_or(0, |found| found.uid());
    Ok(service_account(owner, places.run_as.as_deref())?)
}

fn is_root(places: &Places) -> anyhow::Result<bool> {
    if geteuid().is_root() {
        return Ok(true);
    }
    if let Some(wanted) = &places.run_as {
        let is_it = |us: Account| us.name() == wanted || us.uid().to_string() == *wanted;
        ensure!(
            Account::current().is_some_and(is_it),
            "RUN_AS is {wanted}, and only root can become another account: start this as root or as {wanted}, or leave \
             RUN_AS away"
        );
    }
    Ok(false)
}

fn warn_of_root() {
    tracing::warn!(
        "RUN_AS is root: everything but PostgreSQL runs as root. An account of its own (useradd --system \
         line-chat-archive) can do less harm"
    );
}

/// Says that PostgreSQL could read the keys, where it works as the same account as the service.
pub fn warn_of_shared(places: &Places, postgres: &Account) {
    let shared = |service: &&Account| service.uid() == postgres.uid();
    if let Some(service) = places.service.as_ref().filter(shared) {
        tracing::warn!(
            account = service.name(),
            "PostgreSQL and the service work as the same account, so that PostgreSQL could read the secret key. Make an \
             account line-chat-archive (useradd --system) and give it DATA_DIR without postgres (chown -R)"
        );
    }
}

/// Gives the data directory to the service's account and goes on as that, for good.
///
/// # Errors
/// Root cannot be given up, or the account may not use one of the places that are configured.
pub fn give_up_root(places: &Places) -> anyhow::Result<()> {
    let Some(account) = &places.service else {
        return Ok(());
    };
    DataDir::open(&places.data_dir)?.hand_over(account)?;
    account.become_for_good()?;
    for (setting, path, wanted) in used(places) {
        let there = path.ancestors().find(|path| !is_absent(path));
        let there = there.unwrap_or(Path::new("/"));
        // A missing path will be made, so the directory above it has to be writable.
        let wanted = match there == path {
            true => wanted,
            false => Access::WRITE_OK | Access::EXEC_OK,
        };
        if access(there, wanted).is_err() {
            let name = account.name();
            let (is_there, path) = (there == path, path.display());
            // Never the directory above: that may be anything.
            let remedy = match is_there {
                true => format!("give it to that account (chown -R {name} {path})"),
                false => format!("it does not exist: install -d -o {name} -m 700 {path}"),
            };
            bail!(
                "{path} ({setting}) cannot be used by the account {name}, as which the service works when root starts it: \
                 {remedy}, or set RUN_AS to the account that owns it"
            );
        }
    }
    Ok(())
}

fn is_absent(path: &Path) -> bool {
    access(path, Access::EXISTS) == Err(rustix::io::Errno::NOENT)
}

/// Files and directories that are used, what for, and how.
fn used(places: &Places) -> Vec<(&'static str, PathBuf, Access)> {
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    let of = |url: &Option<Url>, name: &str| match url {
        Some(url) => (url.scheme() == "file")
            .then(|| url.to_file_path().ok())
            .flatten(),
        None => Some(places.data_dir.join(name)),
    };
    let objects = of(&places.objects_url, "objects").map(|path| ("OBJECTS_URL", path, all));
    let keyring = of(&places.keyring_url, "keyring").map(|path| ("KEYRING_URL", path, all));
    let copies = places.ledger_copies.iter().filter_map(|url| {
        let path = of(&Some(url.clone()), "");
        path.map(|path| ("LEDGER_COPIES", path, all))
    });
    let secret = places.secret_key_file.clone();
    let secret = secret.unwrap_or_else(|| places.data_dir.join("secret.key"));
    let secret = ("SECRET_KEY_FILE", secret, Access::READ_OK);
    // A secret key that is not there is missed by name where it is needed.
    let secret = Some(secret).filter(|(_, path, _)| !is_absent(path));
    let found = objects.into_iter().chain(keyring).chain(copies);
    found.chain(secret).collect()
}

/// A text about paths, with directories that are held open under their own names.
pub fn with_real_paths(text: &str) -> String {
    let mut parts = text.split(OPEN);
    let mut real = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit());
        let (number, rest) = part.split_at(digits.unwrap_or(part.len()));
        match fs::read_link(format!("{OPEN}{number}")) {
            Ok(path) => real += &path.to_string_lossy(),
            Err(_) => real = real + OPEN + number,
        }
        real += rest;
    }
    real
}

/// A directory that a command writes into for the person who runs it.
#[derive(Debug)]
pub struct Output {
    /// Where it is, for people.
    pub shown: PathBuf,
    /// Where this process finds it, whatever account it has become.
    pub path: PathBuf,
    /// Open as long as it may be needed.
    _handle: Option<OwnedFd>,
}

impl Output {
    /// Makes a directory for the service's account, before root is given up; for any other process it is just the path.
    ///
    /// # Errors
    /// The directory cannot be made, or has files in it, or is there and another account's: root gives away only what it has
    /// just made, and follows no symbolic link, which a lesser account may have planted.
    pub fn open(places: &Places, path: &Path) -> anyhow::Result<Self> {
        let shown = absolute(path)?;
        let at = || format!("{}", shown.display());
        let Some(account) = &places.service else {
            let is_free = fs::read_dir(&shown).map(|mut entries| entries.next().is_none());
            match is_free {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(at);
                }
                is_free => ensure!(is_free.unwrap_or(true), in_use(&shown)),
            }
            let path = shown.clone();
            return Ok(Self {
                shown,
                path,
                _handle: None,
            });
        };
        let parent = shown.parent().context("a directory has to be named")?;
        let name = shown.file_name().context("a directory has to be named")?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let parent = openat2(CWD, parent, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
        let parent = parent.with_context(|| {
            format!(
                "{}: the directory above it has to be there, and its path must have no symbolic link",
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
            let is_ours = made && found.st_uid == 0 && found.st_mode & 0o7777 == 0o700;
            // Somebody who puts a file into it meanwhile must not be given more of them.
            ensure!(
                is_ours && is_empty(&handle).with_context(at)?,
                "{} does not belong to {}: name a directory that is not there yet",
                shown.display(),
                account.name()
            );
            let (uid, gid) = (Uid::from_raw(account.uid()), Gid::from_raw(account.gid()));
            fchown(&handle, Some(uid), Some(gid)).with_context(at)?;
        }
        ensure!(is_empty(&handle).with_context(at)?, in_use(&shown));
        Ok(Self {
            path: format!("{OPEN}{}", handle.as_raw_fd()).into(),
            shown,
            _handle: Some(handle),
        })
    }
}

/// The refusal of a directory whose files would be written over.
fn in_use(path: &Path) -> String {
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
