//! Checks of the machine: the service's account, the limit of open files, free disk space, and who may enter the
//! directories.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::{Finding, Level};
use crate::{
    app::{
        places,
        serve::{SHARED_ACCOUNT, has_shared_account},
    },
    config::StorageConfig,
    embedded::Account,
    web::http::Limits,
};

/// Free disk space in MiB: below `SCARCE` is a warning, below `NONE_LEFT` is bad.
const SCARCE: u64 = 5 * 1024;
const NONE_LEFT: u64 = 512;

/// Advice for a full disk.
const DATABASE_FULL: &str = "without space webhooks are refused: make some";
const OBJECTS_FULL: &str = "without space new files wait, while webhooks are stored and pages are shown: make some before LINE \
                            deletes the files";
const KEYRING_FULL: &str = "without space no keys are made, and webhooks of new conversations are refused in the end: make some";

/// Mode bits of the group and of others.
const OTHERS: u32 = 0o077;

/// [`OTHERS`] without the group's execute bit: the service's account passes through PostgreSQL's directory to the
/// socket.
const OTHERS_BUT_PASSING: u32 = 0o067;

pub(super) fn check(storage: &StorageConfig) -> Vec<Finding> {
    let objects = match &storage.objects_url {
        Some(url) => url.to_file_path().ok(),
        None => Some(storage.data_dir.join("objects")),
    };
    let postgres = storage
        .database_url
        .is_none()
        .then(|| storage.data_dir.join("postgres"));
    let mut findings = vec![account(storage), connections()];
    if let Err(error) = places::check(storage) {
        let what = "the keyring, the secret key and the objects are not apart";
        findings.push(Finding::new(Level::Bad, what, error.to_string()));
    }
    for (what, path, others, when_full) in [
        ("the database", postgres, OTHERS_BUT_PASSING, DATABASE_FULL),
        ("objects", objects, OTHERS, OBJECTS_FULL),
    ] {
        let Some(path) = path else { continue };
        findings.extend([space(what, &path, when_full), closed(what, &path, others)]);
    }
    let keyring = match &storage.keyring_url {
        Some(url) => url.to_file_path().ok(),
        None => Some(storage.data_dir.join("keyring")),
    };
    let default = || storage.data_dir.join("secret.key");
    let secret = storage.secret_key_file.clone().unwrap_or_else(default);
    if let Some(path) = keyring {
        let what = "the keyring";
        findings.extend([
            space(what, &path, KEYRING_FULL),
            closed(what, &path, OTHERS),
        ]);
    }
    findings.push(closed("the secret key", &secret, beyond_secret(&secret)));
    findings
}

/// Checks the account that the service runs as if it is started as this command was.
fn account(storage: &StorageConfig) -> Finding {
    let account = storage.service.clone().or_else(Account::current);
    let name = account
        .as_ref()
        .map_or("an account without a name", Account::name);
    let what = match &storage.service {
        Some(_) => format!("the service runs as {name}"),
        None => format!("this command runs as {name}"),
    };
    match has_shared_account(storage) {
        true => Finding::new(Level::Warning, what, SHARED_ACCOUNT),
        false => Finding::ok(what),
    }
}

/// Checks how many connections the limit of open files allows. It reads the limit of this process; `serve` may have
/// been started with another one.
fn connections() -> Finding {
    let (allowed, wanted) = (
        Limits::of_this_process().connections,
        Limits::default().connections,
    );
    let what = format!("{allowed} connections at once fit into the limit of open files");
    if allowed >= wanted {
        return Finding::ok(what);
    }
    let advice = "raise the hard limit to 16896 where `serve` is started (ulimit -Hn, or LimitNOFILE= of systemd)";
    Finding::new(Level::Warning, what, advice)
}

/// Mode bits that the file of the secret key must not have. If the service is not root, it accepts a file that root
/// owns and that a group may read.
fn beyond_secret(path: &Path) -> u32 {
    let is_roots = fs::metadata(path).is_ok_and(|found| found.uid() == 0);
    match is_roots && !rustix::process::geteuid().is_root() {
        true => 0o037,
        false => OTHERS,
    }
}

fn space(what: &str, path: &Path, when_full: &str) -> Finding {
    let Ok(disk) = rustix::fs::statvfs(path) else {
        return unseen(what);
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize) >> 20;
    space_left(what, free, when_full)
}

/// The finding for so many free MiB.
fn space_left(what: &str, free: u64, when_full: &str) -> Finding {
    let what = format!("{free} MiB are free for {what}");
    if free >= SCARCE {
        return Finding::ok(what);
    }
    let level = if free < NONE_LEFT {
        Level::Bad
    } else {
        Level::Warning
    };
    Finding::new(level, what, when_full)
}

/// Checks that `path` has none of the mode bits `others`. The finding does not contain the path.
fn closed(what: &str, path: &Path, others: u32) -> Finding {
    let Ok(found) = fs::metadata(path) else {
        return unseen(what);
    };
    match found.mode() & others {
        0 => Finding::ok(format!("only its owner may open {what}")),
        _ => Finding::new(
            Level::Bad,
            format!(
                "others than its owner may open {what} (mode {:03o})",
                found.mode() & 0o777
            ),
            "take their rights away with chmod go-rwx",
        ),
    }
}

fn unseen(what: &str) -> Finding {
    let advice = "its directory is missing, or this user may not enter it";
    Finding::new(
        Level::Warning,
        format!("{what} cannot be looked at"),
        advice,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_to_stop_only_what_it_stops() {
        for (when_full, refuses) in [
            (DATABASE_FULL, true),
            (OBJECTS_FULL, false),
            (KEYRING_FULL, true),
        ] {
            for (free, level) in [
                (NONE_LEFT - 1, Level::Bad),
                (NONE_LEFT, Level::Warning),
                (SCARCE, Level::Ok),
            ] {
                let finding = space_left("x", free, when_full);
                assert_eq!(finding.level, level);
                let is_told = finding.advice.contains("are refused");
                assert_eq!(is_told, refuses && level != Level::Ok, "{finding:?}");
            }
        }
    }
}
