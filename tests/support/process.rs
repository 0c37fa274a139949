//! An archive of the program as a process of its own, and other accounts that access its files.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use line_chat_archive::embedded::Account;
use tempfile::TempDir;

/// The time limit of a command; a longer one hangs.
pub const LONGEST: Duration = Duration::from_secs(40);

/// Whether this process is root; prints a note if not.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: there is no privilege to give up, so this was not tested");
    }
    root
}

pub fn account(name: &str) -> Account {
    Account::named(name).unwrap()
}

/// The directory of an archive, and a directory of root's that no other account can access.
pub struct Home {
    pub dir: TempDir,
}

/// The result of a command.
#[derive(Debug)]
pub struct Ended {
    pub success: bool,
    pub said: String,
    pub took: Duration,
}

impl Home {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        mode(dir.path(), 0o711);
        let home = Self { dir };
        let treasure = home.treasure();
        fs::create_dir(&treasure).unwrap();
        mode(&treasure, 0o700);
        fs::create_dir(treasure.join("directory")).unwrap();
        for (name, bits) in [
            ("closed", 0o600),
            ("open", 0o644),
            ("directory/file", 0o600),
        ] {
            fs::write(treasure.join(name), "root's\n").unwrap();
            mode(&treasure.join(name), bits);
        }
        home
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn treasure(&self) -> PathBuf {
        self.dir.path().join("treasure")
    }

    /// The program, with this archive and no other setting.
    pub fn program(&self) -> Command {
        self.program_at(Path::new(env!("CARGO_BIN_EXE_line-chat-archive")))
    }

    /// The same from a copy that every account may run: the build may be below `/root`.
    pub fn program_of_all(&self) -> Command {
        let copy = self.dir.path().join("line-chat-archive");
        if !copy.exists() {
            fs::copy(env!("CARGO_BIN_EXE_line-chat-archive"), &copy).unwrap();
            mode(&copy, 0o755);
        }
        self.program_at(&copy)
    }

    fn program_at(&self, path: &Path) -> Command {
        let mut program = Command::new(path);
        let kept = ["PATH", "HOME", "TMPDIR"];
        program
            .env_clear()
            .envs(env::vars().filter(|(name, _)| kept.contains(&&**name)))
            .env("DATA_DIR", self.data())
            .stdin(Stdio::null());
        program
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        let mut program = self.program();
        program.args(args);
        ended(program)
    }

    /// Starts the service, which creates a missing archive, and stops it as soon as it runs.
    /// `args` come before `serve`.
    pub fn make(&self, args: &[&str]) -> Ended {
        let mut program = self.program();
        program
            .args(args)
            .args(["serve", "--listen", "127.0.0.1:0"]);
        served(program)
    }

    /// Runs a shell script as an account, in the data directory; it has to succeed. `$T` is [`Home::treasure`].
    pub fn script(&self, name: &str, script: &str) {
        let output = self.try_script(name, script);
        assert!(output.success, "{script}: {}", output.said);
    }

    pub fn try_script(&self, name: &str, script: &str) -> Ended {
        let account = account(name);
        let mut shell = Command::new("/bin/sh");
        // Root sets the working directory, because the account may not enter the directories above.
        shell
            .args(["-ec", script])
            .env("T", self.treasure())
            .current_dir(self.data())
            .uid(account.uid())
            .gid(account.gid());
        ended(shell)
    }

    /// PostgreSQL's process id, from its pid file.
    pub fn postmaster(&self) -> Option<u32> {
        let file = fs::read_to_string(self.data().join("postgres/data/postmaster.pid")).ok()?;
        file.lines().next()?.parse().ok()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(pid) = self.postmaster() {
            signal(pid, rustix::process::Signal::QUIT);
        }
    }
}

pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

/// Requests a page; returns the head and the body of the answer.
pub fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

/// The owner, group, mode and content of everything below a directory, without following links.
pub fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let mut content = vec![];
        if meta.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if meta.is_file() {
            content = fs::read(&path).unwrap();
        }
        found.insert(path, (meta.uid(), meta.gid(), meta.mode(), content));
    }
    found
}

/// Starts a service, and stops it as soon as it runs.
pub fn served(program: Command) -> Ended {
    let start = Instant::now();
    let mut serve = Running::start(program);
    while !serve.said().contains("Dashboard: ") {
        if let Some(status) = serve.child.try_wait().unwrap() {
            return Ended {
                success: status.success(),
                said: serve.said(),
                took: start.elapsed(),
            };
        }
        assert!(
            start.elapsed() < LONGEST,
            "it hangs; it said: {}",
            serve.said()
        );
        sleep(Duration::from_millis(10));
    }
    signal(serve.child.id(), rustix::process::Signal::TERM);
    Ended {
        success: serve.child.wait().unwrap().success(),
        said: serve.said(),
        took: start.elapsed(),
    }
}

/// Runs a command until it ends, and fails if it hangs.
pub fn ended(mut command: Command) -> Ended {
    let start = Instant::now();
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut child = command
        .stdout(appending(&output))
        .stderr(appending(&output))
        .spawn()
        .unwrap();
    loop {
        let status = child.try_wait().unwrap();
        let mut said = String::new();
        output.reopen().unwrap().read_to_string(&mut said).unwrap();
        let took = start.elapsed();
        if let Some(status) = status {
            let success = status.success();
            return Ended {
                success,
                said,
                took,
            };
        }
        if took > LONGEST {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it hangs; it said: {said}");
        }
        sleep(Duration::from_millis(10));
    }
}

/// Opens the file again, for appending: two outputs do not overwrite each other.
fn appending(file: &tempfile::NamedTempFile) -> fs::File {
    let mut options = fs::OpenOptions::new();
    options.append(true).open(file.path()).unwrap()
}

/// A process that runs until it is stopped or dropped.
pub struct Running {
    pub child: Child,
    said: tempfile::NamedTempFile,
}

impl Running {
    pub fn start(mut program: Command) -> Self {
        let said = tempfile::NamedTempFile::new().unwrap();
        let child = program
            .stdout(appending(&said))
            .stderr(appending(&said))
            .spawn()
            .unwrap();
        Self { child, said }
    }

    pub fn said(&self) -> String {
        fs::read_to_string(self.said.path()).unwrap()
    }

    /// Waits until it prints `text`, and returns the rest of that line.
    pub fn says(&mut self, text: &str) -> String {
        self.says_so_often(text, 1)
    }

    /// Waits until it has printed `text` so often, and returns the rest of the last of these lines.
    pub fn says_so_often(&mut self, text: &str, times: usize) -> String {
        let rest = |said: &str| {
            let (line, _) = said.split(text).nth(times)?.split_once('\n')?;
            Some(line.to_owned())
        };
        let file = self.said.path().to_owned();
        self.until(|| rest(&fs::read_to_string(&file).unwrap()).is_some());
        rest(&self.said()).unwrap()
    }

    /// Waits until something is so, while it runs.
    pub fn until(&mut self, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            let said = self.said();
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {said}");
            assert!(start.elapsed() < LONGEST, "in vain: {said}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Stops it with SIGTERM, as a supervisor does.
    pub fn stop(mut self) -> bool {
        signal(self.child.id(), rustix::process::Signal::TERM);
        self.child.wait().unwrap().success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
