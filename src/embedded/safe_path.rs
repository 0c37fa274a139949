//! Resolves the path of a directory that root is told to use, which may lead through directories of unprivileged
//! accounts.
//!
//! Earlier versions followed any link as root: the owner of a directory above `DATA_DIR` could put a link to `/etc` in
//! its place, and root gave `/etc` away with the archive.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Component, Path, PathBuf, absolute},
};

use super::Account;

/// Most links in one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// The path without links, and the user id of the account that owns a directory above its last part (0: root owns all).
/// The last parts may not exist yet.
///
/// # Errors
/// A link in the path belongs to another account than root, or is in a directory of one; others may exchange entries of
/// one of root's directories; or two accounts besides root own directories in the path.
pub(super) fn resolve_trusted(path: &Path) -> io::Result<(PathBuf, u32)> {
    let mut left: VecDeque<OsString> = parts(&absolute(path)?);
    let (mut at, mut owner, mut links) = (PathBuf::from("/"), 0, 0);
    while let Some(part) = left.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let found = match fs::symlink_metadata(&next) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                at = next;
                continue;
            }
            Err(error) => return Err(error),
        };
        if found.is_symlink() {
            links += 1;
            if owner != 0 || found.uid() != 0 || links > MAX_LINKS {
                return Err(io::Error::other(format!(
                    "{} is a link that another account than root can change: name the path without it",
                    next.display()
                )));
            }
            let target = fs::read_link(&next)?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                left.push_front(part);
            }
            continue;
        }
        // The owner of the last part is not counted here: the caller checks it.
        if !left.is_empty() {
            owner = owner_beyond(&next, &found, owner)?;
        }
        at = next;
    }
    Ok((at, owner))
}

/// Makes a directory and those above it. Others may pass through them, whatever the umask is: with the umask 077 that
/// many root shells have, PostgreSQL's account could not enter the archive.
pub(super) fn make_dirs(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent();
    if let Some(parent) = parent.filter(|parent| !parent.as_os_str().is_empty()) {
        make_dirs(parent)?;
    }
    match fs::DirBuilder::new().mode(0o711).create(path) {
        // Another process has made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o711)),
    }
}

/// Makes a new file for `account`, if this process is root. `make` gets its path, with the links of the directory
/// resolved, and the user and group id to give the file to.
///
/// In a directory of the account, or below one, `make` runs as the account and gets no ids: the account could put a
/// link to one of root's files in the file's place meanwhile.
///
/// # Errors
/// The path has a link that another account than root can change, or leads through a directory of a third account.
pub fn new_file<T: Send>(
    path: &Path,
    account: &Account,
    make: impl FnOnce(&Path, Option<(u32, u32)>) -> T + Send,
) -> io::Result<T> {
    let (path, is_roots) = for_new_file(path, account)?;
    match is_roots {
        true => Ok(make(&path, Some((account.uid(), account.gid())))),
        false => account.run_as_account(|| Ok(make(&path, None))),
    }
}

/// The path of a new file, with the links of its directory resolved, and true if root owns all directories in it.
fn for_new_file(path: &Path, account: &Account) -> io::Result<(PathBuf, bool)> {
    let path = absolute(path)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("this names no file"));
    };
    let way = resolve_trusted(&parent.join("."))?;
    let owner = fs::symlink_metadata(&way.0).map_or(way.1, |found| found.uid());
    match [way.1, owner]
        .iter()
        .all(|uid| [0, account.uid()].contains(uid))
    {
        true => Ok((way.0.join(name), way.1 == 0 && owner == 0)),
        false => Err(io::Error::other(format!(
            "it lies in a directory of another account than root and {}: name another",
            account.name()
        ))),
    }
}

/// The account with this user id.
///
/// # Errors
/// The user id has no name on this machine.
pub(super) fn account(uid: u32) -> io::Result<Account> {
    Account::of_uid(uid).ok_or_else(|| io::Error::other(format!("user id {uid} has no name")))
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

fn owner_beyond(path: &Path, found: &fs::Metadata, owner: u32) -> io::Result<u32> {
    let is_sticky = found.mode() & 0o1000 != 0;
    let is_open = found.mode() & 0o022 != 0 && !is_sticky;
    match found.uid() {
        0 if is_open => Err(io::Error::other(format!(
            "others may exchange directories in {}: take that away (chmod go-w), or name another",
            path.display()
        ))),
        0 => Ok(owner),
        uid if owner == 0 || owner == uid => Ok(uid),
        _ => Err(io::Error::other(format!(
            "{} lies in a directory of yet another account: name a path that root or one account owns",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn a_link_of_another_account_is_not_followed() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not root: no other account can be made the owner, not tested");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let [home, etc] = ["home", "etc"].map(|name| dir.join(name));
        for made in [&home, &etc] {
            fs::create_dir(made).unwrap();
        }
        chown(&home, Some(65534), Some(65534)).unwrap();
        symlink(&etc, home.join("data")).unwrap();
        symlink(&etc, dir.join("ours")).unwrap();
        symlink(&etc, dir.join("theirs")).unwrap();
        std::os::unix::fs::lchown(dir.join("theirs"), Some(65534), None).unwrap();

        assert_eq!(
            resolve_trusted(&etc.join("new/er")).unwrap(),
            (etc.join("new/er"), 0)
        );
        assert_eq!(
            resolve_trusted(&dir.join("ours/x")).unwrap(),
            (etc.join("x"), 0)
        );
        let (path, owner) = resolve_trusted(&home.join("mine")).unwrap();
        assert_eq!((path, owner), (home.join("mine"), 65534));
        for refused in [home.join("data"), home.join("data/x"), dir.join("theirs")] {
            let said = resolve_trusted(&refused).unwrap_err().to_string();
            assert!(said.contains("is a link"), "{refused:?}: {said}");
        }
        fs::set_permissions(&etc, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(resolve_trusted(&etc.join("x")).is_err());
        fs::set_permissions(&etc, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(resolve_trusted(&etc.join("x")).is_ok());

        // A link at the name of a new file itself is not followed, links in its directory are.
        let [nobody, daemon] = [65534, 1].map(|uid| account(uid).unwrap());
        for new in [dir.join("ours"), dir.join("theirs"), home.join("key")] {
            assert_eq!(for_new_file(&new, &nobody).unwrap().0, new);
        }
        let new = for_new_file(&dir.join("ours/key"), &nobody).unwrap();
        assert_eq!(new, (etc.join("key"), true));
        assert!(!for_new_file(&home.join("key"), &nobody).unwrap().1);
        for refused in [home.join("data/key"), dir.join("theirs/key")] {
            let said = for_new_file(&refused, &nobody).unwrap_err().to_string();
            assert!(said.contains("is a link"), "{refused:?}: {said}");
        }
        let said = for_new_file(&home.join("key"), &daemon).unwrap_err();
        assert!(said.to_string().contains(daemon.name()), "{said}");
    }
}
