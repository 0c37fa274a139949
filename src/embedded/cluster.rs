//! A database cluster: its directory, made with `initdb`, its settings, the way to it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Account, Embedded, EmbeddedError,
    binaries::Binaries,
    files::Files,
    owner::Owner,
    patience::{cause, patiently},
    place, roles,
};
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::timeout;

#[derive(Debug)]
pub(super) struct Cluster {
    /// Holds `data/`, `log/` and usually the socket. Belongs to PostgreSQL's account.
    pub(super) base: Files,
    pub(super) binaries: Binaries,
    /// Holds the socket.
    pub(super) socket: Files,
    /// The account that the service works as, if it is another than this process's.
    service: Option<Account>,
    durability: Durability,
    /// How long the server may take to answer what is asked of it at a start.
    pub(super) answer_timeout: Duration,
}

/// Making the database takes a second at most. A false server on the socket would keep root waiting for ever.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// For each lock in the server: the service's role can hold one that it never lets go.
const LOCK_TIMEOUT: &str = "5s";

/// Whether what was committed has to outlive the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// PostgreSQL's defaults: a commit is on disk.
    Full,
    /// Nothing waits for the disk, for what is thrown away anyhow.
    None,
}

impl Cluster {
    /// The cluster in `base`, made if there is none yet. Doesn't start it.
    pub(super) async fn open(
        base: Files,
        service: Option<&Account>,
        durability: Durability,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, EmbeddedError> {
        Embedded::check_path(base.path())?;
        let version = base.read("data/PG_VERSION")?;
        let made_by = version.as_ref().and_then(|text| text.trim().parse().ok());
        let data = base.path().join("data");
        let binaries = Binaries::for_data(&data, made_by, base.owner(), say).await?;
        let cluster = Self {
            socket: place::socket_dir(&base, service)?,
            base,
            binaries,
            service: service.cloned(),
            durability,
            answer_timeout: ANSWER_TIMEOUT,
        };
        if version.is_none() {
            cluster.init(say).await?;
        }
        Ok(cluster)
    }

    pub(super) fn owner(&self) -> &Owner {
        self.base.owner()
    }

    /// `initdb` writes beside the place, and a rename makes it real: a crash leaves no half database.
    async fn init(&self, say: &(dyn Fn(&str) + Sync)) -> Result<(), EmbeddedError> {
        const UNFINISHED: &str = "data.unfinished";
        say(&format!(
            "making a PostgreSQL {} database in {} …",
            self.binaries.major,
            self.base.path().display()
        ));
        self.base.remove_all(UNFINISHED)?;
        self.base.make_dir(UNFINISHED)?;
        let data = self.base.work_dir(UNFINISHED)?;
        let mut initdb = self.owner().command(self.binaries.dir.join("initdb"));
        initdb
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"])
            .args([
                "--auth-local=peer",
                "--auth-host=reject",
                "--username",
                roles::SUPERUSER,
                "-D",
            ])
            .arg(&data.name)
            .current_dir(&data.cwd);
        if self.durability == Durability::None {
            initdb.arg("--no-sync");
        }
        let progress = || "  still making it …".to_owned();
        let output = patiently(say, progress, initdb.output())
            .await
            .map_err(EmbeddedError::file("initdb"))?;
        if !output.status.success() {
            let said = cause(&String::from_utf8_lossy(&output.stderr));
            return Err(EmbeddedError::Failed {
                program: "initdb",
                said: format!("{}: {said}", self.base.path().display()),
            });
        }
        let conf = format!("{UNFINISHED}/postgresql.conf");
        let made = self.base.read(&conf)?.unwrap_or_default();
        let settings = made + "\ninclude 'archive.conf'\n";
        self.base.write(&conf, &settings)?;
        self.base.rename(UNFINISHED, "data")
    }

    /// Writes the settings, and who may connect.
    pub(super) fn write_settings(&self) -> Result<(), EmbeddedError> {
        let durability = match self.durability {
            Durability::Full => "",
            Durability::None => "fsync = off\nfull_page_writes = off\n",
        };
        // By names that the server can resolve from its working directory: those in the path can be given to others.
        let is_inside = self.base.holds("data")?;
        let socket = match is_inside && self.socket.path() == self.base.path() {
            true => Path::new(".."),
            false => self.socket.path(),
        };
        let log = match is_inside {
            true => PathBuf::from("../log"),
            false => self.log_dir(),
        };
        // Its directory lets only the service's account pass, and the server asks which account it is.
        let mode = if self.is_shared() { "0777" } else { "0700" };
        let settings = format!(
            "{}{durability}unix_socket_permissions = {mode}\nunix_socket_directories = '{}'\nlog_directory = '{}'\n",
            include_str!("archive.conf"),
            socket.display(),
            log.display(),
        );
        self.base.make_dir("log")?;
        self.base.write("data/archive.conf", &settings)?;
        self.base.write("data/pg_hba.conf", roles::HBA)?;
        let ident = roles::ident(self.owner().account(), self.service.as_ref());
        self.base.write("data/pg_ident.conf", &ident)
    }

    /// Whether the service works as another account than PostgreSQL.
    pub(super) fn is_shared(&self) -> bool {
        let postgres = self.owner().account();
        self.service
            .as_ref()
            .is_some_and(|service| service.uid() != postgres.uid())
    }

    pub(super) fn log_dir(&self) -> PathBuf {
        self.base.path().join("log")
    }

    /// How to reach `database` on this server, as `role`. No `PG*` variable has a say.
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

    /// A connection for housekeeping, as the superuser.
    pub(super) async fn connect(&self) -> Result<PgConnection, EmbeddedError> {
        self.connect_to("postgres").await
    }

    /// The same to another database. A function or operator that the service's role has made must not be found there
    /// instead of PostgreSQL's own: the superuser would run it.
    pub(super) async fn connect_to(&self, database: &str) -> Result<PgConnection, EmbeddedError> {
        let options = self.connect_options(database, roles::SUPERUSER);
        let options = options.options([
            ("search_path", "pg_catalog"),
            ("lock_timeout", LOCK_TIMEOUT),
        ]);
        PgConnection::connect_with(&options)
            .await
            .map_err(|e| EmbeddedError::refused(&e))
    }

    /// The outcome of `work` with the server, if it answers in time.
    pub(super) async fn answered<T>(
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
