//! Gives the data directory to the service's account, once, when root starts an archive.

use std::{ffi::CString, io, os::fd::OwnedFd};

use nix::unistd::geteuid;
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, fstat, openat, statat,
};

use super::{Account, EmbeddedError, place::DataDir};

/// Entries of a data directory that belong to the service. `postgres` is not one of them: it stays PostgreSQL's.
const SERVICES: [&str; 6] = [
    "keyring",
    "objects",
    "secret.key",
    "serve.lock",
    "postgres-turn.lock",
    "postgres-users.lock",
];

impl DataDir {
    /// Gives the directory and the service's files in it to `account`, if root owns them: in earlier versions root
    /// owned the whole archive. Does nothing if the directory belongs to another account already.
    ///
    /// The content of a directory is given away before the directory itself. As long as anything is left to do in a
    /// directory, no other account can put a link or a file there; and a directory that is not root's any more is
    /// finished.
    ///
    /// # Errors
    /// Another account may write to one of the directories that root owns, or they cannot be given away.
    pub fn hand_over(&self, account: &Account) -> Result<(), EmbeddedError> {
        if !geteuid().is_root() || self.owner() != 0 {
            return Ok(());
        }
        let given = || {
            refuse_shared_writing(&self.handle)?;
            for name in SERVICES {
                give_tree(&self.handle, &CString::new(name)?, account)?;
            }
            fchmod(&self.handle, Mode::from_raw_mode(0o711))?;
            let (uid, gid) = ids(account);
            Ok(fchown(&self.handle, uid, gid)?)
        };
        given().map_err(EmbeddedError::file(self.path()))
    }

    /// Refuses a directory that root owns and that holds other files and no archive: for example, `/srv` was not meant
    /// to be given away.
    ///
    /// # Errors
    /// It is such a directory, or cannot be read.
    pub fn require_empty_or_archive(&self) -> Result<(), EmbeddedError> {
        if self.owner() != 0 {
            return Ok(());
        }
        let mut others = false;
        let entries = Dir::read_from(&self.handle).map_err(io::Error::from);
        for entry in entries.map_err(EmbeddedError::file(self.path()))? {
            let entry = entry.map_err(|error| EmbeddedError::file(self.path())(error.into()))?;
            match entry.file_name().to_bytes() {
                // Lock files are made in any directory that a command is tried with.
                b"."
                | b".."
                | b"lost+found"
                | b"serve.lock"
                | b"postgres-turn.lock"
                | b"postgres-users.lock" => {}
                b"postgres" | b"keyring" | b"objects" | b"secret.key" => return Ok(()),
                // The output of a service that was started from a script.
                name if entry.file_type() == FileType::RegularFile && is_log(name) => {}
                _ => others = true,
            }
        }
        match others {
            true => Err(EmbeddedError::OtherUse(self.path().into())),
            false => Ok(()),
        }
    }
}

fn is_log(name: &[u8]) -> bool {
    let endings: [&[u8]; 5] = [b".log", b".out", b".err", b".txt", b".pid"];
    endings.iter().any(|ending| name.ends_with(ending))
}

fn ids(account: &Account) -> (Option<Uid>, Option<Gid>) {
    let (uid, gid) = (account.uid(), account.gid());
    (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

/// Refuses a directory that others may write to: it could change while it is walked.
fn refuse_shared_writing(dir: &OwnedFd) -> io::Result<()> {
    match fstat(dir)?.st_mode & 0o022 {
        0 => Ok(()),
        _ => Err(io::Error::other(
            "other accounts may write to a directory in it that root owns: remove that permission (chmod go-w), or give the directory \
             to the service's account (chown -R)",
        )),
    }
}

/// Gives the entry `name` of `parent`, and everything in it, to `account`, as far as root owns it.
fn give_tree(parent: &OwnedFd, name: &CString, account: &Account) -> io::Result<()> {
    let (uid, gid) = ids(account);
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        stat => stat?,
    };
    if stat.st_uid != 0 {
        return Ok(());
    }
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = openat(parent, name, flags, Mode::empty())?;
            refuse_shared_writing(&dir)?;
            for entry in Dir::read_from(&dir)? {
                let entry = entry?;
                if ![c".", c".."].contains(&entry.file_name()) {
                    give_tree(&dir, &entry.file_name().to_owned(), account)?;
                }
            }
            Ok(fchown(&dir, uid, gid)?)
        }
        FileType::RegularFile => Ok(chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?),
        // A link leads out of the archive, and files of other types do not belong in it: neither is given away.
        _ => Ok(()),
    }
}
