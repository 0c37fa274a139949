//! The PostgreSQL that every app writes to: durable, with its default settings, on a disk.

use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use line_chat_archive::embedded::Embedded;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

use crate::usage;

/// The magic number of tmpfs, which is in memory and so says nothing about a disk.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// A PostgreSQL of this benchmark, which is deleted at the end.
pub struct Ground {
    embedded: Embedded,
    directory: TempDir,
    /// The id of the server's first process.
    pub postmaster: u32,
    /// PostgreSQL's `server_version`.
    pub version: String,
}

impl Ground {
    /// Starts PostgreSQL in a new directory in `parent`.
    pub async fn start(parent: &Path) -> Result<Self> {
        let directory = TempDir::with_prefix_in("bench-webhooks-", parent)?;
        let say = |line: &str| eprintln!("{line}");
        let embedded = Embedded::start(directory.path(), &say).await?;
        let mut db = PgConnection::connect_with(&embedded.connect_options("archive")).await?;
        let (backend, version): (i32, String) =
            sqlx::query_as("select pg_backend_pid(), current_setting('server_version')")
                .fetch_one(&mut db)
                .await?;
        // While the backend is connected, its parent can be looked up.
        let postmaster = usage::parent(u32::try_from(backend)?);
        db.close().await?;
        Ok(Self {
            embedded,
            directory,
            postmaster: postmaster.unwrap_or_default(),
            version,
        })
    }

    /// Creates an empty database, and returns the options to connect to it.
    pub async fn database(&self, name: &str) -> Result<PgConnectOptions> {
        let options = self.embedded.connect_options(name);
        let owner = options.get_username();
        self.run(&format!("create database {name} owner {owner}"))
            .await?;
        Ok(options)
    }

    /// Removes a database, and disconnects everybody from it.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        self.run(&format!("drop database {name} with (force)"))
            .await
    }

    /// Runs a checkpoint, so that no app pays for the writes of another.
    pub async fn settle(&self) -> Result<()> {
        self.run("checkpoint").await
    }

    /// The directory for files of the apps.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops PostgreSQL.
    pub async fn stop(self) -> Result<()> {
        Ok(self.embedded.stop().await?)
    }

    /// The time in which the disk makes 8 KiB durable, in milliseconds: the median of a hundred writes.
    pub fn sync_time(&self) -> Result<f64> {
        let mut file = tempfile::tempfile_in(self.directory())?;
        let mut times: Vec<Duration> = (0..100)
            .map(|_| {
                let begun = Instant::now();
                file.write_all(&[7; 8192])?;
                file.sync_data().map(|()| begun.elapsed())
            })
            .collect::<std::io::Result<_>>()?;
        times.sort_unstable();
        Ok(times.get(50).context("no times")?.as_secs_f64() * 1000.0)
    }

    /// Whether the directory is in memory.
    pub fn in_memory(&self) -> Result<bool> {
        Ok(rustix::fs::statfs(self.directory())?.f_type == TMPFS)
    }

    async fn run(&self, sql: &str) -> Result<()> {
        let options = self.embedded.superuser_options("postgres");
        let mut db = PgConnection::connect_with(&options).await?;
        db.execute(AssertSqlSafe(sql.to_owned())).await?;
        Ok(db.close().await?)
    }
}
