//! Which account PostgreSQL runs as: it refuses root, so root drops to an unprivileged account.

use std::{io, path::Path, process::Stdio};

use nix::unistd::geteuid;
use rustix::fs::{Access, access};
use tokio::process::Command;

use super::{Account, EmbeddedError};

/// Accounts that PostgreSQL may run as when root starts it, the better one first.
const LESSER: [&str; 2] = ["postgres", "nobody"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    account: Account,
    /// This process is root, and becomes the account for each program of PostgreSQL's and each of its files.
    drops: bool,
}

/// Runs a program in a session of its own, without the terminal of its caller. It comes with the system's basic tools.
const SETSID: &str = "/usr/bin/setsid";

impl Owner {
    /// Whom a new database should belong to: this process's account, or for root `postgres`, else `nobody`
    /// (`initdb` wants a name in `/etc/passwd`).
    pub(super) fn for_new() -> Result<Self, EmbeddedError> {
        let uid = geteuid();
        if !uid.is_root() {
            let account = Account::current();
            let account = account.ok_or_else(|| EmbeddedError::NoAccount(uid.to_string()))?;
            return Ok(Self {
                account,
                drops: false,
            });
        }
        let account = LESSER.iter().find_map(|name| Account::named(name));
        Ok(Self {
            account: account.ok_or(EmbeddedError::NobodyToBe)?,
            drops: true,
        })
    }

    /// The owner of an existing database in `dir`, whose user id is `uid`. That the account `postgres` came later doesn't
    /// change it. Root becomes only an account that is meant for it: one of [`LESSER`], or one of `trusted`.
    pub(super) fn existing(dir: &Path, uid: u32, trusted: &[u32]) -> Result<Self, EmbeddedError> {
        let us = geteuid();
        let known = || {
            let mut lesser = LESSER.iter().filter_map(|name| Account::named(name));
            lesser.any(|account| account.uid() == uid) || trusted.contains(&uid)
        };
        let ours = us.as_raw() == uid || (us.is_root() && known());
        match Account::of_uid(uid) {
            Some(account) if ours && uid != 0 => Ok(Self {
                account,
                drops: us.is_root(),
            }),
            _ => Err(EmbeddedError::NotYours {
                dir: dir.into(),
                uid,
            }),
        }
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn drops(&self) -> bool {
        self.drops
    }

    /// A program to be run as this account, with nothing of our environment: `PG*` variables and locales stay out.
    /// std lets go of root's supplementary groups by itself when it changes the user.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        // Root's terminal stays with root: a program of a lesser account could type into it (TIOCSTI).
        let mut command = match self.is_detached() {
            true => Command::new(SETSID),
            false => Command::new(program.as_ref()),
        };
        if self.is_detached() {
            command.arg(program.as_ref());
        }
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null());
        if self.drops {
            command.uid(self.account.uid()).gid(self.account.gid());
        }
        command
    }

    /// Keeps a program of [`Owner::command`] out of reach of a Ctrl-C, and of a signal to the process group.
    pub(super) fn detach(&self, command: &mut Command) {
        // A leader of a group cannot begin a session.
        if !self.is_detached() {
            command.process_group(0);
        }
    }

    fn is_detached(&self) -> bool {
        self.drops && Path::new(SETSID).exists()
    }

    /// Does `work` on files as this account.
    pub(super) fn act<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        match self.drops {
            true => self.account.act(work),
            false => work(),
        }
    }

    /// Whether this account may enter `dir`. The kernel is asked, not the mode bits: it knows every rule.
    pub(super) fn reaches(&self, dir: &Path) -> bool {
        self.act(|| Ok(access(dir, Access::EXEC_OK)?)).is_ok()
    }
}
