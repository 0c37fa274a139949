//! Accounts of this machine, and switching to one of them: one thread for a moment, or the process for good.

use std::{io, path::Path, thread};

use nix::unistd::{Gid, Uid, User, geteuid};
use rustix::fs::{Access, access};

use super::EmbeddedError;

/// An account of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account that this process works as; `None` if it has no name on this machine.
    pub fn current() -> Option<Self> {
        Self::of_uid(geteuid().as_raw())
    }

    /// `None` if there is no such account, or its name cannot be written in `pg_ident.conf`.
    pub fn named(name: &str) -> Option<Self> {
        Self::from_user(User::from_name(name))
    }

    /// `None` if there is no such account, or its name cannot be written in `pg_ident.conf`.
    pub fn of_uid(uid: u32) -> Option<Self> {
        Self::from_user(User::from_uid(Uid::from_raw(uid)))
    }

    /// The account, if its name can stand in `pg_ident.conf`: a slash at its beginning would make it a pattern there.
    fn from_user(found: nix::Result<Option<User>>) -> Option<Self> {
        let User { name, uid, gid, .. } = found.ok().flatten()?;
        let odd = name.starts_with('/') || name.contains(|c: char| c == '"' || c.is_control());
        (!odd).then_some(Self {
            name,
            uid: uid.as_raw(),
            gid: gid.as_raw(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its user id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The id of its primary group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Whether it is root, under whatever name.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Switches every thread of this process from root to this account for good, and checks that root cannot be
    /// regained. The process keeps the account's primary group and no other.
    ///
    /// # Errors
    /// This process may not change its account, or could still regain root.
    #[cfg(target_os = "linux")]
    pub fn become_for_good(&self) -> Result<(), EmbeddedError> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let refused = |error| EmbeddedError::CannotBecome {
            account: self.name.clone(),
            source: io::Error::from(error),
        };
        // These functions of the C library change all threads. Groups first: without root they can't be changed.
        nix::unistd::setgroups(&[gid]).map_err(refused)?;
        nix::unistd::setresgid(gid, gid, gid).map_err(refused)?;
        nix::unistd::setresuid(uid, uid, uid).map_err(refused)?;
        let root = (Uid::from_raw(0), Gid::from_raw(0));
        if nix::unistd::setresuid(root.0, root.0, root.0).is_ok()
            || nix::unistd::setresgid(root.1, root.1, root.1).is_ok()
        {
            return Err(refused(nix::errno::Errno::EPERM));
        }
        Ok(())
    }

    /// Root is given up on Linux only.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn become_for_good(&self) -> Result<(), EmbeddedError> {
        Err(EmbeddedError::CannotBecome {
            account: self.name.clone(),
            source: io::ErrorKind::Unsupported.into(),
        })
    }

    /// Whether this account may enter `dir`. Asks the kernel instead of reading the mode bits, because the kernel knows
    /// every rule. This process has to be root.
    pub fn can_enter(&self, dir: &Path) -> bool {
        self.run_as_account(|| Ok(access(dir, Access::EXEC_OK)?))
            .is_ok()
    }

    /// Does `work` in a thread that has switched to this account and cannot regain root. Symbolic links and names in a
    /// directory that this account may change can then lead only to files that the account could reach by itself.
    ///
    /// It is a thread and not a child process: no program has to be found and started, and errors keep their type.
    pub(super) fn run_as_account<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let done = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.become_in_this_thread()?;
                work()
            });
            thread.join()
        });
        done.unwrap_or_else(|_| Err(io::Error::other("the thread has panicked")))
    }

    #[cfg(target_os = "linux")]
    fn become_in_this_thread(&self) -> io::Result<()> {
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
        let uid = rustix::fs::Uid::from_raw(self.uid);
        let gid = rustix::fs::Gid::from_raw(self.gid);
        // These are the bare system calls, which change this thread only.
        set_thread_groups(&[gid])?;
        set_thread_res_gid(gid, gid, gid)?;
        Ok(set_thread_res_uid(uid, uid, uid)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn become_in_this_thread(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The account that the service uses by default, if it exists.
const DEFAULT_SERVICE_ACCOUNT: &str = "line-chat-archive";

/// The account that the service works as when root starts it; `None`: it stays root, because `run_as` says so.
///
/// Without `run_as` that is the owner of the data directory, or, if that is root or there is no such directory, the
/// account `line-chat-archive` if there is one, else `nobody`. `data` is the path of the directory and the user id of its
/// owner.
///
/// # Errors
/// There is no such account, its primary group is root's, or the data directory belongs to another account.
pub fn service_account(
    data: Option<(&Path, u32)>,
    run_as: Option<&str>,
) -> Result<Option<Account>, EmbeddedError> {
    let owner = data.map_or(0, |(_, owner)| owner);
    let account = match run_as {
        Some(wanted) => {
            let by_number = || wanted.parse().ok().and_then(Account::of_uid);
            let found = Account::named(wanted).or_else(by_number);
            found.ok_or_else(|| EmbeddedError::NoAccount(wanted.to_owned()))?
        }
        None if owner != 0 => {
            Account::of_uid(owner).ok_or_else(|| EmbeddedError::NoAccount(owner.to_string()))?
        }
        None => [DEFAULT_SERVICE_ACCOUNT, "nobody"]
            .iter()
            .find_map(|name| Account::named(name))
            .ok_or_else(|| EmbeddedError::NoAccount(DEFAULT_SERVICE_ACCOUNT.to_owned()))?,
    };
    if let Some((dir, owner)) = data
        && owner != 0
        && account.uid != owner
    {
        let owner = Account::of_uid(owner).map_or(owner.to_string(), |account| account.name);
        return Err(EmbeddedError::OtherOwner {
            dir: dir.to_owned(),
            account: account.name,
            owner,
        });
    }
    match account.uid {
        0 => Ok(None),
        _ if account.gid == 0 => Err(EmbeddedError::GroupOfRoot(account.name)),
        _ => Ok(Some(account)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_name_and_by_number() {
        let root = Account::named("root").unwrap();
        assert_eq!(Account::of_uid(0).unwrap(), root);
        assert!(root.is_root());
        assert_eq!(Account::named("no such account"), None);
    }

    #[test]
    fn the_service_account_is_the_owner_or_nobody_and_root_only_if_requested() {
        let dir = Path::new("/srv/archive");
        let nobody = Account::named("nobody").unwrap();
        let default = Account::named(DEFAULT_SERVICE_ACCOUNT).unwrap_or(nobody.clone());
        assert_eq!(service_account(None, None).unwrap(), Some(default));
        assert_eq!(
            service_account(Some((dir, nobody.uid)), None).unwrap(),
            Some(nobody.clone())
        );
        let by_number = nobody.uid.to_string();
        assert_eq!(
            service_account(Some((dir, 0)), Some(&by_number)).unwrap(),
            Some(nobody.clone())
        );
        assert_eq!(service_account(None, Some("root")).unwrap(), None);
        assert_eq!(service_account(None, Some("0")).unwrap(), None);
        for (owner, run_as) in [(nobody.uid, "root"), (0, "no such account"), (0, "")] {
            assert!(
                service_account(Some((dir, owner)), Some(run_as)).is_err(),
                "{owner} {run_as}"
            );
        }
    }

    #[test]
    fn work_has_only_the_permissions_of_the_account() {
        if !geteuid().is_root() {
            eprintln!("not root: nothing to give up, not tested");
            return;
        }
        let closed = tempfile::tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(closed.path(), mode).unwrap();
        std::fs::write(closed.path().join("file"), "root's").unwrap();
        let nobody = Account::named("nobody").unwrap();
        let read = || std::fs::read(closed.path().join("file"));
        assert_eq!(
            nobody.run_as_account(read).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        let regained = nobody.run_as_account(|| {
            let root = rustix::fs::Uid::from_raw(0);
            Ok(rustix::thread::set_thread_res_uid(root, root, root).is_ok())
        });
        assert!(!regained.unwrap(), "it cannot be root again");
        assert!(read().is_ok(), "the rest of the process still is");
    }
}
