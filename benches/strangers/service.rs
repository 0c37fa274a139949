//! The release binary, run as in operation.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::bodies::SECRET;

const BINARY: &str = env!("CARGO_BIN_EXE_line-chat-archive");

/// The login whose password strangers try to guess.
pub const LOGIN: &str = "mika";

/// A running `serve` on the embedded database, with one channel and one operator.
pub struct Service {
    child: Child,
    pub address: SocketAddr,
    _home: TempDir,
}

impl Service {
    pub async fn start(parent: &Path) -> Result<Self> {
        let home = TempDir::with_prefix_in("bench-strangers-", parent)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = command(home.path(), "serve")
            .env("LISTEN", address.to_string())
            .env("LINE_CHANNEL_SECRET", SECRET)
            .env("LINE_API_URL", "http://127.0.0.1:9")
            .env("LINE_DATA_API_URL", "http://127.0.0.1:9")
            .stdout(Stdio::null())
            .spawn()?;
        let service = Self {
            child,
            address,
            _home: home,
        };
        let begun = Instant::now();
        // The port is bound long before the archive is created.
        while !answers(address).await {
            ensure!(
                begun.elapsed() < Duration::from_secs(60),
                "it does not start"
            );
            sleep(Duration::from_millis(50)).await;
        }
        service.add_operator()?;
        Ok(service)
    }

    fn add_operator(&self) -> Result<()> {
        let mut add = command(self._home.path(), "operator")
            .args(["add", LOGIN, "--role", "admin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        use std::io::Write;
        let mut password = add.stdin.take().context("a pipe")?;
        password.write_all(b"the right password\n")?;
        drop(password);
        match add.wait()?.success() {
            true => Ok(()),
            false => bail!("no operator could be added"),
        }
    }

    /// The memory in use in MiB, including shared pages of the binary.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.context("VmRSS")?.parse::<u64>()? / 1024)
    }

    /// Stops it with SIGTERM, as a supervisor does.
    pub fn stop(mut self) -> Result<()> {
        terminate(&self.child);
        ensure!(self.child.wait()?.success(), "it did not end well");
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // PostgreSQL is stopped only by a service that ends normally.
        terminate(&self.child);
        let _ = self.child.wait();
    }
}

/// Whether the service itself answers, and not only the kernel.
async fn answers(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await?;
        stream.read(&mut [0; 16]).await
    };
    let answer = timeout(Duration::from_secs(1), ask).await;
    answer.is_ok_and(|read| read.is_ok_and(|bytes| bytes > 0))
}

fn terminate(child: &Child) {
    let id = i32::try_from(child.id()).ok();
    if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
}

fn command(home: &Path, verb: &str) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg(verb)
        .env("DATA_DIR", home.join("data"))
        .env("RUST_LOG", "warn")
        .env_remove("DATABASE_URL");
    command
}

/// Raises this process's limit of open files, for the connections of all strangers.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}
