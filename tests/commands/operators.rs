//! Operators, and the link that makes the first administrator.

use std::{fs, process::Stdio};

use crate::{
    archive,
    world::{Ended, Home},
};

/// Runs a command that reads a password.
fn with_password(home: &Home, args: &[&str]) -> Ended {
    let password = tempfile::NamedTempFile::new_in(home.dir.path()).unwrap();
    fs::write(password.path(), "a long enough password\n").unwrap();
    let mut program = home.program();
    program
        .args(args)
        .stdin(Stdio::from(password.reopen().unwrap()));
    crate::world::ended(program)
}

/// The status of a page that is asked for without a session.
fn status(url: &str) -> u16 {
    let (address, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let answer = crate::world::get(address, &format!("/{path}"));
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_link_lives_until_there_is_an_administrator() {
    let home = Home::new();
    let mut serve = home.program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = crate::world::Running::start(serve);
    let link = serve.says("once, within a day: ");
    assert_eq!(status(&link), 200);

    let added = with_password(&home, &["operator", "add", "mika", "--role", "operator"]);
    assert!(added.success, "{}", added.said);
    for words in [
        "mika",
        "role operator",
        "all channels",
        "no administrator yet",
    ] {
        assert!(added.said.contains(words), "{words}: {}", added.said);
    }
    assert_eq!(status(&link), 200, "a plain operator cannot administer");

    let added = with_password(&home, &["operator", "add", "aiko", "--role", "admin"]);
    assert!(!added.said.contains("no administrator"), "{}", added.said);
    assert_eq!(status(&link), 404);
    assert!(serve.stop());
}

#[test]
fn who_was_disabled_can_be_enabled_and_a_password_for_them_says_that_it_is_not_enough() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    assert!(with_password(&home, &["operator", "add", "mika", "--role", "admin"]).success);
    let disabled = home.run(&["operator", "disable", "mika"]);
    assert!(disabled.success, "{}", disabled.said);
    assert!(
        disabled.said.contains("no administrator now"),
        "{}",
        disabled.said
    );
    assert!(home.run(&["operator", "list"]).said.contains("disabled at"));

    let reset = with_password(&home, &["operator", "reset-password", "mika"]);
    assert!(reset.success);
    assert!(
        reset.said.contains("cannot sign in until"),
        "{}",
        reset.said
    );

    assert!(home.run(&["operator", "enable", "mika"]).success);
    assert!(!home.run(&["operator", "list"]).said.contains("disabled at"));
    let again = home.run(&["operator", "enable", "mika"]);
    assert!(!again.success);
    assert!(
        again.said.contains("no disabled operator mika"),
        "{}",
        again.said
    );
    let reset = with_password(&home, &["operator", "reset-password", "mika"]);
    assert!(!reset.said.contains("cannot sign in"), "{}", reset.said);
    assert!(serve.stop());
}
