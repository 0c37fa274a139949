//! Chooses the account that PostgreSQL runs as: PostgreSQL refuses root, so root drops to an unprivileged account.

use std::{io, path::Path, process::Stdio};

use nix::unistd::geteuid;
use rustix::fs::{Access, access};
use tokio::process::Command;

use super::{Account, EmbeddedError};

/// Accounts that PostgreSQL may run as when root starts it, the preferred one first.
const LESSER: [&str; 2] = ["postgres", "nobody"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    account: Account,
    /// True if this process is root, and switches to the account for each of PostgreSQL's programs and files.
    drops: bool,
}

/// Runs a program in a session of its own, without the terminal of its caller. One of the system's basic tools.
const SETSID: &str = "/usr/bin/setsid";

impl Owner {
    /// The owner of a new database: this process's account, or for root `postgres`, else `nobody` (`initdb` needs a
    /// name in `/etc/passwd`).
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

    /// The owner of an existing database in `dir`, whose user id is `uid`. It stays the owner if an account `postgres`
    /// is made later. Root switches only to an account that is meant for this: one of [`LESSER`], or one of `trusted`.
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

    /// A command that runs `program` as this account, with nothing of this process's environment: `PG*` variables and
    /// locales have no effect. std drops root's supplementary groups by itself when it changes the user.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        // The program gets no access to root's terminal: a program of an unprivileged account could type into it
        // (TIOCSTI).
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

    /// Protects a program of [`Owner::command`] from a Ctrl-C, and from a signal to the process group.
    pub(super) fn detach(&self, command: &mut Command) {
        // The leader of a process group could not begin a session, as `setsid` does.
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

    /// Whether this account may enter `dir`. Asks the kernel instead of reading the mode bits, because the kernel knows
    /// every rule.
    pub(super) fn reaches(&self, dir: &Path) -> bool {
        self.act(|| Ok(access(dir, Access::EXEC_OK)?)).is_ok()
    }
}
