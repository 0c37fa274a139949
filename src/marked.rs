//! A directory on a disk that can be taken away. Before each use it is opened anew, compared with the directory that was
//! opened at first, and its mark is read; all that follows is done through that handle. So nothing is written into a
//! bare mount point, and a file that is not found there is not taken for gone.

mod mark;
mod reads;
mod threads;

use std::{
    ffi::OsString,
    fs::{DirBuilder, File},
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, renameat, statat,
        unlinkat,
    },
    io::Errno,
};

pub use mark::Mark;
pub use reads::Reads;
pub use threads::Threads;

/// The file that holds the mark.
const NAME: &str = "mark";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Whether a directory has to have its mark.
#[derive(Clone, Debug)]
pub enum Marking {
    /// The directory is made if it is absent, and gets this mark: for a new archive.
    Make(Mark),
    /// The directory has to be there with this mark.
    Require(Mark),
    /// The directory has to be there; it may have no mark, because an earlier version made it.
    Unmarked,
    /// The directory is made if it is absent, and gets no mark: for tests and the demo, whose files go at the end.
    MakeUnmarked,
}

/// A directory that is used only while it is in its place. Clones are of the same directory.
#[derive(Clone, Debug)]
pub struct MarkedDirectory {
    path: Arc<Path>,
    mark: Option<Mark>,
    /// Device and inode.
    identity: (u64, u64),
}

impl MarkedDirectory {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// It cannot be made or opened, or lacks the mark that it has to have.
    pub fn open(path: &Path, marking: Marking) -> io::Result<Self> {
        let makes = matches!(marking, Marking::Make(_) | Marking::MakeUnmarked);
        let marks = matches!(marking, Marking::Make(_));
        if makes {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        let handle = open_in_place(path)?;
        let directory = Self {
            path: path.into(),
            mark: match marking {
                Marking::Make(mark) | Marking::Require(mark) => Some(mark),
                Marking::Unmarked | Marking::MakeUnmarked => None,
            },
            identity: identity(&handle)?,
        };
        let here = Here(Arc::new(handle));
        if let Some(mark) = directory.mark.as_ref().filter(|_| marks)
            && here.mark()?.is_none()
        {
            here.write(Path::new(NAME), mark.text().as_bytes())?;
        }
        match (directory.prove(), &directory.mark, here.mark()?) {
            (Ok(_), ..) => Ok(directory),
            (Err(error), Some(mark), None) => Err(io::Error::other(format!(
                "{error}. If it is the right directory, write this line into {}: {}",
                path.join(NAME).display(),
                mark.text().trim_end()
            ))),
            (Err(error), ..) => Err(error),
        }
    }

    /// The directory, proven to be in its place: it is the one that was opened at first, and has its mark.
    ///
    /// # Errors
    /// It is away: its disk is not mounted, or another directory is in its place. The error's kind is never
    /// [`ErrorKind::NotFound`] or [`ErrorKind::InvalidData`].
    pub fn prove(&self) -> io::Result<Here> {
        let handle = open_in_place(&self.path)?;
        let is_same = identity(&handle)? == self.identity;
        let here = Here(Arc::new(handle));
        let found = here.mark()?;
        if !is_same {
            let is_marked = self.mark.as_ref().zip(found.as_ref());
            return Err(
                match is_marked.is_some_and(|(mark, found)| mark.is(found)) {
                    // Perhaps a copy of it: which one is right, a person has to say.
                    true => io::Error::other(format!(
                        "the directory {} has this archive's mark, but is another one than at the start: if its disk was mounted \
                     again, restart the service",
                        self.path.display()
                    )),
                    false => away("is another one than at the start", &self.path),
                },
            );
        }
        match (&self.mark, found) {
            (None, _) => Ok(here),
            (Some(mark), Some(found)) if mark.is(&found) => Ok(here),
            (Some(_), Some(_)) => Err(away("has the mark of another one", &self.path)),
            (Some(_), None) => Err(away("has no mark", &self.path)),
        }
    }
}

fn away(what: &str, path: &Path) -> io::Error {
    io::Error::other(format!(
        "the directory {} {what}: its disk is not mounted, or the setting names another place",
        path.display()
    ))
}

fn open_in_place(path: &Path) -> io::Result<OwnedFd> {
    openat(CWD, path, DIRECTORY, Mode::empty()).map_err(|error| match error {
        Errno::NOENT => away("is missing", path),
        error => {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        }
    })
}

fn not_regular(path: &Path) -> io::Error {
    let path = path.display();
    io::Error::new(ErrorKind::InvalidData, format!("{path} is no regular file"))
}

fn identity(handle: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = fstat(handle)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// An open directory that is in its place. All paths are relative to it.
#[derive(Clone, Debug)]
pub struct Here(Arc<OwnedFd>);

impl Here {
    /// The text of its mark; `None` if it has none.
    fn mark(&self) -> io::Result<Option<String>> {
        let mut text = String::new();
        match self.open(Path::new(NAME)) {
            Ok(mut file) => {
                file.read_to_string(&mut text)?;
                Ok(Some(text))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // Another kind than that of a damaged file in a directory that is in its place.
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Opens a file to read.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        self.open_with(path, OFlags::RDONLY)
    }

    /// Opens a file to read and write.
    pub fn open_to_change(&self, path: &Path) -> io::Result<File> {
        self.open_with(path, OFlags::RDWR)
    }

    /// Makes a new file, for its owner only, and the directories above it.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        if let Some(parent) = path.parent() {
            self.make_directories(parent)?;
        }
        self.open_with(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)
    }

    /// Refuses anything but a regular file, with [`ErrorKind::InvalidData`].
    fn open_with(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let mode = Mode::RUSR | Mode::WUSR;
        let file = match openat(&self.0, path, flags | OFlags::CLOEXEC, mode) {
            Ok(file) => File::from(file),
            Err(Errno::ISDIR | Errno::NXIO) => return Err(not_regular(path)),
            Err(error) => return Err(error.into()),
        };
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(not_regular(path)),
        }
    }

    fn make_directories(&self, path: &Path) -> io::Result<()> {
        let mut made = PathBuf::new();
        for part in path {
            made.push(part);
            match mkdirat(&self.0, &made, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes a file whole: under another name first, then synced and renamed, with the directories above it synced
    /// too.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // Two processes may write the same file at once, so each has its own name until the rename.
        let part = path.with_extension(format!("{:08x}.part", rand::random::<u32>()));
        let written = self.create(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            self.rename(&part, path)
        });
        if written.is_err() {
            // The error that is returned says more than one of this.
            let _ = self.remove(&part);
        }
        written
    }

    /// Renames a file, and syncs the directories above its new name.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        renameat(&self.0, from, &self.0, to)?;
        // Another writer may have made a directory and not synced it yet, so each writer syncs all of them.
        for parent in to.ancestors().skip(1) {
            self.sync(parent)?;
        }
        Ok(())
    }

    /// Removes a file. One that is absent counts as removed; a directory in its place stays.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        match unlinkat(&self.0, path, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is something at `path` that is not a directory.
    pub fn has(&self, path: &Path) -> io::Result<bool> {
        match statat(&self.0, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(!FileType::from_raw_mode(found.st_mode).is_dir()),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Syncs a directory, so that names that were made or removed in it are durable. An empty path is this directory;
    /// an absent one has nothing to sync.
    pub fn sync(&self, path: &Path) -> io::Result<()> {
        match self.directory(path) {
            Ok(directory) => File::from(directory).sync_all(),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Names in a directory, in no particular order; none if `path` is not a directory. An empty path is this directory.
    pub fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        use std::os::unix::ffi::OsStringExt;
        let directory = match self.directory(path) {
            Ok(directory) => directory,
            Err(Errno::NOTDIR) => return Ok(vec![]),
            Err(error) => return Err(error.into()),
        };
        let mut names = vec![];
        for entry in Dir::new(directory)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    fn directory(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        match path.as_os_str().is_empty() {
            // A handle of its own: a listing moves its place in the directory.
            true => openat(self.0.as_fd(), ".", DIRECTORY, Mode::empty()),
            false => openat(self.0.as_fd(), path, DIRECTORY, Mode::empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn mark() -> Mark {
        Mark::new("0123", "keyring")
    }

    fn made() -> (tempfile::TempDir, PathBuf, MarkedDirectory) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring");
        let marked = MarkedDirectory::open(&path, Marking::Make(mark())).unwrap();
        (dir, path, marked)
    }

    #[test]
    fn while_it_is_away_nothing_is_written_nor_said_to_be_missing() {
        let (dir, path, marked) = made();
        let aside = dir.path().join("aside");
        marked
            .prove()
            .unwrap()
            .write(Path::new("a/b"), b"1")
            .unwrap();
        fs::rename(&path, &aside).unwrap();
        let is_away = || {
            marked
                .prove()
                .is_err_and(|error| error.kind() != ErrorKind::NotFound)
        };
        assert!(is_away());
        // The bare mount point, and one that somebody has marked.
        fs::create_dir(&path).unwrap();
        assert!(is_away());
        fs::write(path.join(NAME), mark().text()).unwrap();
        assert!(is_away(), "another inode");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        fs::remove_dir_all(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        assert!(marked.prove().unwrap().has(Path::new("a/b")).unwrap());
    }

    #[test]
    fn a_directory_without_its_mark_is_not_opened() {
        let (_dir, path, marked) = made();
        assert!(MarkedDirectory::open(&path, Marking::Require(mark())).is_ok());
        let other = Mark::new("4567", "keyring");
        for wrong in [Marking::Require(other.clone()), Marking::Make(other)] {
            assert!(MarkedDirectory::open(&path, wrong).is_err());
        }
        fs::remove_file(path.join(NAME)).unwrap();
        assert!(MarkedDirectory::open(&path, Marking::Require(mark())).is_err());
        assert!(marked.prove().is_err());
        assert!(!path.join(NAME).exists());
        let absent = path.join("absent");
        for marking in [Marking::Require(mark()), Marking::Unmarked] {
            assert!(MarkedDirectory::open(&absent, marking).is_err());
        }
        assert!(!absent.exists());
    }

    #[test]
    fn what_was_begun_here_ends_here_though_the_directory_is_moved() {
        let (dir, path, marked) = made();
        let here = marked.prove().unwrap();
        let aside = dir.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        here.write(Path::new("a/b"), b"1").unwrap();
        assert_eq!(fs::read(aside.join("a/b")).unwrap(), b"1");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        assert_eq!(here.names(Path::new("a")).unwrap(), ["b"]);
        here.remove(Path::new("a/b")).unwrap();
        here.remove(Path::new("a/b")).unwrap();
        assert!(!here.has(Path::new("a/b")).unwrap());
    }
}
