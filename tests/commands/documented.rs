//! Runs every command line of the README and the documents as it is written.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use line_chat_archive::fake_line::FakeLine;

use crate::{
    channels::post,
    process::{Ended, Home, LONGEST, Running, ended},
};

/// The name of each document, and its command lines in order.
fn documents() -> Vec<(String, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let mut paths: Vec<_> = docs.map(|entry| entry.unwrap().path()).collect();
    paths.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            (name.to_owned(), lines(&fs::read_to_string(path).unwrap()))
        })
        .collect()
}

/// The lines of the blocks that are marked as `sh`, without comments.
fn lines(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = vec![];
    for line in text.lines() {
        match line.trim() {
            "```sh" => inside = true,
            fence if fence.starts_with("```") => inside = false,
            line if inside => {
                let line = line.split(" # ").next().unwrap().trim();
                found.extend((!line.is_empty() && !line.starts_with('#')).then(|| line.to_owned()));
            }
            _ => {}
        }
    }
    found
}

/// The shell of a newcomer: one archive, and the exported variables.
struct Shell {
    home: Home,
    line: FakeLine,
    exported: BTreeMap<String, String>,
    secrets: u32,
    serve: Option<Running>,
    /// The address on which the service listens.
    address: String,
}

impl Shell {
    fn new() -> Self {
        Self {
            home: Home::new(),
            line: FakeLine::start().unwrap(),
            exported: BTreeMap::new(),
            secrets: 0,
            serve: None,
            address: free_address(),
        }
    }

    fn command(&mut self, line: &str) -> Command {
        let bin = Path::new(env!("CARGO_BIN_EXE_line-chat-archive"));
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", bin.parent().unwrap().display());
        // Each channel has its own secret and token, and the person who types the line knows them.
        self.secrets += 1;
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-ec", line])
            .current_dir(self.home.dir.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home.dir.path())
            .env("DATA_DIR", self.home.data())
            .env("LISTEN", &self.address)
            .env("LINE_API_URL", self.line.url())
            .env("LINE_DATA_API_URL", self.line.url())
            .env("LINE_CHANNEL_SECRET", format!("{:032x}", self.secrets))
            .env(
                "LINE_CHANNEL_ACCESS_TOKEN",
                format!("{:0172}", self.secrets),
            )
            .envs(&self.exported)
            .stdin(Stdio::null());
        shell
    }

    /// Runs a line to its end. Standard input provides a password.
    fn run(&mut self, line: &str) -> Ended {
        let password = self.home.dir.path().join("typed");
        fs::write(&password, "a long enough password\n").unwrap();
        let mut command = self.command(line);
        command.stdin(fs::File::open(password).unwrap());
        ended(command)
    }

    fn start(&mut self, line: &str) -> Running {
        let mut running = Running::start(self.command(&format!("exec {line}")));
        running.says("Dashboard: ");
        running
    }

    fn export(&mut self, name: &str, value: &str) {
        let value = match name {
            "PATH" => return,
            "LINE_CHANNEL_SECRET" => "f".repeat(32),
            "LINE_CHANNEL_ACCESS_TOKEN" => "t".repeat(172),
            _ => value.to_owned(),
        };
        assert!(!value.contains('…'), "{name}");
        self.exported.insert(name.to_owned(), value);
    }

    /// Runs a line, and panics if it fails.
    fn follow(&mut self, line: &str) {
        if let Some(assigned) = line.strip_prefix("export ") {
            let (name, value) = assigned.split_once('=').unwrap();
            return self.export(name, value);
        }
        if let Some(names) = line.strip_prefix("unset ") {
            return self
                .exported
                .retain(|name, _| !names.split(' ').any(|unset| unset == name));
        }
        let key = self.home.dir.path().join("line-chat-archive.key");
        let line = line
            .replace("cargo run -- ", "line-chat-archive ")
            .replace("/etc/line-chat-archive.key", key.to_str().unwrap());
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            // These build the program or run this test.
            ["cargo", "build", "--release"] | ["tests/run" | "tests/bare/run"] => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(words[0]);
                assert!(words[0] == "cargo" || script.is_file(), "{line}");
            }
            ["cargo", "fmt" | "clippy", ..] => {}
            // The log of the service under systemd, which does not run here.
            ["journalctl", ..] => {}
            ["cargo", "bench", "--bench", name] => {
                let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
                let file = manifest.join(format!("{name}.rs"));
                assert!(
                    file.is_file() || manifest.join(name).join("main.rs").is_file(),
                    "{line}"
                );
            }
            // This command needs a stopped service: tests/privileges/dropped.rs runs it.
            ["chown", "-R", "--from=nobody", "line-chat-archive:", _] => {}
            ["(umask" | "tar" | "mkdir" | "mv" | "chmod" | "chown", ..] => {
                // The service must not use the files while they are copied or moved.
                assert!(self.serve.take().is_none_or(Running::stop), "{line}");
                let ended = self.run(&line);
                assert!(ended.success, "{line}: {}", ended.said);
                if words[0] == "(umask" {
                    let backup = fs::metadata(self.home.dir.path().join("backup.tar")).unwrap();
                    assert_eq!(backup.mode() & 0o077, 0, "{line}");
                }
            }
            ["printf" | "openssl", ..] => {
                let ended = self.run(&line);
                assert!(
                    ended.success && ended.said.is_empty(),
                    "{line}: {}",
                    ended.said
                );
            }
            ["curl", ..] => self.send(&line),
            ["useradd", ..] => self.add_user(&line),
            ["line-chat-archive", "serve"] => self.serve = Some(self.start(&line)),
            ["line-chat-archive", "demo"] => assert!(self.start(&line).stop(), "{line}"),
            ["line-chat-archive", "erasures", "trace", ..] => {
                // There is no such message, and the output says so.
                let ended = self.run(&line);
                assert!(ended.said.contains("looks the same"), "{}", ended.said);
            }
            ["line-chat-archive", "erasures", ..] => self.retried(&line),
            ["line-chat-archive", "doctor", ..] => {
                // The fake LINE platform has no channel of this archive: `doctor` reports that, and still checks
                // everything.
                let ended = self.run(&line);
                assert!(ended.said.contains(" checks: "), "{line}: {}", ended.said);
            }
            ["line-chat-archive", ..] => {
                let ended = self.run(&line);
                assert!(ended.success, "{line}: {}", ended.said);
            }
            _ => panic!("no test knows how to run: {line}"),
        }
    }

    /// Retries a line, because the ledger is signed within seconds.
    fn retried(&mut self, line: &str) {
        let start = Instant::now();
        loop {
            let ended = self.run(line);
            if ended.success {
                return;
            }
            assert!(start.elapsed() < LONGEST, "{line}: {}", ended.said);
        }
    }

    /// Sends the signed webhook with curl, or like curl if it is not installed, until the service knows its channel.
    fn send(&self, line: &str) {
        let line = line.replace("127.0.0.1:8080", &self.address);
        let dir = self.home.dir.path();
        let has_curl = Command::new("curl").arg("--version").output().is_ok();
        let start = Instant::now();
        loop {
            let answer = if has_curl {
                let mut curl = Command::new("/bin/sh");
                curl.args(["-ec", &line]).current_dir(dir);
                ended(curl).said
            } else {
                let (_, file) = line.split_once('@').unwrap();
                let file = file.split(' ').next().unwrap();
                let body = fs::read_to_string(dir.join(file)).unwrap();
                let signature = fs::read_to_string(dir.join("signature")).unwrap();
                let header = format!("X-Line-Signature: {}", signature.trim());
                post(&self.address, "/webhook/default", &header, &body)
            };
            if answer.contains("HTTP/1.1 200") {
                return;
            }
            assert!(start.elapsed() < LONGEST, "{line}: {answer}");
        }
    }

    /// Adds the account to the files of a directory instead of those of this machine.
    fn add_user(&mut self, line: &str) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not root: useradd is not tried");
            return;
        }
        let etc = self.home.dir.path().join("prefix/etc");
        fs::create_dir_all(&etc).unwrap();
        for name in ["passwd", "group", "shadow", "gshadow"] {
            fs::write(etc.join(name), "").unwrap();
        }
        let prefix = etc.parent().unwrap().display().to_string();
        let line = line.replace("useradd", &format!("useradd --prefix {prefix}"));
        let ended = self.run(&line);
        assert!(ended.success, "{line}: {}", ended.said);
        let passwd = fs::read_to_string(etc.join("passwd")).unwrap();
        assert!(passwd.starts_with("line-chat-archive:"), "{passwd}");
    }
}

/// An address on which nothing listens. With PUBLIC_URL set, the service does not print the address that it chooses.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_line_of_the_documents_does_what_it_says() {
    let documents = documents();
    let readme = documents
        .iter()
        .find(|(name, _)| name == "README.md")
        .unwrap();
    let all: usize = documents.iter().map(|(_, lines)| lines.len()).sum();
    assert!(readme.1.len() > 5 && all > 25, "{all}");
    // The newcomer reads the README first, and the rest while the service runs.
    let mut shell = Shell::new();
    let rest = documents.iter().filter(|(name, _)| name != "README.md");
    for (name, lines) in std::iter::once(readme).chain(rest) {
        for line in lines {
            eprintln!("{name}: {line}");
            tokio::task::block_in_place(|| shell.follow(line));
        }
    }
    assert!(shell.serve.unwrap().stop());
    shell.line.stop().await;
}

#[test]
fn the_readme_is_short_and_its_links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.lines().count() <= 100);
    for name in [
        "README.md",
        "docs/setup.md",
        "docs/limits.md",
        "docs/settings.md",
    ] {
        let path = root.join(name);
        let text = fs::read_to_string(&path).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let found = path.parent().unwrap().join(target);
            assert!(target.contains("://") || found.exists(), "{name}: {target}");
        }
    }
}
