//! However a process ends, it leaves no PostgreSQL running and no file that should be deleted.

use std::{
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    archive,
    process::{Home, LONGEST, Running, get, signal},
};

#[test]
fn a_start_that_fails_late_stops_postgresql() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    assert!(serve.stop());
    let other = home.dir.path().join("other.key");
    let other = other.to_str().unwrap();
    assert!(home.run(&["keys", "new", other]).success);
    let nobody_there = [
        ("OBJECTS_URL", "s3://bucket/prefix"),
        ("AWS_ENDPOINT", "http://127.0.0.1:1"),
        ("AWS_REGION", "here"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hush"),
    ];
    // These faults are found one after the other, all while PostgreSQL runs.
    for (settings, words) in [
        (&[("SECRET_KEY_FILE", other)][..], "another secret key"),
        (
            &[("LEDGER_COPIES", "file:///dev/null/copies")],
            "/dev/null/copies",
        ),
        (&nobody_there, "OBJECTS_URL: S3 failed to read an object"),
    ] {
        let mut serve = home.program();
        serve
            .args(["serve", "--listen", "127.0.0.1:0"])
            .envs(settings.iter().copied());
        let ended = crate::process::ended(serve);
        assert!(!ended.success, "{settings:?}: {}", ended.said);
        assert!(ended.said.contains(words), "{settings:?}: {}", ended.said);
        assert!(!ended.said.contains("Dashboard"), "{settings:?}");
        assert_eq!(home.postmaster(), None, "{settings:?}");
    }
}

#[test]
fn every_signal_that_ends_the_service_stops_postgresql() {
    for kind in [Signal::TERM, Signal::INT, Signal::HUP] {
        let home = Home::new();
        let (mut serve, _) = archive(&home);
        assert!(home.postmaster().is_some());
        signal(serve.child.id(), kind);
        assert!(
            serve.child.wait().unwrap().success(),
            "{kind:?}: {}",
            serve.said()
        );
        assert_eq!(home.postmaster(), None, "{kind:?}");
    }
}

#[test]
fn a_signal_while_the_service_starts_stops_postgresql() {
    let home = Home::new();
    let mut serve = home.program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running::start(serve);
    serve.says("making a PostgreSQL");
    signal(serve.child.id(), Signal::TERM);
    serve.child.wait().unwrap();
    assert!(!serve.said().contains("Dashboard"), "{}", serve.said());
    assert_eq!(home.postmaster(), None, "{}", serve.said());
    // The interrupted start left a database without tables, which is not an archive.
    let list = home.run(&["operator", "list"]);
    assert!(!list.success);
    let words = format!("there is no archive in {}", home.data().display());
    assert!(list.said.contains(&words), "{}", list.said);
}

#[test]
fn a_hangup_that_was_to_be_ignored_is() {
    let home = Home::new();
    let program = home.program();
    let mut nohup = Command::new("/bin/sh");
    nohup
        .args(["-c", r#"trap '' HUP; exec "$@""#, "sh"])
        .arg(program.get_program())
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env_clear();
    for (name, value) in program.get_envs() {
        nohup.envs(value.map(|value| (name, value)));
    }
    let mut serve = Running::start(nohup);
    serve.says("Dashboard: ");
    signal(serve.child.id(), Signal::HUP);
    assert!(home.run(&["channel", "list"]).success);
    assert!(
        serve.child.try_wait().unwrap().is_none(),
        "{}",
        serve.said()
    );
    assert!(serve.stop());
}

#[test]
fn nothing_of_a_demo_stays_whatever_ends_it() {
    for kind in [Signal::TERM, Signal::INT, Signal::HUP] {
        let home = Home::new();
        let temporary = home.dir.path().join("tmp");
        fs::create_dir(&temporary).unwrap();
        crate::process::mode(&temporary, 0o1777);
        let mut demo = home.program();
        demo.args(["demo", "--listen", "127.0.0.1:0"])
            .env("TMPDIR", &temporary);
        let mut demo = Running::start(demo);
        demo.says("Dashboard: ");
        assert!(fs::read_dir(&temporary).unwrap().count() > 0);
        signal(demo.child.id(), kind);
        assert!(demo.child.wait().unwrap().success(), "{kind:?}");
        // PostgreSQL deletes its directory when it ends, a moment later.
        let start = Instant::now();
        while fs::read_dir(&temporary).unwrap().count() > 0 {
            let left: Vec<_> = fs::read_dir(&temporary).unwrap().collect();
            assert!(start.elapsed() < LONGEST, "{kind:?}: {left:?}");
            sleep(Duration::from_millis(20));
        }
    }
}

/// The disks of keyring and objects hang: an open of a file there does not return.
#[test]
fn a_service_ends_although_its_disks_hang() {
    let home = Home::new();
    let (mut serve, dashboard) = archive(&home);
    let address = dashboard
        .trim_start_matches("http://")
        .trim_end_matches('/');
    for name in ["keyring/mark", "objects/mark"] {
        let mark = home.data().join(name);
        fs::remove_file(&mark).unwrap();
        let made = Command::new("mkfifo")
            .args(["-m", "666"])
            .arg(&mark)
            .status();
        assert!(made.unwrap().success());
    }
    serve.until(|| get(address, "/readyz/pages").starts_with("HTTP/1.1 503"));
    assert!(
        get(address, "/readyz").starts_with("HTTP/1.1 200"),
        "keys are left"
    );
    let begun = Instant::now();
    assert!(serve.stop());
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}
