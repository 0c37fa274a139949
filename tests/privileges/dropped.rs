//! Which processes run as root, and which have given root up.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    process::{Command, Stdio},
    time::Instant,
};

use rustix::process::Signal;

use crate::process::{Home, Running, account, ended, get, is_root, mode, served, signal};

/// The ids and capabilities of all threads of a process, from their status files, without duplicates.
fn identities(pid: u32) -> BTreeSet<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let statuses = tasks.filter_map(|task| {
        let status = task.unwrap().path().join("status");
        fs::read_to_string(status).ok()
    });
    let mut found = BTreeSet::new();
    for status in statuses {
        for line in status.lines() {
            let (name, values) = line.split_once(':').unwrap();
            let name = match name {
                "Uid" | "CapEff" | "CapPrm" | "CapAmb" => name,
                // Supplementary groups count as groups.
                "Gid" | "Groups" => "Gid",
                _ => continue,
            };
            found.extend(
                values
                    .split_whitespace()
                    .map(|value| format!("{name} {value}")),
            );
        }
    }
    found
}

/// The `identities` of an account without any capability.
fn only(name: &str) -> BTreeSet<String> {
    let account = account(name);
    let none = "0000000000000000";
    BTreeSet::from([
        format!("Uid {}", account.uid()),
        format!("Gid {}", account.gid()),
        format!("CapEff {none}"),
        format!("CapPrm {none}"),
        format!("CapAmb {none}"),
    ])
}

/// Adds an operator; the password comes from standard input.
fn add_operator(home: &Home, login: &str) {
    let mut add = home.program();
    add.args(["operator", "add", login, "--role", "admin"]);
    let mut child = add.stdin(Stdio::piped()).spawn().unwrap();
    let mut password = child.stdin.take().unwrap();
    password.write_all(b"a long enough password\n").unwrap();
    drop(password);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_service_gives_up_root_answers_and_stops_postgresql_at_its_end() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let mut serve = home.program();
    // Only root can use this port.
    serve.args(["serve", "--listen", "127.0.0.1:871"]);
    let mut serve = Running::start(serve);
    let address = serve
        .says("Dashboard: http://")
        .trim_end_matches('/')
        .to_owned();
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    assert_eq!(identities(serve.child.id()), only("nobody"));
    let postmaster = home.postmaster().unwrap();
    assert_eq!(identities(postmaster), only("postgres"));

    // An admin command next to the service finds the running PostgreSQL, and doesn't stop it.
    add_operator(&home, "mika");
    assert!(home.run(&["operator", "list"]).said.contains("mika"));
    assert_eq!(home.postmaster(), Some(postmaster));
    assert!(
        get(&address, "/readyz").starts_with("HTTP/1.1 200"),
        "{}",
        serve.said()
    );

    assert!(serve.stop());
    assert_eq!(home.postmaster(), None, "PostgreSQL is stopped");
}

#[test]
fn a_killed_service_leaves_postgresql_which_the_next_one_adopts() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let mut serve = home.program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running::start(serve);
    serve.says("Dashboard: ");
    let postmaster = home.postmaster().unwrap();
    signal(serve.child.id(), Signal::KILL);
    serve.child.wait().unwrap();
    assert_eq!(home.postmaster(), Some(postmaster));
    let ended = home.run(&["operator", "list"]);
    assert!(ended.success, "{}", ended.said);
    assert_eq!(
        home.postmaster(),
        None,
        "the last process that uses it stops it"
    );
}

#[test]
fn postgresqls_account_reads_no_key_and_the_service_no_data_file() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let mut serve = home.program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running::start(serve);
    serve.says("Dashboard: ");
    for (who, path) in [
        ("postgres", "secret.key"),
        ("postgres", "keyring"),
        ("postgres", "objects"),
        ("postgres", "postgres-turn.lock"),
        ("nobody", "postgres/data"),
        ("nobody", "postgres/log"),
        ("daemon", "secret.key"),
        ("daemon", "postgres/.s.PGSQL.5432"),
    ] {
        let there = home.try_script("root", &format!("stat {path}"));
        assert!(there.success, "{path} is there: {}", there.said);
        let read = home.try_script(who, &format!("ls {path}/ || cat {path}"));
        assert!(!read.success, "{who} reads {path}: {}", read.said);
        assert!(
            read.said.contains("Permission denied"),
            "{who} {path}: {}",
            read.said
        );
    }
    assert!(serve.stop());
}

#[test]
fn an_archive_below_a_directory_that_only_root_can_enter_works() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    mode(home.dir.path(), 0o700);
    let mut serve = home.program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running::start(serve);
    serve.says("Dashboard: ");
    assert_eq!(identities(serve.child.id()), only("nobody"));
    // A relative path refers to the directory of the person who enters it.
    let out = home.dir.path().join("export");
    let start = Instant::now();
    while !out.join("checkpoint").exists() {
        let mut export = home.program();
        export.current_dir(home.dir.path());
        let _ = export
            .args(["erasures", "export", "--out", "export"])
            .output()
            .unwrap();
        assert!(start.elapsed().as_secs() < 30, "nothing is exported");
    }
    assert!(serve.stop());
    add_operator(&home, "mika");
    assert!(home.run(&["operator", "list"]).said.contains("mika"));
    assert_eq!(home.postmaster(), None);
    for name in ["secret.key", "keyring", "objects"] {
        let owner = fs::metadata(home.data().join(name)).unwrap().uid();
        assert_eq!(owner, account("nobody").uid(), "{name}");
    }
    // Messages name the directory by its usual path.
    fs::remove_file(home.data().join("secret.key")).unwrap();
    let ended = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    let path = home.data().join("secret.key");
    assert!(
        ended.said.contains(path.to_str().unwrap()),
        "{}",
        ended.said
    );
    assert!(!ended.said.contains("/proc/"), "{}", ended.said);
    fs::remove_dir_all(home.data().join("postgres").canonicalize().unwrap()).unwrap();
}

#[test]
fn a_relative_key_file_that_the_service_cannot_reach_is_named_in_the_error() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    mode(home.dir.path(), 0o700);
    let key = home.dir.path().join("own.key");
    fs::write(&key, [7; 32]).unwrap();
    mode(&key, 0o600);
    let nobody = account("nobody");
    std::os::unix::fs::chown(&key, Some(nobody.uid()), Some(nobody.gid())).unwrap();
    let mut serve = home.program();
    serve.current_dir(home.dir.path());
    serve
        .env("DATA_DIR", "data")
        .env("SECRET_KEY_FILE", "data/../own.key");
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running::start(serve);
    let start = Instant::now();
    while serve.child.try_wait().unwrap().is_none() && start.elapsed().as_secs() < 30 {
        if serve.said().contains("Dashboard") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // The service's account cannot reach the key: the error names the path and a remedy.
    let said = serve.said();
    for word in ["own.key", "SECRET_KEY_FILE", "nobody", "RUN_AS"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(home.postmaster(), None);
}

#[test]
fn the_umask_of_the_shell_does_not_change_modes() {
    if !is_root() {
        return;
    }
    for umask in ["077", "000"] {
        let home = Home::new();
        let data = home.dir.path().join("above/data");
        let mut serve = Command::new("/bin/sh");
        serve
            .args(["-c", "umask $1; exec \"$0\" serve --listen 127.0.0.1:0"])
            .arg(home.program().get_program())
            .arg(umask)
            .env("DATA_DIR", &data);
        let ended = served(serve);
        assert!(ended.success, "{umask}: {}", ended.said);
        for (name, bits) in [
            ("..", 0o711),
            (".", 0o711),
            ("postgres", 0o710),
            ("postgres/data", 0o700),
            ("keyring", 0o700),
            ("secret.key", 0o600),
        ] {
            let found = fs::symlink_metadata(data.join(name)).unwrap();
            assert_eq!(found.mode() & 0o7777, bits, "{umask}: {name}");
        }
    }
}

#[test]
fn the_demo_gives_up_root_too() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let mut demo = home.program();
    demo.args(["demo", "--listen", "127.0.0.1:0"]);
    let mut demo = Running::start(demo);
    let address = demo.says("Dashboard: http://");
    let address = address.split('/').next().unwrap();
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
    assert_eq!(identities(demo.child.id()), only("nobody"));
    assert!(demo.stop());
}

#[test]
fn an_export_goes_where_root_says_and_nothing_else_is_given_away() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let mut serve = home.program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running::start(serve);
    serve.says("Dashboard: ");
    let out = home.treasure().join("export");
    let args = ["erasures", "export", "--out", out.to_str().unwrap()];
    // The first checkpoint is signed within seconds.
    let start = Instant::now();
    let ended = loop {
        let ended = home.run(&args);
        if ended.success || start.elapsed().as_secs() > 30 {
            break ended;
        }
    };
    assert!(ended.success, "{}", ended.said);
    assert!(ended.said.contains(out.to_str().unwrap()), "{}", ended.said);
    let verify = home.run(&["erasures", "verify", "--export", out.to_str().unwrap()]);
    assert!(verify.success, "{}", verify.said);

    let full = home.treasure().join("directory");
    let ended = home.run(&["erasures", "export", "--out", full.to_str().unwrap()]);
    assert!(!ended.success);
    assert!(
        ended
            .said
            .contains("name a directory that is not there yet"),
        "{}",
        ended.said
    );
    assert_eq!(fs::metadata(&full).unwrap().uid(), 0);
    assert!(serve.stop());
}

#[test]
fn serve_names_its_account_and_the_command_in_setup_md_changes_it() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let made = home.make(&["--run-as", "nobody"]);
    assert!(
        made.said.contains("The service runs as nobody: "),
        "{}",
        made.said
    );
    let doctor = home.run(&["doctor"]).said;
    assert!(
        doctor.contains("warning  the service runs as nobody"),
        "{doctor}"
    );
    add_operator(&home, "mika");

    let setup = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/setup.md");
    let setup = fs::read_to_string(setup).unwrap();
    let line = setup.lines().find(|line| line.starts_with("chown -R"));
    let line = line.unwrap().replace("line-chat-archive:", "daemon:");
    let line = line.replace("/srv/line-chat-archive", home.data().to_str().unwrap());
    home.script("root", &line);
    let moved = home.make(&[]);
    assert!(moved.success, "{}", moved.said);
    assert!(
        moved.said.contains("The service runs as daemon."),
        "{}",
        moved.said
    );
    assert!(home.run(&["operator", "list"]).said.contains("mika"));
    let doctor = home.run(&["doctor"]).said;
    assert!(
        doctor.contains("ok       the service runs as daemon"),
        "{doctor}"
    );
    for name in ["", "secret.key", "keyring", "objects"] {
        let owner = fs::metadata(home.data().join(name)).unwrap().uid();
        assert_eq!(owner, account("daemon").uid(), "{name}");
    }
}

#[test]
fn an_ordinary_user_runs_an_archive_of_their_own() {
    // As root, this test runs the archive as another account.
    let home = Home::new();
    fs::create_dir(home.data()).unwrap();
    if is_root() {
        let daemon = account("daemon");
        std::os::unix::fs::chown(home.data(), Some(daemon.uid()), Some(daemon.gid())).unwrap();
    }
    for _ in 0..2 {
        for args in [
            &["serve", "--listen", "127.0.0.1:0"][..],
            &["operator", "list"],
        ] {
            let mut program = home.program_of_all();
            program.args(args).env("HOME", home.dir.path());
            if is_root() {
                use std::os::unix::process::CommandExt;
                let daemon = account("daemon");
                program.uid(daemon.uid()).gid(daemon.gid());
            }
            let done = match args[0] {
                "serve" => served(program),
                _ => ended(program),
            };
            assert!(done.success, "{args:?}: {}", done.said);
            assert_eq!(home.postmaster(), None, "{args:?}");
        }
    }
}

#[test]
fn a_command_beside_a_first_start_waits_for_its_turn() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let mut serve = home.program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running::start(serve);
    serve.says("making a PostgreSQL");
    // The command finds no archive yet, or waits for it; in either case it breaks nothing that is being created.
    let ended = home.run(&["operator", "list"]);
    let is_early = ended.said.contains("there is no archive");
    assert!(ended.success || is_early, "{}", ended.said);
    serve.says("Dashboard: ");
    assert!(home.run(&["operator", "list"]).success);
    assert!(serve.stop());
}
