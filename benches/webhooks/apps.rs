//! The apps, each in its own process with its own database on the same PostgreSQL.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use sqlx::{ConnectOptions, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use url::Url;

use crate::{
    bodies::{SECRET, forged},
    ground::Ground,
    load, peers,
};

/// The peers' table, with one row for each event.
const PEER_TABLE: &str = "create table webhook_event (
    webhook_event_id text primary key, destination text not null, user_id text not null,
    occurred_at bigint not null, received_at timestamptz not null default now(), payload jsonb not null)";

/// The apps to measure.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum App {
    /// line-chat-archive; every sender is known already
    Ours,
    /// line-chat-archive; every sender is new
    New,
    /// line-chat-archive within this program, with its encryption
    Sealed,
    /// line-chat-archive within this program, with a cipher that does nothing
    Null,
    /// actix-web, sqlx: one INSERT for each event
    Naive,
    /// express, @line/bot-sdk, pg: one INSERT for each event, 2 processes
    Node,
    /// FastAPI, line-bot-sdk, asyncpg: one INSERT for each event, 2 processes
    Python,
}

impl App {
    /// Its name on the command line.
    pub fn key(self) -> &'static str {
        match self {
            App::Ours => "ours",
            App::New => "new",
            App::Sealed => "sealed",
            App::Null => "null",
            App::Naive => "naive",
            App::Node => "node",
            App::Python => "python",
        }
    }

    /// Its name in tables.
    pub fn title(self) -> &'static str {
        match self {
            App::Ours => "**line-chat-archive**",
            App::New => "**line-chat-archive**, every sender new",
            App::Sealed => "sealing",
            App::Null => "null cipher",
            App::Naive => "one INSERT, Rust",
            App::Node => "one INSERT, Node",
            App::Python => "one INSERT, Python",
        }
    }

    fn is_peer(self) -> bool {
        matches!(self, App::Naive | App::Node | App::Python)
    }

    /// Whether all senders have to be known before the clock starts.
    pub fn knows_everybody(self) -> bool {
        matches!(self, App::Ours | App::Sealed | App::Null)
    }

    fn command(self) -> Result<Command> {
        let directory = peers::directory(self);
        Ok(match self {
            App::Ours | App::New => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_line-chat-archive"));
                command.arg("serve");
                command
            }
            App::Naive | App::Sealed | App::Null => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--serve", self.key()]);
                command
            }
            App::Node => {
                let mut command = Command::new("node");
                command.arg("server.js").current_dir(directory);
                command
            }
            App::Python => {
                let mut command = Command::new(directory.join("venv/bin/uvicorn"));
                command.args(["server:app", "--workers", "2", "--no-access-log", "--port"]);
                command.current_dir(directory);
                command
            }
        })
    }
}

/// An app that answers requests.
pub struct Running {
    app: App,
    process: Child,
    database: PgConnection,
    name: String,
    /// The address on which it listens.
    pub address: SocketAddr,
    /// The id of its first process.
    pub id: u32,
    /// The number of events that it has acknowledged.
    pub acknowledged: u64,
}

impl Running {
    /// Starts an app on an empty database, and waits until it refuses a request with a forged signature.
    pub async fn start(app: App, ground: &Ground, number: usize) -> Result<Self> {
        let name = format!("bench_{number}");
        let options = ground.database(&name).await?;
        let mut database = options.connect().await?;
        if app.is_peer() {
            database.execute(PEER_TABLE).await?;
        }
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let port = address.port().to_string();
        let log = ground.directory().join(format!("{name}.log"));
        let secret_key = ground.directory().join(format!("{name}.key"));
        std::fs::write(&secret_key, [7; 32])?;
        std::fs::set_permissions(
            &secret_key,
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )?;
        let mut command = app.command()?;
        if app == App::Python {
            command.arg(&port);
        }
        if rustix::process::geteuid().is_root() {
            // The database accepts only this account.
            command.env("RUN_AS", "root");
        }
        let process = command
            .env("PORT", &port)
            .env("LISTEN", address.to_string())
            .env("LINE_CHANNEL_SECRET", SECRET)
            .env("DATA_DIR", ground.directory().join(&name))
            .env("SECRET_KEY_FILE", secret_key)
            .env("DATABASE_URL", url_of(&options)?)
            .env("PGHOST", options.get_socket().context("no socket")?)
            .env("PGUSER", options.get_username())
            .env("PGDATABASE", &name)
            .env("PGPORT", "5432")
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", app.key()))?;
        let id = process.id().context("no process")?;
        let running = Self {
            app,
            process,
            database,
            name,
            address,
            id,
            acknowledged: 0,
        };
        let ready = running.wait_until_it_refuses().await;
        ready.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        Ok(running)
    }

    async fn wait_until_it_refuses(&self) -> Result<()> {
        let patience = Instant::now() + Duration::from_secs(30);
        loop {
            match load::once(self.address, &forged()).await {
                Ok(200) => anyhow::bail!("{} believes a forged signature", self.app.key()),
                Ok(_) => break,
                Err(error) => ensure!(Instant::now() < patience, "{}: {error}", self.app.key()),
            }
            sleep(Duration::from_millis(100)).await;
        }
        // A second process of the app may need a moment longer.
        sleep(Duration::from_millis(if self.app.is_peer() {
            1000
        } else {
            0
        }))
        .await;
        Ok(())
    }

    /// Ends the app and removes its database. Returns the number of events that it has stored.
    pub async fn stop(mut self, ground: &Ground) -> Result<i64> {
        if let Some(id) = rustix::process::Pid::from_raw(i32::try_from(self.id)?) {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        if timeout(Duration::from_secs(10), self.process.wait())
            .await
            .is_err()
        {
            self.process.kill().await?;
        }
        // The archive keeps a message and its content in different tables: a message without one of them is not stored.
        let count = if self.app.is_peer() {
            "select count(*) from webhook_event"
        } else {
            "select count(*) from message m join message_ref using (channel_id, message_id)
             join revision r on r.message_id = m.id"
        };
        let stored = sqlx::query_scalar(count)
            .fetch_one(&mut self.database)
            .await?;
        drop(self.database);
        ground.drop_database(&self.name).await?;
        Ok(stored)
    }
}

fn url_of(options: &PgConnectOptions) -> Result<String> {
    let mut url = Url::parse("postgres://localhost")?;
    url.set_path(options.get_database().context("no database")?);
    let socket = options.get_socket().context("no socket")?;
    url.query_pairs_mut()
        .append_pair("host", &socket.to_string_lossy())
        .append_pair("user", options.get_username());
    Ok(url.into())
}
