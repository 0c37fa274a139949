//! Operators, and the setup link for the first administrator.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    archive,
    process::{Ended, Home, LONGEST, Running},
};

/// Runs a command that reads a password.
pub fn with_password(home: &Home, args: &[&str]) -> Ended {
    let password = tempfile::NamedTempFile::new_in(home.dir.path()).unwrap();
    fs::write(password.path(), "a long enough password\n").unwrap();
    let mut program = home.program();
    program
        .args(args)
        .stdin(Stdio::from(password.reopen().unwrap()));
    crate::process::ended(program)
}

/// Runs a command at a terminal, and types `typed` there.
pub fn at_terminal(home: &Home, args: &[&str], typed: &str) -> Ended {
    let input = tempfile::NamedTempFile::new_in(home.dir.path()).unwrap();
    fs::write(input.path(), typed).unwrap();
    let program = home.program();
    let line = format!("{} {}", program.get_program().display(), args.join(" "));
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &line, "/dev/null"])
        .env_clear()
        .stdin(input.reopen().unwrap());
    for (name, value) in program.get_envs() {
        terminal.envs(value.map(|value| (name, value)));
    }
    crate::process::ended(terminal)
}

/// The status of a page that is requested without a session.
fn status(url: &str) -> u16 {
    let (address, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let answer = crate::process::get(address, &format!("/{path}"));
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_link_lives_until_there_is_an_administrator() {
    let home = Home::new();
    let mut serve = home.program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = crate::process::Running::start(serve);
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
    let again = home.run(&["operator", "disable", "mika"]);
    assert!(!again.success);
    assert!(
        again.said.contains("mika is disabled already, since 2"),
        "{}",
        again.said
    );

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
        again.said.contains("mika is not disabled"),
        "{}",
        again.said
    );
    let nobody = home.run(&["operator", "enable", "nobody"]);
    assert!(
        nobody.said.contains("there is no operator nobody"),
        "{}",
        nobody.said
    );
    let reset = with_password(&home, &["operator", "reset-password", "mika"]);
    assert!(!reset.said.contains("cannot sign in"), "{}", reset.said);
    assert!(serve.stop());
}

#[test]
fn a_usage_line_demands_nothing_that_the_environment_has() {
    let home = Home::new();
    let add = home.run(&["operator", "add"]);
    assert!(
        add.said
            .contains("operator add [OPTIONS] --role <ROLE> <LOGIN>"),
        "{}",
        add.said
    );
}

#[test]
fn who_gives_up_at_a_prompt_gets_the_terminal_back_as_it_was() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    for key in ["\u{3}", "\u{4}"] {
        let program = home.program();
        let path = program.get_program().display();
        let line = format!("{path} operator add mika --role admin; echo ended with $?; stty -a");
        let mut terminal = Command::new("script");
        terminal
            .args(["-qec", &line, "/dev/null"])
            .env_clear()
            .stdin(Stdio::piped());
        for (name, value) in program.get_envs() {
            terminal.envs(value.map(|value| (name, value)));
        }
        let mut terminal = Running::start(terminal);
        let begun = Instant::now();
        while !terminal.said().contains("Password: ") {
            assert!(begun.elapsed() < LONGEST, "{}", terminal.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut typing = terminal.child.stdin.take().unwrap();
        typing.write_all(key.as_bytes()).unwrap();
        let settings = terminal.says(" iexten ");
        drop(typing);
        let said = terminal.said();
        for words in ["nothing was changed", "ended with 1"] {
            assert!(said.contains(words), "{key:?}: {said}");
        }
        assert!(settings.starts_with("echo "), "{key:?}: {said}");
    }
    assert!(serve.stop());
}

#[test]
fn at_a_terminal_a_password_is_asked_for_twice() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    let add = ["operator", "add", "mika", "--role", "admin"];
    let once = "a long enough password\n";
    let differs = at_terminal(&home, &add, &format!("{once}a long enough passwort\n"));
    assert!(!differs.success, "{}", differs.said);
    for words in ["again", "the two passwords differ", "nothing was changed"] {
        assert!(differs.said.contains(words), "{words}: {}", differs.said);
    }
    // A short one is refused after the first time.
    let short = at_terminal(&home, &add, &"short\n".repeat(2));
    assert!(!short.success, "{}", short.said);
    let words = "at least 12 characters";
    assert!(short.said.contains(words), "{}", short.said);
    assert!(!short.said.contains("again"), "{}", short.said);
    assert!(!home.run(&["operator", "list"]).said.contains("mika"));
    let same = at_terminal(&home, &add, &once.repeat(2));
    assert!(same.success, "{}", same.said);
    let reset = ["operator", "reset-password", "mika"];
    assert!(!at_terminal(&home, &reset, &format!("{once}\n")).success);
    assert!(at_terminal(&home, &reset, &once.repeat(2)).success);
    // From a pipe a password is read once: there is no typing error to catch.
    assert!(with_password(&home, &reset).success);
    for command in [&["operator", "add", "aiko", "--role", "admin"][..], &reset] {
        let nothing = home.run(command);
        assert!(!nothing.success, "{command:?}");
        for words in ["no password was given", "standard input, as one line"] {
            assert!(nothing.said.contains(words), "{words}: {}", nothing.said);
        }
    }
    assert!(serve.stop());
}
