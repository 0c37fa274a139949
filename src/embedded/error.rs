use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf, absolute},
};

use nix::unistd::geteuid;

use super::Account;

/// Why the embedded PostgreSQL cannot be used. Every message says what to do; no message contains a value of the
/// database.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// This machine has no PostgreSQL, and it could not be installed.
    #[error(
        "there is no PostgreSQL server on this machine, and it could not be brought ({tried}). Install it (apt-get install \
         postgresql), or set POSTGRES_BIN to the directory of its programs"
    )]
    NoServer {
        /// Description of the attempts to install it.
        tried: String,
    },
    /// A signal ended the program that installs PostgreSQL.
    #[error(
        "the installation of PostgreSQL was interrupted, and nothing else was tried. Start again to go on, or set \
         BRING_POSTGRES=no and install it yourself"
    )]
    Interrupted,
    /// `POSTGRES_BIN` names a directory without a server that this account can run.
    #[error("POSTGRES_BIN is {0}, but there is no working initdb, pg_ctl and postgres in it")]
    NotBinaries(PathBuf),
    /// The data was written by another major version than any installed one.
    #[error(
        "the database in {data} was made by PostgreSQL {data_major}, but only {found} is installed. \
         Install PostgreSQL {data_major} beside it (apt-get install postgresql-{data_major}), \
         or set POSTGRES_BIN to its binaries; to move to the newer one, see pg_upgrade, or dump with the old and restore with the new"
    )]
    OtherVersion {
        /// The directory with `PG_VERSION`.
        data: PathBuf,
        /// The major version in that file.
        data_major: u32,
        /// The major versions that are installed.
        found: String,
    },
    /// The database directory belongs to an account that PostgreSQL may not run as here.
    #[error(
        "{dir} belongs to user id {uid}, which is not an account that this process may run PostgreSQL as. Run this as that \
         user; root runs it as postgres, nobody or the account of the service"
    )]
    NotYours {
        /// The directory.
        dir: PathBuf,
        /// The user id of its owner.
        uid: u32,
    },
    /// The unprivileged account that the server runs as may not enter the directory.
    #[error(
        "PostgreSQL can't run as root, and user {account} may not enter {dir}: give every directory above it o+x, or move DATA_DIR"
    )]
    Unreachable {
        /// The directory.
        dir: PathBuf,
        /// The account that the server would run as.
        account: String,
    },
    /// `DATA_DIR/postgres` is a link that root does not follow.
    #[error(
        "{link} is a link to another place than {known}, and root does not follow it: another account may have made it. \
         Move the database to where the link is, or mount its disk there"
    )]
    OddLink {
        /// The link.
        link: PathBuf,
        /// The only path that it may lead to.
        known: PathBuf,
    },
    /// `RUN_AS`, or the owner of the data directory, is not an account of this machine.
    #[error(
        "there is no account {0} on this machine: make it (useradd --system), or set RUN_AS to one that exists"
    )]
    NoAccount(String),
    /// The service would work in a directory that another account owns.
    #[error(
        "the data directory {dir} belongs to {owner}, and RUN_AS says {account}: give it to {account} (chown -R, without the \
         directory postgres), or unset RUN_AS"
    )]
    OtherOwner {
        /// The data directory.
        dir: PathBuf,
        /// The account of `RUN_AS`.
        account: String,
        /// The directory's owner.
        owner: String,
    },
    /// The primary group of the account is root's, whose rights the service must not have.
    #[error("the primary group of {0} is root's: set RUN_AS to another account")]
    GroupOfRoot(String),
    /// Root could not be given up.
    #[error(
        "root cannot be given up for {account} ({source}): start this as {account}, or set RUN_AS to root to stay root"
    )]
    CannotBecome {
        /// The account to switch to.
        account: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The data directory holds other files and no archive, and would be given to the service's account.
    #[error(
        "{0} holds other files and no archive, and would be given to the service's account: set DATA_DIR to a directory of \
         its own"
    )]
    OtherUse(PathBuf),
    /// A running process uses the archive as root, and would go on writing files that root owns.
    #[error(
        "a service that stays root uses {0} (an older version, or RUN_AS=root): stop it, and start this version once, which \
         gives the archive to an account of its own"
    )]
    UsedByRoot(PathBuf),
    /// The path has an unsafe character: `pg_ctl` passes the path to a shell inside double quotes.
    #[error(
        "{0} has a quote, a dollar sign, a backslash or a line break in its name; choose another DATA_DIR"
    )]
    OddPath(PathBuf),
    /// This process is root, and there is no unprivileged account to run PostgreSQL as.
    #[error("PostgreSQL can't run as root, and neither user postgres nor user nobody exists")]
    NoUnprivilegedAccount,
    /// One of PostgreSQL's programs failed.
    #[error("{program} failed: {said}")]
    Failed {
        /// `initdb`, `pg_ctl start` …
        program: &'static str,
        /// The end of its output or of the server's log.
        said: String,
    },
    /// The server runs but doesn't answer as it should.
    #[error("the embedded PostgreSQL refused: {0}")]
    Refused(String),
    /// Another `serve` works on the same data directory.
    #[error(
        "another serve (process {pid}) already works on {dir}; stop it first, or give this one another DATA_DIR"
    )]
    AlreadyServed {
        /// The data directory.
        dir: PathBuf,
        /// The id of the other process, which it wrote into the lock file.
        pid: String,
    },
    /// The data directory belongs to another account, and the system denies this process access to it.
    #[error(
        "{dir} belongs to the account {owner}, and this account may not use the archive in it: run the command as \
         {allowed}, or set DATA_DIR to another directory"
    )]
    OtherAccount {
        /// The data directory.
        dir: PathBuf,
        /// The name of its owner, or the user id if it has no name.
        owner: String,
        /// The accounts that may use it, such as `root or as daemon`.
        allowed: String,
    },
    /// The data directory, or a directory above it, is a file.
    #[error(
        "DATA_DIR is {dir}, and {file} is a file: a directory is needed there. Set DATA_DIR to another path, or move the file \
         away"
    )]
    NotDirectory {
        /// The data directory.
        dir: PathBuf,
        /// The file in its place, or in that of a directory above it.
        file: PathBuf,
    },
    /// A file or directory could not be used.
    #[error("{path}: {source}")]
    File {
        /// Path of the file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl EmbeddedError {
    /// For `map_err` on file operations.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// As [`EmbeddedError::file`], for the data directory `dir` or a file in it: if the system denies access because the
    /// directory belongs to another account, the error names that account; if a file is in its place, that file.
    pub(super) fn in_data_dir(
        dir: &Path,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let (dir, path) = (absolute(dir).unwrap_or_else(|_| dir.into()), path.into());
        move |source| match denied_owner(&dir, &source) {
            None => match file_instead_of(&dir) {
                Some(file) => Self::NotDirectory { dir, file },
                None => Self::File { path, source },
            },
            Some(owner) => Self::OtherAccount {
                // Of an archive that root made, the database belongs to PostgreSQL's account, and root alone starts it.
                allowed: match owner_of(&dir.join(super::place::NAME)) {
                    Some(database) if database == owner && owner != "root" => {
                        format!("root or as {owner}")
                    }
                    _ => "root".to_owned(),
                },
                dir,
                owner,
            },
        }
    }

    /// As [`EmbeddedError::in_data_dir`], for the database's own directory, which belongs to PostgreSQL's account if root
    /// made the archive: then root alone can start PostgreSQL.
    pub(super) fn in_database_dir(dir: &Path) -> impl FnOnce(io::Error) -> Self {
        let dir = dir.to_owned();
        move |source| match denied_owner(&dir, &source) {
            None => Self::File { path: dir, source },
            Some(owner) => Self::OtherAccount {
                allowed: "root, whose archive it is".to_owned(),
                dir,
                owner,
            },
        }
    }

    /// Keeps only parts that cannot contain a value: the SQLSTATE, or the operating system's message.
    pub(super) fn refused(error: &sqlx::Error) -> Self {
        Self::Refused(match error {
            sqlx::Error::Database(e) => format!("SQLSTATE {}", e.code().unwrap_or_default()),
            sqlx::Error::Io(e) => e.to_string(),
            _ => "no connection".into(),
        })
    }
}

/// The account that `dir` belongs to. `None` if `error` is not a denial, if the directory is this process's, if this
/// process is root, or if the owner cannot be read.
fn denied_owner(dir: &Path, error: &io::Error) -> Option<String> {
    let us = geteuid();
    let is_ours = us.is_root() || fs::metadata(dir).ok()?.uid() == us.as_raw();
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    owner_of(dir).filter(|_| is_denied && !is_ours)
}

/// The file in the place of the directory `dir`, or of one above it.
fn file_instead_of(dir: &Path) -> Option<PathBuf> {
    let nearest = dir.ancestors().find(|path| path.exists())?;
    (!nearest.is_dir()).then(|| nearest.to_owned())
}

/// The name of the account that owns `dir`, or its user id if it has no name; `None` if it cannot be read.
fn owner_of(dir: &Path) -> Option<String> {
    let uid = fs::metadata(dir).ok()?.uid();
    Some(Account::of_uid(uid).map_or(uid.to_string(), |account| account.name().to_owned()))
}
