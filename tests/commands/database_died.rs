//! The embedded PostgreSQL may die under the service: killed, or by a full disk.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    archive,
    process::{Home, LONGEST, get, signal},
};

#[test]
fn a_postgresql_that_was_killed_is_started_again() {
    let home = Home::new();
    let (mut serve, dashboard) = archive(&home);
    let address = dashboard
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let ready = || get(address, "/readyz").starts_with("HTTP/1.1 200");
    for times in 1..=3 {
        let killed = home.postmaster().unwrap();
        signal(killed, Signal::KILL);
        serve.says_so_often("PostgreSQL runs again", times);
        assert_ne!(home.postmaster(), Some(killed));
        // A result of the check may be two seconds old.
        serve.until(ready);
    }
    assert!(serve.stop());
    assert_eq!(
        home.postmaster(),
        None,
        "the one that was started again is stopped"
    );
}

/// A signal in the middle of a start.
#[test]
fn a_service_ends_while_its_postgresql_is_started_again() {
    let home = Home::new();
    let (mut serve, _) = archive(&home);
    signal(home.postmaster().unwrap(), Signal::KILL);
    serve.says("PostgreSQL has died");
    assert!(serve.stop());
    // A pid file of the killed one may be left.
    let left = home.postmaster().map(|pid| format!("/proc/{pid}"));
    assert!(left.is_none_or(|process| !Path::new(&process).exists()));
}

/// The ids of all processes of PostgreSQL, the first one's first.
fn processes_of_postgresql(home: &Home) -> Vec<u32> {
    let first = home.postmaster().unwrap();
    let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
    let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
    [first].into_iter().chain(children).collect()
}

/// PostgreSQL is there and does nothing, as on a disk that hangs.
#[test]
fn a_service_ends_although_its_postgresql_hangs() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    let hung = processes_of_postgresql(&home);
    assert!(hung.len() > 3);
    hung.iter().for_each(|pid| signal(*pid, Signal::STOP));
    let begun = Instant::now();
    assert!(!serve.stop(), "a PostgreSQL that goes on is an error");
    let took = begun.elapsed();
    hung.iter().for_each(|pid| signal(*pid, Signal::CONT));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let begun = Instant::now();
    while Path::new(&format!("/proc/{}", hung[0])).exists() {
        assert!(begun.elapsed() < LONGEST, "it was told to stop");
        std::thread::yield_now();
    }
}
