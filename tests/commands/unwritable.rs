//! Disks that cannot be written: of standard output and standard error, and of the archive's places.

use std::{
    fs::{self, File},
    process::{Command, Stdio},
};

use rustix::process::Signal;

use crate::{
    archive,
    process::{Home, Running, ended, get, is_root, signal},
    surroundings::Mounted,
};

fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// Starts `serve` with one of its streams redirected to a full disk.
fn serve_with(home: &Home, stream: &str) -> Running {
    let program = home.program();
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &format!(r#"exec "$@" {stream}>/dev/full"#), "sh"])
        .arg(program.get_program())
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env_clear();
    for (name, value) in program.get_envs() {
        shell.envs(value.map(|value| (name, value)));
    }
    Running::start(shell)
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing_and_leaves_nothing_running() {
    let home = Home::new();
    let mut serve = serve_with(&home, "2");
    let dashboard = serve.says("Dashboard: http://");
    let (address, _) = dashboard.split_once('/').unwrap();
    // Each request writes a line to the log.
    for path in ["/setup?token=x", "/live", "/nothing-here"] {
        assert!(get(address, path).starts_with("HTTP/1.1 "), "{path}");
    }
    assert!(serve.stop());
    assert_eq!(home.postmaster(), None);
}

#[test]
fn an_output_that_cannot_be_written_is_told_and_leaves_nothing_running() {
    let home = Home::new();
    let mut serve = serve_with(&home, "1");
    serve.says("standard output cannot be written");
    signal(serve.child.id(), Signal::TERM);
    assert_eq!(
        serve.child.wait().unwrap().code(),
        Some(2),
        "{}",
        serve.said()
    );
    assert_eq!(home.postmaster(), None);

    let (serve, _) = archive(&home);
    let mut list = home.program();
    let output = list
        .args(["channel", "list"])
        .stdout(full())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("standard output cannot be written"), "{said}");
    assert!(serve.stop());
}

#[test]
fn a_command_says_why_it_failed_whatever_rust_log_is() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    for filter in ["off", "hyper=info"] {
        let mut remove = home.program();
        remove
            .args(["channel", "remove", "nope"])
            .env("RUST_LOG", filter);
        let ended = crate::process::ended(remove);
        assert!(
            !ended.success && ended.said.contains("nope"),
            "{filter}: {}",
            ended.said
        );
    }
    assert!(serve.stop());
}

#[test]
fn signals_of_one_moment_are_one_order() {
    let home = Home::new();
    let (mut serve, _) = archive(&home);
    // Two signals of the same kind could be merged into one.
    for one in [Signal::HUP, Signal::TERM, Signal::INT] {
        signal(serve.child.id(), one);
    }
    assert!(serve.child.wait().unwrap().success(), "{}", serve.said());
    assert_eq!(home.postmaster(), None);
}

#[test]
fn a_read_only_disk_is_not_called_a_lack_of_rights() {
    if !is_root() {
        return;
    }
    for (setting, name) in [("OBJECTS_URL", "objects"), ("KEYRING_URL", "keyring")] {
        let home = Home::new();
        let place = home.dir.path().join(name);
        fs::create_dir(&place).unwrap();
        let _mounted = Mounted::tmpfs(&place, "ro,mode=777");
        let mut serve = home.program();
        serve
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env(setting, format!("file://{}", place.display()));
        let ended = ended(serve);
        assert!(!ended.success, "{}", ended.said);
        for words in ["mounted read-only", place.to_str().unwrap(), setting] {
            assert!(ended.said.contains(words), "{words}: {}", ended.said);
        }
        for words in ["chown", "RUN_AS"] {
            assert!(!ended.said.contains(words), "{words}: {}", ended.said);
        }
    }
}
