//! A database cluster: its directory, made with `initdb`, its settings, the way to it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    EmbeddedError,
    binaries::Binaries,
    owner::Owner,
    patience::{last, patiently},
    place,
};
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

/// The database's superuser; the server lets in whom the socket's directory lets in.
const USER: &str = "archive";

#[derive(Debug)]
pub(super) struct Cluster {
    /// Holds `data/`, `log/` and usually the socket; 0700 and the owner's.
    pub(super) base: PathBuf,
    pub(super) owner: Owner,
    pub(super) binaries: Binaries,
    pub(super) socket_dir: PathBuf,
    durability: Durability,
}

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
        base: &Path,
        owner: Owner,
        durability: Durability,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, EmbeddedError> {
        if base
            .to_string_lossy()
            .contains(['"', '\'', '$', '`', '\\', '\n'])
        {
            return Err(EmbeddedError::OddPath(base.into()));
        }
        let binaries = Binaries::for_data(&base.join("data"), owner, say).await?;
        let socket_dir = place::socket_dir(base, owner)?;
        let cluster = Self {
            base: base.into(),
            owner,
            binaries,
            socket_dir,
            durability,
        };
        if !cluster.data().join("PG_VERSION").exists() {
            cluster.init(say).await?;
        }
        Ok(cluster)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.base.join("data")
    }

    /// `initdb` writes beside the place, and a rename makes it real: a crash leaves no half database.
    async fn init(&self, say: &(dyn Fn(&str) + Sync)) -> Result<(), EmbeddedError> {
        say(&format!(
            "making a PostgreSQL {} database in {} …",
            self.binaries.major,
            self.base.display()
        ));
        let unfinished = self.base.join("data.unfinished");
        fs::remove_dir_all(&unfinished)
            .or_else(place::absent_is_fine)
            .map_err(EmbeddedError::file(&unfinished))?;
        let mut initdb = self.owner.command(self.binaries.dir.join("initdb"));
        initdb
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"])
            .args([
                "--auth-local=trust",
                "--auth-host=reject",
                "--username",
                USER,
                "-D",
            ])
            .arg(&unfinished);
        if self.durability == Durability::None {
            initdb.arg("--no-sync");
        }
        let progress = || "  still making it …".to_owned();
        let output = patiently(say, progress, initdb.output())
            .await
            .map_err(EmbeddedError::file("initdb"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(EmbeddedError::Failed {
                program: "initdb",
                said: last(&said),
            });
        }
        let conf = unfinished.join("postgresql.conf");
        let made = fs::read_to_string(&conf).map_err(EmbeddedError::file(&conf))?;
        fs::write(&conf, made + "\ninclude 'archive.conf'\n")
            .map_err(EmbeddedError::file(&conf))?;
        let data = self.data();
        fs::rename(&unfinished, &data).map_err(EmbeddedError::file(&data))?;
        fs::File::open(&self.base)
            .and_then(|base| base.sync_all())
            .map_err(EmbeddedError::file(&self.base))
    }

    pub(super) fn write_settings(&self) -> Result<(), EmbeddedError> {
        let conf = self.data().join("archive.conf");
        let durability = match self.durability {
            Durability::Full => "",
            Durability::None => "fsync = off\nfull_page_writes = off\n",
        };
        let settings = format!(
            "{}{durability}unix_socket_directories = '{}'\nlog_directory = '{}'\n",
            include_str!("archive.conf"),
            self.socket_dir.display(),
            self.log_dir().display(),
        );
        self.owner.furnish(&self.log_dir())?;
        fs::write(&conf, settings).map_err(EmbeddedError::file(&conf))
    }

    pub(super) fn log_dir(&self) -> PathBuf {
        self.base.join("log")
    }

    /// How to reach `database` on this server. No `PG*` variable has a say.
    pub(super) fn connect_options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(5432)
            .username(USER)
            .password("")
            .ssl_mode(PgSslMode::Disable)
            .application_name("line-chat-archive")
            .database(database)
    }

    /// A connection for housekeeping.
    pub(super) async fn connect(&self) -> Result<PgConnection, EmbeddedError> {
        let options = self.connect_options("postgres");
        PgConnection::connect_with(&options)
            .await
            .map_err(|e| EmbeddedError::refused(&e))
    }
}
