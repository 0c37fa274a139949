//! Where the database lives: `DATA_DIR/postgres`, which is a link to somewhere else
//! where the unprivileged user can't enter `DATA_DIR` (a directory under `/root`, say).

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{EmbeddedError, owner::Owner};

/// The longest path of a unix socket, and the name PostgreSQL adds to the directory.
const LONGEST_SOCKET: usize = 107;
const SOCKET_NAME: &str = "/.s.PGSQL.5432";

/// Makes `data_dir` if absent and gives its true path. Others may pass through it (the server has to) but not list it.
pub(super) fn data_dir(data_dir: &Path) -> Result<PathBuf, EmbeddedError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(data_dir)
        .and_then(|()| data_dir.canonicalize())
        .map_err(EmbeddedError::file(data_dir))
}

/// The database's own directory for `data_dir` and the user it belongs to; made if absent. `elsewhere` is where
/// databases go whose `data_dir` that user can't enter.
pub(super) async fn base(
    data_dir: &Path,
    elsewhere: &Path,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(PathBuf, Owner), EmbeddedError> {
    let link = data_dir.join("postgres");
    if let Ok(base) = link.canonicalize() {
        let owner = Owner::of(&base)?;
        owner.furnish(&base)?;
        if !owner.reaches(&base).await {
            return Err(EmbeddedError::Unreachable {
                dir: base,
                uid: owner.uid(),
            });
        }
        return Ok((base, owner));
    }
    let owner = Owner::for_new()?;
    if owner.reaches(data_dir).await {
        owner.furnish(&link)?;
        return Ok((link, owner));
    }
    // Named after the path, so that a lost link finds the same database again.
    let base = elsewhere.join(name_of(data_dir));
    say(&format!(
        "PostgreSQL can't run as root, and user id {} may not enter {}: the database goes to {}",
        owner.uid(),
        data_dir.display(),
        base.display()
    ));
    let owner = if base.exists() {
        Owner::of(&base)?
    } else {
        owner
    };
    owner.furnish(&base)?;
    if !owner.reaches(&base).await {
        return Err(EmbeddedError::Unreachable {
            dir: base,
            uid: owner.uid(),
        });
    }
    // A dangling link is a database that was taken away; a new one takes its place.
    fs::remove_file(&link)
        .or_else(absent_is_fine)
        .map_err(EmbeddedError::file(&link))?;
    symlink(&base, &link).map_err(EmbeddedError::file(&link))?;
    Ok((base, owner))
}

/// The directory of the unix socket: `base` itself, unless the path would be too long for the kernel
/// or needs quoting in PostgreSQL's settings.
pub(super) fn socket_dir(base: &Path, owner: Owner) -> Result<PathBuf, EmbeddedError> {
    let plain = base.to_str().is_some_and(|path| {
        path.len() + SOCKET_NAME.len() <= LONGEST_SOCKET
            && path
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    });
    if plain {
        return Ok(base.into());
    }
    let run = Path::new("/run");
    let parent = if owner.drops() && run.is_dir() {
        run
    } else {
        Path::new("/tmp")
    };
    let dir = parent.join(format!("line-chat-archive-{}", name_of(base)));
    // In /tmp somebody else may have been there first.
    match fs::symlink_metadata(&dir) {
        Ok(meta) if !meta.is_dir() || Owner::of(&dir)? != owner => {
            return Err(EmbeddedError::NotYours {
                dir,
                uid: std::os::unix::fs::MetadataExt::uid(&meta),
            });
        }
        _ => owner.furnish(&dir)?,
    }
    Ok(dir)
}

/// A short name that is always the same for the same path.
fn name_of(path: &Path) -> String {
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(super) fn absent_is_fine(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}
