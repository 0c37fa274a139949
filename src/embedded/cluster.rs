//! A database cluster: makes its directory with `initdb`, writes its settings, and connects to it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Account, Embedded, EmbeddedError, access,
    binaries::Binaries,
    owned_directory::OwnedDirectory,
    owner::Owner,
    place,
    progress::{cause, with_progress},
};
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::timeout;

#[derive(Debug)]
pub(super) struct Cluster {
    /// Directory that contains `data/`, `log/` and usually the socket. Belongs to PostgreSQL's account.
    pub(super) base: OwnedDirectory,
    pub(super) binaries: Binaries,
    /// Directory that contains the socket.
    pub(super) socket: OwnedDirectory,
    /// The account that the service works as; `None`: the account of this process.
    service: Option<Account>,
    durability: Durability,
    /// Time limit for each call of `with_answer_timeout` while the server starts.
    pub(super) answer_timeout: Duration,
}

/// Limit for an answer of the server at a start. Making the database takes a second at most; without a limit a false
/// server on the socket would keep root waiting for ever.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Limit for each lock in the server, because the service's role could hold a lock for ever.
const LOCK_TIMEOUT: &str = "5s";

/// How the names of directories begin in which `initdb` works.
const UNFINISHED: &str = "data.unfinished";

/// Whether committed data has to survive a crash of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// PostgreSQL's defaults: a commit is on disk.
    Full,
    /// Nothing waits for the disk: for clusters that are thrown away.
    None,
}

impl Cluster {
    /// Opens the cluster in `base`, or makes a missing one. Does not start it.
    pub(super) async fn open(
        base: OwnedDirectory,
        service: Option<&Account>,
        durability: Durability,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, EmbeddedError> {
        Embedded::check_path(base.path())?;
        let version = base.read("data/PG_VERSION")?;
        let data_major = version.as_ref().and_then(|text| text.trim().parse().ok());
        let data = base.path().join("data");
        let binaries = Binaries::for_data(&data, data_major, base.owner(), say).await?;
        let cluster = Self {
            socket: place::socket_dir(&base, service)?,
            base,
            binaries,
            service: service.cloned(),
            durability,
            answer_timeout: ANSWER_TIMEOUT,
        };
        cluster.base.remove_all_beginning_with(UNFINISHED);
        if version.is_none() {
            cluster.init(say).await?;
        }
        Ok(cluster)
    }

    pub(super) fn owner(&self) -> &Owner {
        self.base.owner()
    }

    /// Runs `initdb` in a directory of another name and renames that to `data`: a crash leaves no half-made database.
    ///
    /// The name is new each time: if this process is killed, its `initdb` goes on for a second or two, and what it
    /// writes would come between the removal of its directory and the next start.
    async fn init(&self, say: &(dyn Fn(&str) + Sync)) -> Result<(), EmbeddedError> {
        let unfinished = format!("{UNFINISHED}-{:08x}", rand::random::<u32>());
        say(&format!(
            "making a PostgreSQL {} database in {} …",
            self.binaries.major,
            self.base.path().display()
        ));
        self.base.make_dir(&unfinished)?;
        let data = self.base.work_dir(&unfinished)?;
        let mut initdb = self.owner().command(self.binaries.dir.join("initdb"));
        initdb
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"])
            .args([
                "--auth-local=peer",
                "--auth-host=reject",
                "--username",
                access::SUPERUSER,
                "-D",
            ])
            .arg(&data.name)
            .current_dir(&data.cwd);
        if self.durability == Durability::None {
            initdb.arg("--no-sync");
        }
        let progress = || "  still creating the database …".to_owned();
        let output = with_progress(say, progress, initdb.output())
            .await
            .map_err(EmbeddedError::file("initdb"))?;
        if !output.status.success() {
            let said = cause(&String::from_utf8_lossy(&output.stderr));
            return Err(EmbeddedError::Failed {
                program: "initdb",
                said: format!("{}: {said}", self.base.path().display()),
            });
        }
        let conf = format!("{unfinished}/postgresql.conf");
        let made = self.base.read(&conf)?.unwrap_or_default();
        let settings = made + "\ninclude 'archive.conf'\n";
        self.base.write(&conf, &settings)?;
        self.base.rename(&unfinished, "data")
    }

    /// Writes the settings, and the rules on who may connect.
    pub(super) fn write_settings(&self) -> Result<(), EmbeddedError> {
        let durability = match self.durability {
            Durability::Full => "",
            Durability::None => "fsync = off\nfull_page_writes = off\n",
        };
        // Use paths relative to the server's working directory: absolute paths could lead to other directories that
        // were put there in the meantime.
        let data_is_in_base = self.base.is_subdirectory("data")?;
        let socket = match data_is_in_base && self.socket.path() == self.base.path() {
            true => Path::new(".."),
            false => self.socket.path(),
        };
        let log = match data_is_in_base {
            true => PathBuf::from("../log"),
            false => self.log_dir(),
        };
        // Everybody may use a shared socket itself: its directory lets only the service's account pass, and the server
        // asks the kernel which account connects.
        let mode = if self.has_own_service_account() {
            "0777"
        } else {
            "0700"
        };
        let settings = format!(
            "{}{durability}unix_socket_permissions = {mode}\nunix_socket_directories = '{}'\nlog_directory = '{}'\n",
            include_str!("archive.conf"),
            socket.display(),
            log.display(),
        );
        self.base.make_dir("log")?;
        self.base.write("data/archive.conf", &settings)?;
        self.base.write("data/pg_hba.conf", access::HBA)?;
        let ident = access::ident(self.owner().account(), self.service.as_ref());
        self.base.write("data/pg_ident.conf", &ident)
    }

    /// Whether the service works as another account than PostgreSQL.
    pub(super) fn has_own_service_account(&self) -> bool {
        let postgres = self.owner().account();
        self.service
            .as_ref()
            .is_some_and(|service| service.uid() != postgres.uid())
    }

    pub(super) fn log_dir(&self) -> PathBuf {
        self.base.path().join("log")
    }

    /// Options that connect `role` to `database` on this server. `PG*` environment variables have no effect.
    pub(super) fn connect_options(&self, database: &str, role: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.socket.path())
            .port(5432)
            .username(role)
            .password("")
            .ssl_mode(PgSslMode::Disable)
            .application_name("line-chat-archive")
            .database(database)
    }

    /// Connects to the database `postgres` as the superuser.
    pub(super) async fn connect(&self) -> Result<PgConnection, EmbeddedError> {
        self.connect_to("postgres").await
    }

    /// Connects to `database` as the superuser. It looks names up in `pg_catalog` only: otherwise it could find a
    /// function or operator that the service's role has made instead of PostgreSQL's own, and run it as the superuser.
    pub(super) async fn connect_to(&self, database: &str) -> Result<PgConnection, EmbeddedError> {
        let options = self.connect_options(database, access::SUPERUSER);
        let options = options.options([
            ("search_path", "pg_catalog"),
            ("lock_timeout", LOCK_TIMEOUT),
        ]);
        PgConnection::connect_with(&options)
            .await
            .map_err(|e| EmbeddedError::refused(&e))
    }

    /// Runs `work`, which talks to the server; an error if the server does not answer in time.
    pub(super) async fn with_answer_timeout<T>(
        &self,
        work: impl Future<Output = Result<T, EmbeddedError>>,
    ) -> Result<T, EmbeddedError> {
        let done = timeout(self.answer_timeout, work).await;
        done.unwrap_or_else(|_| {
            let socket = self.socket.path().display();
            Err(EmbeddedError::Refused(format!(
                "no answer in time on the socket in {socket}"
            )))
        })
    }
}
