//! Finds PostgreSQL's own programs on this machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tokio::sync::Mutex;

use super::{EmbeddedError, install, owner::Owner};

static BRINGING: Mutex<()> = Mutex::const_new(());

#[derive(Clone, Debug)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    /// The programs for the database in `data`: of the major version that made it (`data_major`), or of the newest for
    /// a new database. If the machine has none at all, it installs them.
    pub(super) async fn for_data(
        data: &Path,
        data_major: Option<u32>,
        owner: &Owner,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, EmbeddedError> {
        let mut found = match env::var_os("POSTGRES_BIN").map(PathBuf::from) {
            Some(dir) => match Self::probe(&dir, owner).await {
                Some(binaries) => vec![binaries],
                None => return Err(EmbeddedError::NotBinaries(dir)),
            },
            None => Self::installed(owner).await,
        };
        if found.is_empty() {
            // Install them once, even if several tasks wait for them.
            let _turn = BRINGING.lock().await;
            found = Self::installed(owner).await;
            if found.is_empty() {
                let tried = install::install(data_major, say).await?;
                found = Self::installed(owner).await;
                if found.is_empty() {
                    return Err(EmbeddedError::NoServer { tried });
                }
            }
        }
        choose(found, data_major, data)
    }

    async fn installed(owner: &Owner) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for dir in places() {
            // /usr/local/bin often holds links, or wrapper scripts. A link is followed; a wrapper comes after the real
            // programs.
            let dir = dir
                .join("initdb")
                .canonicalize()
                .ok()
                .and_then(|p| Some(p.parent()?.to_owned()));
            if let Some(dir) = dir
                && !found.iter().any(|known| known.dir == dir)
                && let Some(binaries) = Self::probe(&dir, owner).await
            {
                found.push(binaries);
            }
        }
        found
    }

    /// Asks the server in `dir` for its version, as the account that it will run as. Programs in a home directory that
    /// this account cannot enter count as not found.
    async fn probe(dir: &Path, owner: &Owner) -> Option<Self> {
        let all_there = ["initdb", "pg_ctl", "postgres"]
            .iter()
            .all(|name| dir.join(name).is_file());
        all_there.then_some(())?;
        let output = owner
            .command(dir.join("postgres"))
            .arg("--version")
            .output()
            .await
            .ok()?;
        let major = major_in(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self {
            dir: dir.into(),
            major,
        })
    }
}

fn choose(
    found: Vec<Binaries>,
    data_major: Option<u32>,
    data: &Path,
) -> Result<Binaries, EmbeddedError> {
    let majors: Vec<_> = found.iter().map(|b| b.major.to_string()).collect();
    let Some(data_major) = data_major else {
        return found.into_iter().next().ok_or(EmbeddedError::NoServer {
            tried: String::new(),
        });
    };
    found
        .into_iter()
        .find(|b| b.major == data_major)
        .ok_or_else(|| EmbeddedError::OtherVersion {
            data: data.into(),
            data_major,
            found: majors.join(", "),
        })
}

/// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)" → 15
fn major_in(version: &str) -> Option<u32> {
    let after = version.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Directories to search, best first.
fn places() -> Vec<PathBuf> {
    let mut places = versions_in("/usr/lib/postgresql", "bin");
    places.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    places.push("/usr/local/pgsql/bin".into());
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt"] {
        places.extend(
            versions_in(homebrew, "bin")
                .into_iter()
                .filter(|p| p.to_string_lossy().contains("postgresql")),
        );
    }
    places.extend(install::wheel_bin());
    places
}

/// `parent/*/sub`, highest version first.
fn versions_in(parent: &str, sub: &str) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_by_key(|name| {
        let digits: String = name.chars().filter(char::is_ascii_digit).collect();
        std::cmp::Reverse(digits.parse::<u32>().unwrap_or(0))
    });
    names
        .into_iter()
        .map(|name| Path::new(parent).join(name).join(sub))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binaries(major: u32) -> Binaries {
        Binaries {
            dir: format!("/usr/lib/postgresql/{major}/bin").into(),
            major,
        }
    }

    #[test]
    fn versions_are_read_from_releases_betas_and_other_builds() {
        assert_eq!(
            major_in("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major_in("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(major_in("usage: wrapper"), None);
    }

    #[test]
    fn an_existing_database_gets_its_own_version_and_a_new_one_the_newest() {
        let both = || vec![binaries(17), binaries(15)];
        let data = Path::new("/srv/data");
        assert_eq!(choose(both(), None, data).unwrap().major, 17);
        assert_eq!(choose(both(), Some(15), data).unwrap().major, 15);
    }

    #[test]
    fn another_version_is_refused_with_words_on_what_to_do() {
        let refused = choose(vec![binaries(17)], Some(15), Path::new("/srv/data"))
            .unwrap_err()
            .to_string();
        for word in [
            "/srv/data",
            "made by PostgreSQL 15",
            "only 17",
            "postgresql-15",
            "POSTGRES_BIN",
            "pg_upgrade",
        ] {
            assert!(refused.contains(word), "{word} in {refused}");
        }
    }
}
