//! A private PostgreSQL for a data directory: found or brought, made, started, adopted, stopped.
//!
//! It listens on a unix socket only, in a directory that is closed to everybody but its user; durability is at
//! PostgreSQL's defaults, and the settings in `archive.conf` see to it that the server's own files forget.

mod binaries;
mod bring;
mod cluster;
mod error;
mod lock;
mod owner;
mod patience;
mod place;
mod scratch;
mod server;

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, Executor, postgres::PgConnectOptions};

use cluster::{Cluster, Durability};
pub use error::EmbeddedError;
pub use lock::DataDirLock;
use lock::Users;
pub use scratch::Scratch;

/// The database every command works on.
const DATABASE: &str = "archive";

/// Where databases go whose data directory the server's user can't enter.
const ELSEWHERE: &str = "/var/lib/line-chat-archive";

/// A running PostgreSQL that belongs to a data directory, shared by every process that works on it.
#[derive(Debug)]
pub struct Embedded {
    cluster: Cluster,
    users: Users,
}

impl Embedded {
    /// Starts the PostgreSQL of `data_dir`, or joins it if it runs: started by another command,
    /// or left running by a crash. Makes the directory, the cluster and the database `archive` if absent, and brings
    /// PostgreSQL itself if the machine has none. `say` gets a line for whatever may take long.
    pub async fn start(
        data_dir: &Path,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, EmbeddedError> {
        Self::start_with(data_dir, Path::new(ELSEWHERE), say).await
    }

    async fn start_with(
        data_dir: &Path,
        elsewhere: &Path,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, EmbeddedError> {
        let data_dir = place::data_dir(data_dir)?;
        let (base, owner) = place::base(&data_dir, elsewhere, say).await?;
        let _turn = Users::turn(&base).await?;
        let cluster = Cluster::open(&base, owner, Durability::Full, say).await?;
        cluster.start(Users::none(&base)?, say).await?;
        let users = Users::enter(&base)?;
        create_if_absent(&cluster).await?;
        Ok(Self { cluster, users })
    }

    /// How to reach the database `database` ("archive" is the one that is there) on this server.
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        self.cluster.connect_options(database)
    }

    /// Stops the server, unless another process still uses it. Close the pools before.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        let (last, _turn) = self.users.leave().await?;
        if last {
            self.cluster.stop().await
        } else {
            Ok(())
        }
    }
}

async fn create_if_absent(cluster: &Cluster) -> Result<(), EmbeddedError> {
    let refused = |e| EmbeddedError::refused(&e);
    let mut connection = cluster.connect().await?;
    let there: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(DATABASE)
            .fetch_one(&mut connection)
            .await
            .map_err(refused)?;
    if !there {
        connection
            .execute(AssertSqlSafe(format!("create database {DATABASE}")))
            .await
            .map_err(refused)?;
    }
    connection.close().await.map_err(refused)
}

#[cfg(test)]
mod tests;
