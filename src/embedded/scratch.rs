//! A throwaway cluster, for tests and demonstrations.

use std::{
    io::{self, Write},
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
};

use sqlx::{AssertSqlSafe, Connection, Executor, postgres::PgConnectOptions};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    sync::OnceCell,
};

use super::{
    Account, EmbeddedError, access,
    cluster::{Cluster, Durability},
    owned_directory::OwnedDirectory,
    owner::Owner,
    place,
    roles::quoted,
};

/// Script of the watchdog. It waits until its input ends, which is when the process that holds the other end is gone.
/// Then it stops the server with the `pg_ctl` whose path it has read, and deletes the files.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
while IFS= read -r line; do pg_ctl=$line; done
[ -z "$pg_ctl" ] || "$pg_ctl" stop -D "$1/data" -m immediate
rm -rf -- "$1"
"#;

static SHARED: OnceCell<Scratch> = OnceCell::const_new();

/// A cluster in the directory for temporary files. It is deleted when its process ends, even by `kill -9`: a small
/// shell waits for that. Nothing is synced to disk: a commit survives a crash of the server, but not one of the
/// machine.
#[derive(Debug)]
pub struct Scratch {
    cluster: Cluster,
    made: AtomicUsize,
    /// The shell that runs [`WATCHDOG`]. It waits for the end of its input, a pipe from this process.
    _watchdog: Child,
}

impl Scratch {
    /// The one cluster that this process shares, started with the first call (about a second). Progress goes to
    /// standard error, past a test runner's capture: on a machine without PostgreSQL it takes a while.
    pub async fn shared() -> Result<&'static Self, EmbeddedError> {
        SHARED
            .get_or_try_init(|| Self::start(&|line| drop(writeln!(io::stderr(), "{line}"))))
            .await
    }

    /// Starts a new cluster; it is deleted when this value is dropped.
    pub async fn start(say: &(dyn Fn(&str) + Sync)) -> Result<Self, EmbeddedError> {
        Self::start_for(None, say).await
    }

    /// As [`Scratch::start`], for a process that then continues as the account `service`, which can connect to the
    /// databases of [`Scratch::service_database`].
    pub async fn start_for(
        service: Option<&Account>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, EmbeddedError> {
        let owner = Owner::for_new()?;
        let name = format!("line-chat-archive-{}", uuid::Uuid::new_v4().simple());
        let base = place::temporary(&name, owner, service)?;
        // Start the watchdog before anything is in the directory: it has to delete a half-made cluster too, for example
        // on a full disk.
        let mut watchdog = watch(&base)?;
        let cluster = Cluster::open(base, service, Durability::None, say).await?;
        send_pg_ctl_path(&mut watchdog, &cluster).await?;
        cluster.start(true, say).await?;
        cluster.make_roles().await?;
        Ok(Self {
            cluster,
            made: AtomicUsize::new(0),
            _watchdog: watchdog,
        })
    }

    /// Makes an empty database that belongs to the service's role, and returns that role's options for it.
    pub async fn service_database(&self, name: &str) -> Result<PgConnectOptions, EmbeddedError> {
        self.cluster.make_database(name).await?;
        Ok(self.cluster.connect_options(name, access::SERVICE))
    }

    /// Makes an empty database, and returns the superuser's options for it. To use it as a template, migrate it once,
    /// close every connection, and make copies with [`Scratch::create_database_from`].
    pub async fn create_database(&self, name: &str) -> Result<PgConnectOptions, EmbeddedError> {
        self.run(format!("create database {}", quoted(name)))
            .await?;
        Ok(self.cluster.connect_options(name, access::SUPERUSER))
    }

    /// Makes a copy of the database `template`. No connection to `template` may be open.
    pub async fn create_database_from(
        &self,
        template: &str,
    ) -> Result<PgConnectOptions, EmbeddedError> {
        let name = format!("{template}_{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.run(format!(
            "create database {} template {}",
            quoted(&name),
            quoted(template)
        ))
        .await?;
        Ok(self.cluster.connect_options(&name, access::SUPERUSER))
    }

    async fn run(&self, sql: String) -> Result<(), EmbeddedError> {
        let mut connection = self.cluster.connect().await?;
        let refused = |e| EmbeddedError::refused(&e);
        connection
            .execute(AssertSqlSafe(sql))
            .await
            .map_err(refused)?;
        connection.close().await.map_err(refused)
    }
}

fn watch(base: &OwnedDirectory) -> Result<Child, EmbeddedError> {
    let mut command: Command = base.owner().command("/bin/sh");
    command
        .args(["-c", WATCHDOG, "sh"])
        .arg(base.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    base.owner().leave_process_group(&mut command);
    command.spawn().map_err(EmbeddedError::file("/bin/sh"))
}

/// Tells the watchdog the path of `pg_ctl`, so that it stops the server.
async fn send_pg_ctl_path(watchdog: &mut Child, cluster: &Cluster) -> Result<(), EmbeddedError> {
    let pg_ctl = cluster.binaries.dir.join("pg_ctl");
    let line = [pg_ctl.as_os_str().as_encoded_bytes(), b"\n"].concat();
    match &mut watchdog.stdin {
        Some(input) => input.write_all(&line).await,
        None => Ok(()),
    }
    .map_err(EmbeddedError::file("/bin/sh"))
}
