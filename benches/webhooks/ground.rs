//! The one PostgreSQL that every app writes to: durable, as it comes, on a disk.

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

/// Often memory: nothing is learned about a disk there.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// A PostgreSQL of our own, thrown away at the end.
pub struct Ground {
    embedded: Embedded,
    directory: TempDir,
    /// The server's first process.
    pub postmaster: u32,
    /// `server_version`.
    pub version: String,
}

impl Ground {
    /// Starts it in a new directory in `parent`.
    pub async fn start(parent: &Path) -> Result<Self> {
        let directory = TempDir::with_prefix_in("bench-webhooks-", parent)?;
        let say = |line: &str| eprintln!("{line}");
        let embedded = Embedded::start(directory.path(), &say).await?;
        let mut db = PgConnection::connect_with(&embedded.connect_options("archive")).await?;
        let (backend, version): (i32, String) =
            sqlx::query_as("select pg_backend_pid(), current_setting('server_version')")
                .fetch_one(&mut db)
                .await?;
        // As long as the backend is there to be asked.
        let postmaster = usage::parent(u32::try_from(backend)?);
        db.close().await?;
        Ok(Self {
            embedded,
            directory,
            postmaster: postmaster.unwrap_or_default(),
            version,
        })
    }

    /// Makes an empty database and says how to reach it.
    pub async fn database(&self, name: &str) -> Result<PgConnectOptions> {
        let options = self.embedded.connect_options(name);
        let owner = options.get_username();
        self.run(&format!("create database {name} owner {owner}"))
            .await?;
        Ok(options)
    }

    /// Removes a database, whoever is connected.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        self.run(&format!("drop database {name} with (force)"))
            .await
    }

    /// Brings everything to disk, so that no app pays for what another has written.
    pub async fn settle(&self) -> Result<()> {
        self.run("checkpoint").await
    }

    /// A directory for files of an app.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops the server.
    pub async fn stop(self) -> Result<()> {
        Ok(self.embedded.stop().await?)
    }

    /// How long the disk takes to make 8 KiB durable, in milliseconds: the median of a hundred.
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

    /// True if the directory is in memory.
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
