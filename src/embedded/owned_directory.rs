//! Works on files inside PostgreSQL's directory. The account that owns it can put anything there, so each operation is
//! done as that account, a FIFO blocks nothing, and reads are bounded.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{
    AtFlags, Mode, OFlags, Stat, fstat, fsync, mkdirat, openat, renameat, statat, unlinkat,
};

use super::{EmbeddedError, owner::Owner};

/// At most this many bytes at the end of a file are read: pid files and settings are shorter, and a log's end is enough.
const MAX_READ_BYTES: u64 = 64 * 1024;

/// An open directory, and the account that owns it. Names are relative to the directory.
#[derive(Clone, Debug)]
pub(super) struct OwnedDirectory {
    handle: Arc<OwnedFd>,
    path: PathBuf,
    owner: Owner,
}

impl OwnedDirectory {
    pub(super) fn new(handle: OwnedFd, path: PathBuf, owner: Owner) -> Self {
        Self {
            handle: Arc::new(handle),
            path,
            owner,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    fn run_as_owner<T: Send>(
        &self,
        name: &str,
        work: impl FnOnce(&OwnedFd) -> io::Result<T> + Send,
    ) -> Result<T, EmbeddedError> {
        let done = self.owner.run_as_account(|| work(&self.handle));
        done.map_err(EmbeddedError::file(self.path.join(name)))
    }

    /// The last 64 KiB of a file, as text; `None` if there is no such file.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, EmbeddedError> {
        let read = self.run_as_owner(name, |dir| tail(open_regular(dir, name)?));
        match read {
            Ok(text) => Ok(Some(text)),
            Err(EmbeddedError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens an existing file for reading.
    pub(super) fn open(&self, name: &str) -> Result<File, EmbeddedError> {
        self.run_as_owner(name, |dir| open_regular(dir, name))
    }

    /// Replaces a file, or makes it. It renames a new file to `name`, so it never writes to the old file or through a
    /// link.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), EmbeddedError> {
        self.run_as_owner(name, |dir| {
            let new = format!("{name}.new");
            absent_is_fine(unlinkat(dir, &*new, AtFlags::empty()))?;
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(openat(dir, &*new, flags, Mode::RUSR | Mode::WUSR)?);
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(renameat(dir, &*new, dir, name)?)
        })
    }

    /// Makes a directory for this account alone; an existing one stays.
    pub(super) fn make_dir(&self, name: &str) -> Result<(), EmbeddedError> {
        self.run_as_owner(name, |dir| {
            match mkdirat(dir, name, Mode::RWXU) {
                Err(error) if error != rustix::io::Errno::EXIST => return Err(error.into()),
                _ => {}
            }
            open_dir(dir, name).map(drop)
        })
    }

    /// Removes a file, if it exists.
    pub(super) fn remove(&self, name: &str) -> Result<(), EmbeddedError> {
        self.run_as_owner(name, |dir| {
            absent_is_fine(unlinkat(dir, name, AtFlags::empty()))
        })
    }

    /// Removes a directory and everything in it, or a link, if it exists.
    pub(super) fn remove_all(&self, name: &str) -> Result<(), EmbeddedError> {
        let path = held(&self.handle).unwrap_or_else(|| self.path.clone());
        let path = path.join(name);
        self.run_as_owner(name, |dir| {
            match unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
                Err(_) => {}
            }
            fs::remove_dir_all(path)
        })
    }

    /// Removes what has a name that begins with `prefix`, as far as that is possible: a process of the account may still
    /// write there. The rest goes next time.
    pub(super) fn remove_all_beginning_with(&self, prefix: &str) {
        let names = self.run_as_owner(prefix, |dir| {
            let entries = rustix::fs::Dir::read_from(dir)?;
            let names =
                entries.filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(String::from));
            Ok(names.collect::<Vec<_>>())
        });
        for name in names.unwrap_or_default() {
            if name.starts_with(prefix)
                && let Err(error) = self.remove_all(&name)
            {
                tracing::warn!(%error, "an unfinished directory could not be removed yet");
            }
        }
    }

    /// Renames, and syncs the directory, so that the new name survives a crash.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), EmbeddedError> {
        self.run_as_owner(to, |dir| {
            renameat(dir, from, dir, to)?;
            Ok(fsync(dir)?)
        })
    }

    /// Lets every account connect to an existing socket; the directory's mode decides which accounts can reach it.
    pub(super) fn open_socket(&self, name: &str) -> Result<(), EmbeddedError> {
        self.run_as_owner(name, |dir| {
            let all = Mode::from_raw_mode(0o777);
            absent_is_fine(rustix::fs::chmodat(dir, name, all, AtFlags::empty()))
        })
    }

    /// Opens a directory for a program to work in. A link is followed.
    pub(super) fn work_dir(&self, name: &str) -> Result<WorkDir, EmbeddedError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = self.run_as_owner(name, |dir| Ok(openat(dir, name, flags, Mode::empty())?))?;
        let path = self.path.join(name);
        Ok(match held(&handle) {
            Some(cwd) if self.owner.switches_account() => WorkDir {
                cwd,
                name: "/proc/self/cwd".into(),
                _handle: handle,
            },
            _ => WorkDir {
                cwd: path.clone(),
                name: path,
                _handle: handle,
            },
        })
    }

    /// Whether the directory `name` is inside this one: it is not a link to another place.
    pub(super) fn is_subdirectory(&self, name: &str) -> Result<bool, EmbeddedError> {
        self.run_as_owner(name, |dir| {
            let above = statat(dir, format!("{name}/.."), AtFlags::empty())?;
            Ok(id(&above) == id(&fstat(dir)?))
        })
    }

    /// Whether the directory `name` is the working directory of the process `pid`.
    pub(super) fn is_cwd_of(&self, pid: u32, name: &str) -> Result<bool, EmbeddedError> {
        let ours = self.run_as_owner(name, |dir| Ok(statat(dir, name, AtFlags::empty())?))?;
        let its = rustix::fs::stat(format!("/proc/{pid}/cwd"));
        Ok(its.is_ok_and(|its| id(&its) == id(&ours)))
    }

    /// The end of the newest file in a directory, by the time of its last change.
    pub(super) fn newest_in(&self, name: &str) -> Option<String> {
        let found = self.run_as_owner(name, |dir| {
            let logs = open_dir(dir, name)?;
            let mut newest = None;
            for entry in rustix::fs::Dir::read_from(&logs)? {
                let entry = entry?;
                let Ok(file) = open_regular(&logs, entry.file_name()) else {
                    continue;
                };
                let modified = file.metadata()?.modified()?;
                if newest.as_ref().is_none_or(|(latest, _)| modified > *latest) {
                    newest = Some((modified, file));
                }
            }
            newest.map_or(Ok(String::new()), |(_, file)| tail(file))
        });
        found.ok()
    }
}

/// A directory that one of PostgreSQL's programs works in and gets as an argument.
///
/// If root starts the program, the argument is `/proc/self/cwd`, the program's own working directory. A path could lead
/// to another directory by then: the service's account can exchange the directory `postgres` for one with settings of
/// its own, and PostgreSQL's account would run the commands in them.
#[derive(Debug)]
pub(super) struct WorkDir {
    pub(super) cwd: PathBuf,
    /// For the program's `-D`.
    pub(super) name: PathBuf,
    /// `cwd` may lead through this handle until the program is started.
    _handle: OwnedFd,
}

/// A path to an open directory that is valid for this process even if the directory is moved; `None` on a system
/// without `/proc/self/fd`.
fn held(dir: &OwnedFd) -> Option<PathBuf> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    path.exists().then_some(path)
}

/// Identifies a file under all its names: device and inode.
fn id(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

/// Opens a directory. A link at its name is not followed.
fn open_dir(dir: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

/// Opens a regular file for reading, and refuses others. Opening a FIFO does not wait for its other end.
fn open_regular(dir: &OwnedFd, name: impl rustix::path::Arg) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(openat(dir, name, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(
            "it is not a regular file; remove it, or restore the file that belongs there",
        )),
    }
}

fn tail(mut file: File) -> io::Result<String> {
    use std::io::{Seek, SeekFrom};
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(MAX_READ_BYTES)))?;
    let mut bytes = vec![];
    file.take(MAX_READ_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn absent_is_fine(done: rustix::io::Result<()>) -> io::Result<()> {
    match done {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        done => Ok(done?),
    }
}
