//! Which parts of the caller's environment may change the program's behaviour, and which may not.

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    archive,
    process::{Ended, Home, LONGEST, Running, ended, is_root, mode, served, snapshot},
};

fn serve(home: &Home, data: &Path) -> Command {
    let mut program = home.program();
    program
        .env("DATA_DIR", data)
        .args(["serve", "--listen", "127.0.0.1:0"]);
    program
}

/// Asserts that a start fails with a message that contains these words, and leaves no PostgreSQL running.
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
fn a_place_that_cannot_be_written_is_named() {
    let home = Home::new();
    for data in ["/proc/archive", "/dev/null/archive"] {
        let ended = ended(serve(&home, Path::new(data)));
        fails_with(&ended, &[data]);
    }
}

/// One row of the table in docs/setup.md.
struct Row {
    odd: String,
    args: Vec<String>,
    says: String,
}

fn table() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/setup.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("| what is odd |").unwrap();
    let rows = rest
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [odd, command, says] = cells[..] else {
            panic!("three cells: {line}")
        };
        let code = |cell: &str| cell.split('`').nth(1).unwrap().to_owned();
        Row {
            odd: odd.to_owned(),
            args: code(command).split(' ').map(str::to_owned).collect(),
            says: code(says),
        }
    })
    .collect()
}

/// Whether a line of the output matches `words`, where each `…` matches any text.
fn is_said(said: &str, words: &str) -> bool {
    said.lines().any(|line| {
        let mut rest = Some(line);
        for part in words.split('…') {
            rest = rest
                .and_then(|rest| rest.split_once(part))
                .map(|(_, rest)| rest);
        }
        rest.is_some()
    })
}

/// The environment in which a row is run.
struct Scene {
    /// Dropped first, because the file system is mounted in `home`.
    _mounted: Option<Mounted>,
    home: Home,
    data: PathBuf,
    temporary: PathBuf,
    listen: String,
    umask: &'static str,
    variables: Vec<(&'static str, Option<&'static str>)>,
    _taken: Option<TcpListener>,
}

impl Scene {
    fn new() -> Self {
        let home = Home::new();
        let temporary = home.dir.path().join("tmp");
        fs::create_dir(&temporary).unwrap();
        mode(&temporary, 0o1777);
        Self {
            data: home.data(),
            home,
            temporary,
            listen: "127.0.0.1:0".to_owned(),
            umask: "022",
            variables: vec![],
            _mounted: None,
            _taken: None,
        }
    }

    /// The environment that a row names; `None` if only root can create it.
    fn odd(what: &str) -> Option<Self> {
        let mut scene = Self::new();
        match what {
            "no `LANG`" => scene.variables.push(("LANG", None)),
            "`LC_ALL=C`" => scene.variables.push(("LC_ALL", Some("C"))),
            "`LC_ALL=ja_JP.eucJP`" => scene.variables.push(("LC_ALL", Some("ja_JP.eucJP"))),
            "`TZ=Asia/Tokyo`" => scene.variables.push(("TZ", Some("Asia/Tokyo"))),
            "no `HOME`" => scene.variables.push(("HOME", None)),
            "umask 077" => scene.umask = "077",
            "umask 000" => scene.umask = "000",
            "`DATA_DIR` with spaces and Japanese letters" => {
                scene.data = scene.home.dir.path().join("お客様 の archive (1)");
            }
            "`DATA_DIR` with a quote or a dollar sign" => {
                scene.data = scene.home.dir.path().join("$HOME's");
            }
            "a taken port" => {
                let taken = TcpListener::bind("127.0.0.1:0").unwrap();
                scene.listen = taken.local_addr().unwrap().to_string();
                scene._taken = Some(taken);
            }
            mounted if is_root() => {
                let at = match mounted.ends_with("`TMPDIR`") {
                    true => &scene.temporary,
                    false => &scene.data,
                };
                let options = match mounted {
                    "a full disk" => "size=8m,mode=711",
                    "a full disk for `TMPDIR`" => "size=8m,mode=1777",
                    "a read-only `DATA_DIR`" | "a read-only `TMPDIR`" => "ro",
                    other => panic!("no test knows how to make this: {other}"),
                };
                fs::create_dir_all(at).unwrap();
                scene._mounted = Some(Mounted::tmpfs(at, options));
            }
            _ => return None,
        }
        Some(scene)
    }

    fn command(&self, args: &[String]) -> Command {
        let program = self.home.program();
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", r#"umask "$0"; exec "$@""#, self.umask])
            .arg(program.get_program())
            .args(args)
            .stdin(Stdio::null())
            .env_clear();
        for (name, value) in program.get_envs() {
            shell.envs(value.map(|value| (name, value)));
        }
        shell
            .env("DATA_DIR", &self.data)
            .env("TMPDIR", &self.temporary);
        if matches!(&*args[0], "serve" | "demo") {
            shell.args(["--listen", &self.listen]);
        }
        for (name, value) in &self.variables {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell
    }
}

#[test]
fn the_table_of_surroundings_says_what_is_said() {
    let rows = table();
    assert!(rows.len() > 12, "{}", rows.len());
    for Row { odd, args, says } in rows {
        let Some(scene) = Scene::odd(&odd) else {
            continue;
        };
        let ended = match &*args[0] {
            "serve" | "demo" => served(scene.command(&args)),
            _ => ended(scene.command(&args)),
        };
        let case = format!("{odd}: {args:?}");
        assert!(is_said(&ended.said, &says), "{case}: {}", ended.said);
        assert_eq!(ended.success, says.starts_with("Dashboard"), "{case}");
        assert!(
            !scene.data.join("postgres/data/postmaster.pid").exists(),
            "{case}"
        );
        let begun = ["postgres", "serve.lock"].map(|name| scene.data.join(name).exists());
        assert!(odd != "a taken port" || begun == [false; 2], "{case}");
        // PostgreSQL deletes its directory when it ends, a moment later.
        let start = Instant::now();
        while fs::read_dir(&scene.temporary).unwrap().count() > 0 {
            assert!(start.elapsed() < LONGEST, "{case}: something is left");
            sleep(Duration::from_millis(20));
        }
        if args[0] == "serve" && ended.success {
            for (path, (_, _, bits, _)) in snapshot(&scene.data) {
                assert_eq!(bits & 0o006, 0, "{case}: {}", path.display());
            }
        }
    }
}

/// A file system in memory; it is unmounted when this is dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn tmpfs(at: &Path, options: &str) -> Self {
        let args = ["-t", "tmpfs", "-o", options, "tmpfs"].map(OsStr::new);
        let done = Command::new("mount").args(args).arg(at).status().unwrap();
        assert!(done.success(), "only root with CAP_SYS_ADMIN can mount");
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
