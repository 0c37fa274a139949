//! Starts, adopts and stops a cluster's server, with `pg_ctl`.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use sqlx::{Connection, PgConnection};
use tokio::{
    net::UnixStream,
    time::{Instant, sleep, timeout},
};

use super::{
    DATABASE, EmbeddedError, access,
    cluster::Cluster,
    owned_directory::{OwnedDirectory, WorkDir},
    progress::{last, with_progress},
};

/// How long a start is tried again: the processes of a killed server may still hold its shared memory, and a server
/// that is just starting does not answer yet.
pub(super) const GRACE: Duration = Duration::from_secs(20);

/// How long a server may take to accept a connection or to refuse it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// SQLSTATE of a server that is starting: it recovers and accepts no connection yet.
const CANNOT_CONNECT_NOW: &str = "57P03";

/// Said of a start that takes long.
pub(super) const STILL_STARTING: &str =
    "PostgreSQL is still starting, perhaps recovering from a crash";

/// The state of a server after a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Started {
    /// It accepts connections.
    Ready,
    /// It recovers, and will accept connections later.
    StillStarting,
}

const PID_FILE: &str = "data/postmaster.pid";
const SOCKET: &str = ".s.PGSQL.5432";

impl Cluster {
    /// Starts the server and waits until it accepts connections; a running one is adopted.
    /// `alone`: no other process works on this cluster.
    pub(super) async fn start(
        &self,
        alone: bool,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<(), EmbeddedError> {
        self.write_settings()?;
        let deadline = Instant::now() + GRACE;
        loop {
            let outcome = if self.running(alone).await? {
                match self.adopt().await {
                    Err(e) => Err(e),
                    adopted => return adopted,
                }
            } else {
                self.pg_ctl_start(say).await
            };
            // These errors pass: a server that was just killed may look alive, its children hold its shared memory
            // until they notice, and a server that is starting does not answer yet.
            let passing = match &outcome {
                Err(EmbeddedError::Failed { said, .. }) => said.contains("shared memory block"),
                Err(EmbeddedError::Refused(_)) => true,
                _ => false,
            };
            if !passing || Instant::now() > deadline {
                return outcome;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Takes over a running server, and applies the settings of this start as far as it takes them without a restart.
    async fn adopt(&self) -> Result<(), EmbeddedError> {
        self.reload().await?;
        if self.has_own_service_account() {
            self.socket.open_socket(SOCKET)?;
        }
        Ok(())
    }

    async fn pg_ctl_start(&self, say: &(dyn Fn(&str) + Sync)) -> Result<(), EmbeddedError> {
        // The server keeps inherited files open, so a pipe for its output would never end: it writes into a file.
        // These reads refuse FIFOs. PostgreSQL's account could be in an attacker's hands and have put FIFOs in the
        // place of these files: PostgreSQL would wait for them, and this process for the hour that a recovery may take.
        for settings in ["data/postgresql.conf", "data/postgresql.auto.conf"] {
            self.base.read(settings)?;
        }
        self.socket.read(&format!("{SOCKET}.lock"))?;
        self.base.remove("log/start.log")?;
        let data = self.base.work_dir("data")?;
        let log = self.log_beside_data()?;
        let mut start = self.pg_ctl("start", &data);
        // A long recovery is not a failure.
        start
            .args(["-w", "-t", "3600", "-l"])
            .arg(log.join("start.log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let progress = || format!("  {STILL_STARTING} …");
        let status = with_progress(say, progress, start.status())
            .await
            .map_err(EmbeddedError::file("pg_ctl"))?;
        if status.success() {
            return Ok(());
        }
        let said = format!(
            "{}\n(more in {})",
            self.last_words(),
            self.log_dir().display()
        );
        Err(EmbeddedError::Failed {
            program: "pg_ctl start",
            said,
        })
    }

    /// The directory of the logs, for a program that works in the data directory.
    pub(super) fn log_beside_data(&self) -> Result<PathBuf, EmbeddedError> {
        Ok(match self.base.is_subdirectory("data")? {
            true => "../log".into(),
            false => self.log_dir(),
        })
    }

    /// Whether a server listens on the socket. A server that accepts no connection at the moment counts as listening.
    pub(super) async fn is_there(&self) -> bool {
        let connected = UnixStream::connect(self.socket.path().join(SOCKET)).await;
        let error = connected.err().map(|error| error.kind());
        !matches!(
            error,
            Some(ErrorKind::ConnectionRefused | ErrorKind::NotFound)
        )
    }

    /// Whether the server accepts connections of the service. A refusal for another reason than a start counts too.
    pub(super) async fn is_ready(&self) -> bool {
        let options = self.connect_options(DATABASE, access::SERVICE);
        match timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => {
                let _ = connection.close().await;
                true
            }
            Ok(Err(sqlx::Error::Database(refused))) => {
                refused.code().as_deref() != Some(CANNOT_CONNECT_NOW)
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// The end of the newest log, where the server says why it gave up.
    fn last_words(&self) -> String {
        last(&self.base.newest_in("log").unwrap_or_default())
    }

    /// Stops the server. Running statements are cancelled; committed data is on disk.
    pub(super) async fn stop(&self) -> Result<(), EmbeddedError> {
        let data = self.base.work_dir("data")?;
        let mut stop = self.pg_ctl("stop", &data);
        stop.args(["-w", "-m", "fast"]);
        let output = stop.output().await.map_err(EmbeddedError::file("pg_ctl"))?;
        // A server that has died needs no stop.
        if output.status.success() || !self.running(true).await? {
            self.remove_socket_dir();
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(EmbeddedError::Failed {
            program: "pg_ctl stop",
            said: last(&said),
        })
    }

    /// Removes the directory of the socket if it is not the cluster's own directory. Each start creates it again. A
    /// directory that cannot be removed stays, empty, and is used again.
    fn remove_socket_dir(&self) {
        if self.socket.path() != self.base.path() {
            let _ = fs::remove_dir(self.socket.path());
        }
    }

    /// Whether this cluster's server runs. If `/proc` can tell, it counts more than the pid file: the process in that
    /// file may be a zombie, or another program by now (a restarted container counts process ids from the beginning).
    async fn running(&self, alone: bool) -> Result<bool, EmbeddedError> {
        let Some(pid) = self.base.read(PID_FILE)? else {
            return Ok(false);
        };
        // Another process that uses this cluster may run the server in another container, so `/proc` cannot tell.
        if !alone || !Path::new("/proc/self/cwd").exists() {
            let data = self.base.work_dir("data")?;
            let status = self
                .pg_ctl("status", &data)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .await;
            return Ok(status.map_err(EmbeddedError::file("pg_ctl"))?.success());
        }
        // The working directory of a server is its data directory.
        let pid = pid
            .lines()
            .next()
            .and_then(|pid| pid.trim().parse::<u32>().ok());
        if let Some(pid) = pid
            && self.base.is_cwd_of(pid, "data")?
        {
            return Ok(true);
        }
        disown(&self.base, PID_FILE)?;
        disown(&self.socket, &format!("{SOCKET}.lock"))?;
        Ok(false)
    }

    fn pg_ctl(&self, verb: &str, data: &WorkDir) -> tokio::process::Command {
        let mut command = self.owner().command(self.binaries.dir.join("pg_ctl"));
        command.args([verb, "-D"]).arg(&data.name);
        command.current_dir(&data.cwd);
        command
    }
}

/// Replaces the process id in one of PostgreSQL's lock files by one that cannot exist. Unlike a removal, this keeps the
/// rest of the file, from which a new server finds out whether children of the old one still hold its shared memory.
fn disown(directory: &OwnedDirectory, lock: &str) -> Result<(), EmbeddedError> {
    let Some(content) = directory.read(lock)? else {
        return Ok(());
    };
    let rest = content.split_once('\n').map_or("", |(_, rest)| rest);
    directory.write(lock, &format!("{}\n{rest}", i32::MAX))
}
