//! What the caller's surroundings may and may not change.

use std::{ffi::OsStr, net::TcpListener, path::Path, process::Command};

use crate::{
    archive,
    world::{Ended, Home, Running, ended, is_root, served},
};

fn serve(home: &Home, data: &Path) -> Command {
    let mut program = home.program();
    program
        .env("DATA_DIR", data)
        .args(["serve", "--listen", "127.0.0.1:0"]);
    program
}

/// Asserts that a start fails in words that name these things, and leaves no PostgreSQL.
fn fails_with(ended: &Ended, words: &[&str]) {
    assert!(!ended.success, "{}", ended.said);
    for word in words {
        assert!(ended.said.contains(word), "{word}: {}", ended.said);
    }
}

#[test]
fn empty_variables_are_unset_and_postgresqls_have_no_say() {
    let home = Home::new();
    let mut serve = home.program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    for name in [
        "PUBLIC_URL",
        "DATABASE_URL",
        "OBJECTS_URL",
        "KEYRING_URL",
        "SECRET_KEY_FILE",
        "LEDGER_COPIES",
        "RUN_AS",
        "LINE_CHANNEL_SECRET",
        "LINE_CHANNEL_ACCESS_TOKEN",
        "LINE_API_URL",
        "TRUSTED_PROXIES",
        "EXTERNAL_CONTENT",
        "STICKER_CDN",
        "LOG_FORMAT",
        "RUST_LOG",
        "AWS_ENDPOINT",
    ] {
        serve.env(name, "");
    }
    for (name, value) in [
        ("PGOPTIONS", "-c default_transaction_read_only=on"),
        ("PGHOST", "db.example.com"),
        ("PGPORT", "1"),
        ("PGUSER", "somebody"),
        ("PGDATABASE", "template1"),
        ("PGDATA", "/nowhere"),
        ("PGSSLMODE", "disable"),
    ] {
        serve.env(name, value);
    }
    let mut serve = Running::start(serve);
    let dashboard = serve.says("Dashboard: ");
    assert!(dashboard.starts_with("http://127.0.0.1:"), "{dashboard}");
    assert!(serve.stop());
}

#[test]
fn a_machine_without_proc_finds_the_program_by_its_name() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let program = Path::new(env!("CARGO_BIN_EXE_line-chat-archive"));
    let by_name = program.file_name().unwrap().to_str().unwrap();
    let run = |name: &str, called: &str| {
        let mut bare = Command::new("unshare");
        let script = r#"mount -t tmpfs none /proc && exec -a "$1" "$0" --version"#;
        bare.args(["-m", "/bin/bash", "-c", script, name, called])
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", program.parent().unwrap().display()),
            )
            .env("PGHOST", "db.example.com")
            .current_dir(home.dir.path());
        ended(bare)
    };
    let path = program.to_str().unwrap();
    for called in [path, by_name] {
        let found = run(path, called);
        assert!(found.success, "{called}: {}", found.said);
        assert!(
            found.said.contains("line-chat-archive 0."),
            "{}",
            found.said
        );
    }
    let lost = run(path, "another-name");
    assert!(!lost.success);
    for words in ["another-name", "PGHOST", "unset them", "whole path"] {
        assert!(lost.said.contains(words), "{words}: {}", lost.said);
    }
}

#[test]
fn what_goes_into_a_pipe_has_no_colours() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    let list = home.run(&["channel", "remove", "absent"]);
    assert!(!list.success);
    for said in [serve.said(), list.said] {
        assert!(!said.contains('\u{1b}'), "{said:?}");
        assert!(said.lines().count() > 0);
    }
    assert!(serve.stop());
}

#[test]
fn locale_zone_and_home_of_the_caller_change_nothing() {
    let home = Home::new();
    for (name, value) in [
        ("LC_ALL", Some("C")),
        ("LC_ALL", Some("ja_JP.eucJP")),
        ("TZ", Some("Asia/Tokyo")),
        ("HOME", None),
    ] {
        let mut serve = serve(&home, &home.data());
        match value {
            Some(value) => serve.env(name, value),
            None => serve.env_remove(name),
        };
        let ended = served(serve);
        assert!(ended.success, "{name}: {}", ended.said);
        assert_eq!(home.postmaster(), None, "{name}");
    }
}

#[test]
fn a_path_may_have_spaces_and_japanese_letters() {
    let home = Home::new();
    let odd = ended(serve(&home, &home.dir.path().join("$HOME's")));
    fails_with(
        &odd,
        &["has a quote, a dollar sign", "choose another DATA_DIR"],
    );
    let data = home.dir.path().join("お客様 の archive (1)");
    let made = served(serve(&home, &data));
    assert!(made.success, "{}", made.said);
    for args in [&["operator", "list"][..], &["channel", "list"], &["doctor"]] {
        let mut program = home.program();
        program.env("DATA_DIR", &data).args(args);
        let found = ended(program);
        assert!(
            found.success || args == ["doctor"],
            "{args:?}: {}",
            found.said
        );
        assert!(
            !found.said.contains("no archive"),
            "{args:?}: {}",
            found.said
        );
    }
    assert!(!data.join("postgres/data/postmaster.pid").exists());
}

#[test]
fn a_taken_port_is_told_before_anything_is_made() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = home.run(&["serve", "--listen", &address]);
    fails_with(&ended, &[&address, "cannot be listened on"]);
    assert!(!home.data().join("postgres").exists());
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let home = Home::new();
    for data in ["/proc/archive", "/dev/null/archive"] {
        let ended = ended(serve(&home, Path::new(data)));
        fails_with(&ended, &[data]);
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_no_postgresql() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let data = home.data();
    std::fs::create_dir(&data).unwrap();
    let mounted = Mounted::tmpfs(&data, "size=8m,mode=711");
    let ended = ended(serve(&home, &data));
    fails_with(&ended, &["No space left on device"]);
    assert_eq!(home.postmaster(), None);
    drop(mounted);
}

/// A file system in memory, until it is dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(at: &'a Path, options: &str) -> Self {
        let args = ["-t", "tmpfs", "-o", options, "tmpfs"].map(OsStr::new);
        let done = Command::new("mount").args(args).arg(at).status().unwrap();
        assert!(done.success(), "only root with CAP_SYS_ADMIN can mount");
        Self(at)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}
