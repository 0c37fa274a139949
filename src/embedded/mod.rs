//! A private PostgreSQL for a data directory: finds or installs its programs, makes the cluster, and starts, adopts and
//! stops the server.
//!
//! The server listens on a unix socket only, in a directory that only its own account and the service's may pass
//! through, and asks the kernel which account is at the other end (`access`). The durability settings are PostgreSQL's
//! defaults. The settings in `archive.conf` keep deleted data out of the server's own files.
//!
//! If root starts it, PostgreSQL has an account of its own, which owns the database's directory and which an attacker
//! may control. So root does nothing in that directory as root (`owned_directory`), and opens directories and gives
//! them away by handle (`place`, `handover`). The process that started PostgreSQL can then continue as the service's
//! account ([`Account::become_for_good`]).

mod access;
mod account;
mod binaries;
mod cluster;
mod error;
mod handover;
mod install;
mod keeper;
mod lock;
mod owned_directory;
mod owner;
mod place;
mod progress;
mod roles;
mod safe_path;
mod scratch;
mod server;
mod wheel;

use std::{path::Path, time::Duration};

use sqlx::postgres::PgConnectOptions;
use tokio::time::sleep;

pub use account::{Account, service_account};
use cluster::{Cluster, Durability};
pub use error::EmbeddedError;
pub use install::may_install;
use keeper::Keeper;
pub use lock::DataDirLock;
use lock::{OldUsers, Users};
pub use place::DataDir;
pub use safe_path::new_file;
pub use scratch::Scratch;
use server::{STILL_STARTING, Started};
pub use wheel::{Release, Wheel};

/// Name of the database that every command works on.
const DATABASE: &str = "archive";

/// Directory for the databases whose data directory PostgreSQL's account cannot enter.
const ELSEWHERE: &str = "/var/lib/line-chat-archive";

/// How often a running service looks whether its server is there, and the longest pause after failed starts.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long another process may hold the lock of the users exclusively: this program does so only for an instant before
/// it ends.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// A running PostgreSQL that belongs to a data directory, shared by every process that works on it.
#[derive(Debug)]
pub struct Embedded {
    cluster: Cluster,
    users: Users,
    old_users: OldUsers,
    /// Stops the server after this process has switched to another account.
    keeper: Option<Keeper>,
}

impl Embedded {
    /// True if `data_dir` has a database, or one that this process may not see. Makes nothing.
    #[must_use]
    pub fn exists(data_dir: &Path) -> bool {
        place::has_database(data_dir)
    }

    /// Checks that a database can be made below `dir`: `pg_ctl` passes its path to a shell inside double quotes.
    ///
    /// # Errors
    /// [`EmbeddedError::OddPath`]: the path has a character that such a shell would interpret.
    pub fn check_path(dir: &Path) -> Result<(), EmbeddedError> {
        let odd = ['"', '\'', '$', '`', '\\', '\n'];
        match dir.to_string_lossy().contains(odd) {
            true => Err(EmbeddedError::OddPath(dir.into())),
            false => Ok(()),
        }
    }

    /// Starts the PostgreSQL of `data_dir`, or joins it if it runs: started by another command, or left running by a
    /// crash. Makes the directory, the cluster and the database `archive` if absent, and installs PostgreSQL itself if
    /// the machine has none. `say` gets a line for each step that may take long.
    pub async fn start(
        data_dir: &Path,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, EmbeddedError> {
        Self::start_with(data_dir, Path::new(ELSEWHERE), None, say).await
    }

    /// As [`Embedded::start`], for a process that is root and then continues as the account `service`. Gives the data
    /// directory to that account, except `postgres` in it.
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
        let turn = progress::with_progress(say, others, users.turn()).await?;
        // The process that had the turn before may have given the directory to another account.
        data.look_again()?;
        let base = place::base(&data, elsewhere, service, say)?;
        let cluster = Cluster::open(base, service, Durability::Full, say).await?;
        let alone = users.is_empty();
        // If a service that stays root is running, it would go on writing files as root after the directory was given
        // away, and the service's account could not read or destroy them later.
        let used = !alone || OldUsers::has_any(&cluster.base);
        if service.is_some() && data.owner() == 0 && used {
            return Err(EmbeddedError::UsedByRoot(data.path().into()));
        }
        cluster.start(alone, say).await?;
        let begun = Self::begin(&cluster, &data, &users, service).await;
        let (old_users, keeper) = match begun {
            Err(error) if alone => {
                // Report the first error, not one of the stop.
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

    /// Counts this process as a user of a running cluster, and makes the roles and the database. For `service` it also
    /// gives the data directory away and starts the keeper.
    async fn begin(
        cluster: &Cluster,
        data: &DataDir,
        users: &Users,
        service: Option<&Account>,
    ) -> Result<(OldUsers, Option<Keeper>), EmbeddedError> {
        users.enter(LOCK_TIMEOUT).await?;
        let old_users = OldUsers::enter(&cluster.base);
        cluster.make_roles().await?;
        cluster.make_database(DATABASE).await?;
        let Some(service) = service else {
            return Ok((old_users, None));
        };
        data.hand_over(service)?;
        Ok((old_users, Some(Keeper::start(cluster)?)))
    }

    /// Options that connect the service's role to the database `database` on this server; `archive` is always there.
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        self.cluster.connect_options(database, access::SERVICE)
    }

    /// Options that connect the superuser to `database`: the server accepts them from root and PostgreSQL's account
    /// only.
    pub fn superuser_options(&self, database: &str) -> PgConnectOptions {
        self.cluster.connect_options(database, access::SUPERUSER)
    }

    /// The account that PostgreSQL runs as.
    pub fn account(&self) -> &Account {
        self.cluster.owner().account()
    }

    /// Starts the server again whenever it is gone, with growing pauses between failures. Never returns; it can be dropped
    /// at any time.
    pub async fn keep_running(&mut self) {
        let mut pause = WATCH_INTERVAL;
        let mut is_starting = false;
        loop {
            sleep(pause).await;
            if self.cluster.is_there().await {
                pause = WATCH_INTERVAL;
                if is_starting && self.cluster.is_ready().await {
                    is_starting = false;
                    tracing::info!("PostgreSQL runs again");
                }
                continue;
            }
            tracing::error!(
                "PostgreSQL has died: it is started again, and webhooks are answered 503 meanwhile"
            );
            let started = self.start_again().await;
            is_starting = matches!(started, Ok(Started::StillStarting));
            pause = match started {
                Ok(_) => WATCH_INTERVAL,
                Err(_) => (pause * 2).min(LONGEST_PAUSE),
            };
            match started {
                Ok(Started::Ready) => tracing::info!("PostgreSQL runs again"),
                Ok(Started::StillStarting) => tracing::info!("{STILL_STARTING}"),
                Err(error) => tracing::error!(%error, "PostgreSQL could not be started again"),
            }
        }
    }

    async fn start_again(&mut self) -> Result<Started, EmbeddedError> {
        let _turn = self.users.turn().await?;
        // Another process may have started it.
        if self.cluster.is_there().await {
            return Ok(Started::StillStarting);
        }
        match &mut self.keeper {
            Some(keeper) => keeper.start_again().await,
            None => {
                let say = |line: &str| tracing::info!("{}", line.trim_start());
                let started = self.cluster.start(false, &say).await;
                started.map(|()| Started::Ready)
            }
        }
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
