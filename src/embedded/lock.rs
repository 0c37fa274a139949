//! File locks, which the kernel releases when their process dies, however it dies. The files are in the data directory,
//! where PostgreSQL's account cannot open them. They stay open, because they are locked again after root is given up.

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Write},
    path::Path,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{EmbeddedError, owned_directory::OwnedDirectory, place::DataDir};

const SERVE: &str = "serve.lock";
const TURN: &str = "postgres-turn.lock";
const USERS: &str = "postgres-users.lock";

/// Lets only one `serve` run for each data directory. The lock is held as long as this value lives.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Takes `DATA_DIR/serve.lock`, and makes the directory if absent. If another process holds the lock, it fails at
    /// once with that process's id.
    ///
    /// # Errors
    /// Another process holds it, or the directory or the file in it cannot be used.
    pub fn take(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let data = DataDir::open(data_dir)?;
        let mut file = locked(&data)?;
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(EmbeddedError::file(data.path().join(SERVE)))?;
        Ok(Self { _file: file })
    }

    /// Checks that no other process holds the lock, for a `serve` that cannot start for another reason. Makes and
    /// writes nothing: without the file nobody holds the lock.
    ///
    /// # Errors
    /// As [`DataDirLock::take`], if the file exists.
    pub fn check_free(data_dir: &Path) -> Result<(), EmbeddedError> {
        match data_dir.join(SERVE).is_file() {
            true => locked(&DataDir::open(data_dir)?).map(drop),
            false => Ok(()),
        }
    }
}

/// Opens `serve.lock` in `data`, and locks it until the file is closed.
fn locked(data: &DataDir) -> Result<File, EmbeddedError> {
    let file = data.lock_file(SERVE)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.take(20).read_to_string(&mut pid);
            Err(EmbeddedError::AlreadyServed {
                dir: data.path().into(),
                pid: pid.trim().to_owned(),
            })
        }
        Err(TryLockError::Error(source)) => {
            let path = data.path().join(SERVE);
            Err(EmbeddedError::File { path, source })
        }
    }
}

/// The users of a cluster: each process that uses it holds a shared lock on `users`, and only the process that holds
/// `turn` may start or stop the server. So a command that came first cannot stop the server of a `serve` that came
/// later.
#[derive(Debug)]
pub(super) struct Users {
    turn: File,
    users: File,
}

/// The users' lock of earlier versions, in PostgreSQL's directory. If the file exists, it is held as well: a service of
/// an earlier version may run while a command of this one comes and goes, or the reverse.
#[derive(Debug)]
pub(super) struct OldUsers(Option<File>);

impl OldUsers {
    pub(super) fn enter(base: &OwnedDirectory) -> Self {
        let file = base.open("users.lock").ok();
        Self(file.filter(|file| file.try_lock_shared().is_ok()))
    }

    /// True if a process of an earlier version uses the cluster. Call it before [`OldUsers::enter`].
    pub(super) fn has_any(base: &OwnedDirectory) -> bool {
        let file = base.open("users.lock");
        file.is_ok_and(|file| file.try_lock().is_err())
    }

    /// Counts this process out; returns true if it was the last user.
    pub(super) fn leave(&self) -> bool {
        let last = |file: &File| file.unlock().is_ok() && file.try_lock().is_ok();
        self.0.as_ref().is_none_or(last)
    }
}

/// The exclusive right to start or stop a cluster; it ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a File);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Unlocking fails on a closed file only.
        let _ = self.0.unlock();
    }
}

impl Users {
    pub(super) fn open(data: &DataDir) -> Result<Self, EmbeddedError> {
        Ok(Self {
            turn: data.lock_file(TURN)?,
            users: data.lock_file(USERS)?,
        })
    }

    /// Waits for the exclusive right to start or stop the cluster.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, EmbeddedError> {
        while let Err(e) = self.turn.try_lock() {
            match e {
                TryLockError::WouldBlock => sleep(Duration::from_millis(50)).await,
                TryLockError::Error(source) => return Err(EmbeddedError::file(TURN)(source)),
            }
        }
        Ok(Turn(&self.turn))
    }

    /// True if no process uses the cluster. Call it while holding the turn, and before [`Users::enter`].
    pub(super) fn is_empty(&self) -> bool {
        self.users.try_lock().is_ok()
    }

    /// Counts this process in. Call it while holding the turn. A process that has just stopped the cluster may hold the
    /// file exclusively for a moment. A process that holds it for longer than `timeout` is another program: without
    /// the limit the service's account could keep root waiting.
    pub(super) async fn enter(&self, timeout: Duration) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + timeout;
        loop {
            let held = match self.users.try_lock_shared() {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => error,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Err(TryLockError::WouldBlock) => io::Error::other(
                    "another process holds this lock exclusively: end that process",
                ),
            };
            return Err(EmbeddedError::file(USERS)(held));
        }
    }

    /// Counts this process out; returns true if it was the last user. Call it while holding the turn, and stop the
    /// cluster before the turn ends.
    pub(super) fn leave(&self) -> bool {
        self.users.unlock().is_ok() && self.users.try_lock().is_ok()
    }
}
