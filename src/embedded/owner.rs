//! Whom PostgreSQL runs as: it refuses root, so as root we drop to somebody unprivileged.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Stdio,
};

use tokio::process::Command;

use super::EmbeddedError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    uid: u32,
    gid: u32,
    /// We are root, and become this user for each program of PostgreSQL's.
    drops: bool,
}

impl Owner {
    /// Whom a new database should belong to: ourselves, or for root `postgres`, else `nobody`
    /// (`initdb` wants a name in `/etc/passwd`).
    pub(super) fn for_new() -> Result<Self, EmbeddedError> {
        let (uid, gid) = ourselves();
        if uid != 0 {
            return Ok(Self {
                uid,
                gid,
                drops: false,
            });
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| passwd.lines().find_map(|line| ids_of(name, line)))
            .map(|(uid, gid)| Self {
                uid,
                gid,
                drops: true,
            })
            .ok_or(EmbeddedError::NobodyToBe)
    }

    /// Whom the database in `dir` already belongs to. That the `postgres` user came later doesn't change it.
    pub(super) fn of(dir: &Path) -> Result<Self, EmbeddedError> {
        let meta = fs::metadata(dir).map_err(EmbeddedError::file(dir))?;
        let (us, _) = ourselves();
        match meta.uid() {
            0 => Self::for_new(),
            uid if us == 0 || us == uid => Ok(Self {
                uid,
                gid: meta.gid(),
                drops: us == 0,
            }),
            uid => Err(EmbeddedError::NotYours {
                dir: dir.into(),
                uid,
            }),
        }
    }

    pub(super) fn uid(self) -> u32 {
        self.uid
    }

    pub(super) fn drops(self) -> bool {
        self.drops
    }

    /// A program to be run as this user, with nothing of our environment: `PG*` variables and locales stay out.
    /// std lets go of root's supplementary groups by itself when it changes the user.
    pub(super) fn command(self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null());
        if self.drops {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether this user may enter `dir`. The kernel is asked, not the mode bits: it knows every rule.
    pub(super) async fn reaches(self, dir: &Path) -> bool {
        let mut command = self.command("/bin/sh");
        command
            .args(["-c", r#"cd -- "$1""#, "sh"])
            .arg(dir)
            .stderr(Stdio::null());
        command.status().await.is_ok_and(|status| status.success())
    }

    /// Makes `dir` (and what is above it) if absent, gives it to this user, and closes it to everybody else.
    pub(super) fn furnish(self, dir: &Path) -> Result<(), EmbeddedError> {
        let err = || EmbeddedError::file(dir);
        fs::create_dir_all(dir).map_err(err())?;
        if self.drops {
            std::os::unix::fs::chown(dir, Some(self.uid), Some(self.gid)).map_err(err())?;
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(err())
    }
}

fn ourselves() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

/// uid and gid, if this line of `/etc/passwd` is about `name`.
fn ids_of(name: &str, line: &str) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    (fields.next() == Some(name)).then_some(())?;
    Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passwd_line_gives_its_ids_to_the_right_name_only() {
        let line = "postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash";
        assert_eq!(ids_of("postgres", line), Some((101, 104)));
        assert_eq!(ids_of("post", line), None);
        assert_eq!(ids_of("postgres", "postgres:x:broken"), None);
    }
}
