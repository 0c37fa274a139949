//! Chooses the account that PostgreSQL runs as: PostgreSQL refuses root, so root drops to an unprivileged account.

use std::{io, path::Path, process::Stdio};

use nix::unistd::geteuid;
use rustix::fs::{Access, access};
use tokio::process::Command;

use super::{Account, EmbeddedError};

/// Accounts that PostgreSQL may run as when root starts it, the preferred one first.
const UNPRIVILEGED_ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    account: Account,
    /// True if this process is root, and switches to the account for each of PostgreSQL's programs and files.
    switches_account: bool,
}

/// Runs a program in a session of its own, without the terminal of its caller. Part of util-linux. If it is missing,
/// commands run without it.
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
                switches_account: false,
            });
        }
        let account = UNPRIVILEGED_ACCOUNTS
            .iter()
            .find_map(|name| Account::named(name));
        Ok(Self {
            account: account.ok_or(EmbeddedError::NoUnprivilegedAccount)?,
            switches_account: true,
        })
    }

    /// The owner of an existing database in `dir`, whose user id is `uid`. It stays the owner if an account `postgres`
    /// is made later. Root switches only to an account that is meant for this: one of
    /// [`UNPRIVILEGED_ACCOUNTS`], or one of `trusted`.
    pub(super) fn existing(dir: &Path, uid: u32, trusted: &[u32]) -> Result<Self, EmbeddedError> {
        let us = geteuid();
        let known = || {
            let mut unprivileged = UNPRIVILEGED_ACCOUNTS
                .iter()
                .filter_map(|name| Account::named(name));
            unprivileged.any(|account| account.uid() == uid) || trusted.contains(&uid)
        };
        let ours = us.as_raw() == uid || (us.is_root() && known());
        match Account::of_uid(uid) {
            Some(account) if ours && uid != 0 => Ok(Self {
                account,
                switches_account: us.is_root(),
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

    pub(super) fn switches_account(&self) -> bool {
        self.switches_account
    }

    /// A command that runs `program` as this account, with nothing of this process's environment: `PG*` variables and
    /// locales have no effect. std drops root's supplementary groups by itself when it changes the user.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        // The program gets no access to root's terminal: a program of an unprivileged account could type into it
        // (TIOCSTI).
        let mut command = match self.uses_setsid() {
            true => Command::new(SETSID),
            false => Command::new(program.as_ref()),
        };
        if self.uses_setsid() {
            command.arg(program.as_ref());
        }
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null());
        if self.switches_account {
            command.uid(self.account.uid()).gid(self.account.gid());
        }
        command
    }

    /// Protects a program of [`Owner::command`] from a Ctrl-C, and from a signal to the process group.
    pub(super) fn leave_process_group(&self, command: &mut Command) {
        // No process group of its own for a program under setsid: setsid(2) fails for a group leader.
        if !self.uses_setsid() {
            command.process_group(0);
        }
    }

    fn uses_setsid(&self) -> bool {
        self.switches_account && Path::new(SETSID).exists()
    }

    /// Does `work` on files as this account.
    pub(super) fn run_as_account<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        match self.switches_account {
            true => self.account.run_as_account(work),
            false => work(),
        }
    }

    /// Whether this account can enter `dir`.
    pub(super) fn can_enter(&self, dir: &Path) -> bool {
        self.enter(dir).is_ok()
    }

    /// Checks that this account can enter `dir`.
    ///
    /// # Errors
    /// [`EmbeddedError::Unreachable`] if it lacks the right, [`EmbeddedError::File`] for any other fault, as of the disk.
    pub(super) fn check_can_enter(&self, dir: &Path) -> Result<(), EmbeddedError> {
        self.enter(dir).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => EmbeddedError::Unreachable {
                dir: dir.into(),
                account: self.account.name().to_owned(),
            },
            _ => EmbeddedError::file(dir)(error),
        })
    }

    /// Asks the kernel instead of reading the mode bits, because the kernel knows every rule.
    fn enter(&self, dir: &Path) -> io::Result<()> {
        self.run_as_account(|| Ok(access(dir, Access::EXEC_OK)?))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
    };

    use super::*;

    #[test]
    fn only_a_lack_of_rights_is_called_one() {
        let scratch = tempfile::tempdir().unwrap();
        let owner = Owner::for_new().unwrap();
        let fault = owner.check_can_enter(Path::new("/absent-directory"));
        assert!(matches!(fault, Err(EmbeddedError::File { .. })));
        // Only root becomes another account, which may not enter a directory that is root's alone.
        let closed = scratch.path();
        fs::set_permissions(closed, Permissions::from_mode(0o700)).unwrap();
        match owner.check_can_enter(closed) {
            Ok(()) => assert!(!owner.switches_account()),
            Err(error) => assert!(matches!(error, EmbeddedError::Unreachable { .. })),
        }
    }
}
