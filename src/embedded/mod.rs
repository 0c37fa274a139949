//! A private PostgreSQL for a data directory: found or brought, made, started, adopted, stopped.
//!
//! It listens on a unix socket only, in a directory that only its account and the service's may pass, and asks the kernel
//! who is at the other end (`roles`); durability is at PostgreSQL's defaults, and the settings in `archive.conf` see to it
//! that the server's own files forget.
//!
//! Where root starts it, PostgreSQL has an account of its own, which owns the database's directory and may be in an
//! attacker's hands. So root does nothing in that directory by itself (`files`), opens and hands out directories by handle
//! (`place`, `handover`), and the process that started it can go on as the service's account ([`Account::become_for_good`]).

mod account;
mod binaries;
mod bring;
mod cluster;
mod error;
mod files;
mod handover;
mod keeper;
mod lock;
mod owner;
mod patience;
mod place;
mod roles;
mod scratch;
mod server;
mod way;
mod wheel;

use std::{path::Path, time::Duration};

use sqlx::postgres::PgConnectOptions;

pub use account::{Account, service_account};
pub use bring::may_bring;
use cluster::{Cluster, Durability};
pub use error::EmbeddedError;
use keeper::Keeper;
pub use lock::DataDirLock;
use lock::{OldUsers, Users};
pub use place::DataDir;
pub use scratch::Scratch;
pub use way::new_file;
pub use wheel::{Build, Wheel};

/// The database every command works on.
const DATABASE: &str = "archive";

/// Where databases go whose data directory the server's user can't enter.
const ELSEWHERE: &str = "/var/lib/line-chat-archive";

/// How long another process may hold the list of users for itself: it does so for an instant before it ends.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// A running PostgreSQL that belongs to a data directory, shared by every process that works on it.
#[derive(Debug)]
pub struct Embedded {
    cluster: Cluster,
    users: Users,
    old_users: OldUsers,
    /// Stops the server once this process is another account.
    keeper: Option<Keeper>,
}

impl Embedded {
    /// Whether `data_dir` has a database, or one that this process may not see. Makes nothing.
    #[must_use]
    pub fn exists(data_dir: &Path) -> bool {
        place::has_database(data_dir)
    }

    /// Looks whether a database can be made below `dir`: `pg_ctl` hands its path to a shell inside double quotes.
    ///
    /// # Errors
    /// [`EmbeddedError::OddPath`].
    pub fn check_path(dir: &Path) -> Result<(), EmbeddedError> {
        let odd = ['"', '\'', '$', '`', '\\', '\n'];
        match dir.to_string_lossy().contains(odd) {
            true => Err(EmbeddedError::OddPath(dir.into())),
            false => Ok(()),
        }
    }

    /// Starts the PostgreSQL of `data_dir`, or joins it if it runs: started by another command,
    /// or left running by a crash. Makes the directory, the cluster and the database `archive` if absent, and brings
    /// PostgreSQL itself if the machine has none. `say` gets a line for whatever may take long.
    pub async fn start(
        data_dir: &Path,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, EmbeddedError> {
        Self::start_with(data_dir, Path::new(ELSEWHERE), None, say).await
    }

    /// The same for a process that is root and goes on as the account `service` after this. The data directory is given to
    /// that account, but for `postgres` in it.
    pub async fn start_for(
        data_dir: &Path,
        service: &Account,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, EmbeddedError> {
        Self::start_with(data_dir, Path::new(ELSEWHERE), Some(service), say).await
    }

    async fn start_with(
        data_dir: &Path,
        elsewhere: &Path,
        service: Option<&Account>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, EmbeddedError> {
        let mut data = DataDir::open(data_dir)?;
        let users = Users::open(&data)?;
        let others =
            || "  waiting for another process that starts or stops PostgreSQL …".to_owned();
        let turn = patience::patiently(say, others, users.turn()).await?;
        // The process that had the turn before may have given it away.
        data.look_again()?;
        let base = place::base(&data, elsewhere, service, say)?;
        let cluster = Cluster::open(base, service, Durability::Full, say).await?;
        let alone = users.none();
        // What a service that stays root writes after its files were given away could not be read, or destroyed, later.
        let used = !alone || OldUsers::some(&cluster.base);
        if service.is_some() && data.owner() == 0 && used {
            return Err(EmbeddedError::StillRoots(data.path().into()));
        }
        cluster.start(alone, say).await?;
        let begun = Self::begin(&cluster, &data, &users, service).await;
        let (old_users, keeper) = match begun {
            Err(error) if alone => {
                // The first error is the one to be told.
                let _ = cluster.stop().await;
                return Err(error);
            }
            begun => begun?,
        };
        drop(turn);
        Ok(Self {
            cluster,
            users,
            old_users,
            keeper,
        })
    }

    /// Makes what a running cluster has to hold, and counts this process as a user of it.
    async fn begin(
        cluster: &Cluster,
        data: &DataDir,
        users: &Users,
        service: Option<&Account>,
    ) -> Result<(OldUsers, Option<Keeper>), EmbeddedError> {
        users.enter(LOCK_PATIENCE).await?;
        let old_users = OldUsers::enter(&cluster.base);
        cluster.make_roles().await?;
        cluster.make_database(DATABASE).await?;
        let Some(service) = service else {
            return Ok((old_users, None));
        };
        data.hand_over(service)?;
        Ok((old_users, Some(Keeper::start(cluster)?)))
    }

    /// How the service's role reaches the database `database` ("archive" is the one that is there) on this server.
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        self.cluster.connect_options(database, roles::SERVICE)
    }

    /// How the superuser reaches it: for root and PostgreSQL's account only.
    pub fn superuser_options(&self, database: &str) -> PgConnectOptions {
        self.cluster.connect_options(database, roles::SUPERUSER)
    }

    /// The account that PostgreSQL runs as.
    pub fn account(&self) -> &Account {
        self.cluster.owner().account()
    }

    /// Stops the server, unless another process still uses it. Close the pools before.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        let _turn = self.users.turn().await?;
        let last = self.users.leave() && self.old_users.leave();
        match self.keeper {
            _ if !last => Ok(()),
            Some(keeper) => keeper.stop().await,
            None => self.cluster.stop().await,
        }
    }
}

#[cfg(test)]
mod tests;
