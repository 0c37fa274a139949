//! A start that waits says for what.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
};

use rustix::{
    fs::{CWD, mkfifoat},
    process::Signal,
};

use crate::{
    archive,
    process::{Home, Running, signal},
};

#[test]
fn a_start_that_waits_names_its_step_and_can_be_stopped() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    assert!(serve.stop());
    for (name, step) in [
        ("keyring", "Waiting for the keyring"),
        ("objects", "Waiting for the object store at file://"),
    ] {
        let [mark, aside] = ["mark", "aside"].map(|file| home.data().join(name).join(file));
        fs::rename(&mark, &aside).unwrap();
        mkfifoat(CWD, &mark, 0o600.into()).unwrap();
        let owner = fs::metadata(&aside).unwrap();
        chown(&mark, Some(owner.uid()), Some(owner.gid())).unwrap();
        let mut serve = home.program();
        serve.args(["serve", "--listen", "127.0.0.1:0"]);
        let mut serve = Running::start(serve);
        serve.says(step);
        signal(serve.child.id(), Signal::TERM);
        serve.child.wait().unwrap();
        assert_eq!(home.postmaster(), None);
        fs::remove_file(&mark).unwrap();
        fs::rename(&aside, &mark).unwrap();
    }
}
