//! Locks on files, which the kernel lets go of when their process dies, however it dies.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

use super::{EmbeddedError, place};

/// One `serve` for each data directory. Held as long as this value lives.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Takes `DATA_DIR/serve.lock`, making the directory if absent. Fails at once, with the other's process id,
    /// if another process holds it.
    pub fn take(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let data_dir = place::data_dir(data_dir)?;
        let path = data_dir.join("serve.lock");
        let mut file = open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).unwrap_or_default();
                return Err(EmbeddedError::AlreadyServed {
                    dir: data_dir,
                    pid: pid.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(EmbeddedError::File { path, source }),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(EmbeddedError::file(path))?;
        Ok(Self { _file: file })
    }
}

/// Who uses a cluster: every process that does holds `users` shared; starting and stopping happen one at a time.
/// So an admin command that came first can't take the server away from a `serve` that came later.
#[derive(Debug)]
pub(super) struct Users {
    base: PathBuf,
    users: File,
}

impl Users {
    /// Waits for its turn to start or stop the cluster in `base`; the turn ends when the file is dropped.
    pub(super) async fn turn(base: &Path) -> Result<File, EmbeddedError> {
        let path = base.join("turn.lock");
        let file = open(&path)?;
        while let Err(e) = file.try_lock() {
            match e {
                TryLockError::WouldBlock => sleep(Duration::from_millis(50)).await,
                TryLockError::Error(source) => return Err(EmbeddedError::File { path, source }),
            }
        }
        Ok(file)
    }

    /// Whether no process is counted in.
    pub(super) fn none(base: &Path) -> Result<bool, EmbeddedError> {
        Ok(open(&base.join("users.lock"))?.try_lock().is_ok())
    }

    /// Counts this process in. Call it within one's turn.
    pub(super) fn enter(base: &Path) -> Result<Self, EmbeddedError> {
        let path = base.join("users.lock");
        let users = open(&path)?;
        users.lock_shared().map_err(EmbeddedError::file(path))?;
        Ok(Self {
            base: base.into(),
            users,
        })
    }

    /// Counts this process out; whether it was the last. Gives the turn, within which the cluster may be stopped.
    pub(super) async fn leave(self) -> Result<(bool, File), EmbeddedError> {
        let turn = Self::turn(&self.base).await?;
        let last = self.users.unlock().is_ok() && self.users.try_lock().is_ok();
        Ok((last, turn))
    }
}

fn open(path: &Path) -> Result<File, EmbeddedError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(EmbeddedError::file(path))
}
