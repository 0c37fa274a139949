//! A service in its own data directory, which contains every file that the service writes anywhere.

use std::{
    fs::{self, File},
    ops::Deref,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
};

use anyhow::ensure;
use line_chat_archive::{embedded::Embedded, fake_line::Event, seal::Cipher};
use tempfile::TempDir;

use crate::support::world;

/// The log of this process, at a far more detailed level than a service uses. It is in the build's directory, where the
/// next run overwrites it: a temporary directory in a static is never removed.
static LOG: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("residue");
    fs::create_dir_all(&directory).expect("a directory");
    let log = File::create(directory.join("service.log")).expect("a log");
    tracing_subscriber::fmt()
        .with_env_filter("debug,line_chat_archive=trace,sqlx=trace")
        .with_writer(Mutex::new(log))
        .with_ansi(false)
        .init();
    directory
});

pub struct World {
    world: world::World,
    embedded: Embedded,
}

impl Deref for World {
    type Target = world::World;

    fn deref(&self) -> &world::World {
        &self.world
    }
}

impl World {
    pub async fn new(cipher: Cipher) -> anyhow::Result<Self> {
        LazyLock::force(&LOG);
        let home = TempDir::new()?;
        // PostgreSQL doesn't run as root, and has to enter this directory.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711))?;
        let embedded = Embedded::start(home.path(), &|line| eprintln!("{line}")).await?;
        ensure!(
            !home.path().join("postgres").is_symlink(),
            "its files are below the directory"
        );
        let database = embedded.connect_options("archive");
        world::migrate(&database).await?;
        let world = world::World::with(home, database, cipher, |_| ()).await?;
        Ok(Self { world, embedded })
    }

    /// Delivers events in webhooks of twenty.
    pub async fn deliver(&self, events: &[Event]) -> anyhow::Result<()> {
        for some in events.chunks(20) {
            self.world.deliver(some).await?;
        }
        Ok(())
    }

    /// The data directory: the database with its write-ahead log and server log, the objects, and everything else.
    pub fn data_dir(&self) -> &Path {
        self.home.path()
    }

    /// Everything except PostgreSQL's data files: its server log, the objects, and the log of this process.
    pub fn outside_the_database(&self) -> Vec<PathBuf> {
        let data_dir = self.data_dir();
        let mut places = vec![data_dir.join("postgres/log"), log()];
        for entry in fs::read_dir(data_dir).unwrap() {
            let path = entry.unwrap().path();
            if path != data_dir.join("postgres") {
                places.push(path);
            }
        }
        places
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        let world::World { service, home, .. } = self.world;
        service.stop().await;
        self.embedded.stop().await?;
        home.close()?;
        Ok(())
    }
}

/// The directory of this process's log.
pub fn log() -> PathBuf {
    LOG.clone()
}
