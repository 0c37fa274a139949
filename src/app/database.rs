//! The database a command works on: the one it was told of, or the private one in the data directory.

use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use secrecy::ExposeSecret;
use sqlx::{
    ConnectOptions, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use super::{database_url, privileges, signals::until_told_to_end};
use crate::{
    MIGRATOR,
    config::Places,
    embedded::{Embedded, EmbeddedError},
};

/// Connections of the dashboard and the worker together; the committer and the live listener have one each beside.
const CONNECTIONS: u32 = 16;

/// A request waits this long for a connection before it is answered with an error page.
const PATIENCE: Duration = Duration::from_secs(5);

/// A command waits this long for its one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A database.
pub struct Database {
    /// How to connect to it.
    pub options: PgConnectOptions,
    embedded: Option<Embedded>,
}

/// Whether a command makes, migrates or only reads the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Makes it where there is none, and brings it to the schema of this version: `serve` alone.
    Make,
    /// Brings it to the schema of this version.
    Change,
    /// Leaves it as it is.
    Look,
}

/// Runs `work` on the archive's database, and stops the embedded PostgreSQL after it if nobody else uses it, also where
/// `work` fails or the process is told to end meanwhile.
///
/// # Errors
/// There is no archive, it cannot be reached or is of a newer version than this program, or `work` failed.
pub async fn with<T>(
    places: &Places,
    purpose: Purpose,
    work: impl AsyncFnOnce(&Database) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let told = until_told_to_end()?;
    let database = Database::find(places, purpose).await?;
    let done = tokio::select! {
        done = async {
            database.prepare(purpose).await?;
            work(&database).await
        } => done,
        () = told => Err(anyhow!("told to end before it was done")),
    };
    let closed = database.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

impl Database {
    /// Finds the database, starting the embedded one where no other is configured. Root is given up with this, as `places`
    /// says: PostgreSQL runs by then.
    ///
    /// # Errors
    /// There is no archive and `purpose` is not to make one, or the account that takes root's place cannot use it.
    pub async fn find(places: &Places, purpose: Purpose) -> anyhow::Result<Self> {
        if purpose != Purpose::Make {
            must_exist(places)?;
        }
        let say = |line: &str| tracing::info!("{line}");
        let (options, embedded) = match &places.database_url {
            Some(url) => (database_url::parse(url.expose_secret())?, None),
            None => {
                let embedded = match &places.service {
                    Some(service) => Embedded::start_for(&places.data_dir, service, &say).await,
                    None => Embedded::start(&places.data_dir, &say).await,
                };
                let embedded = embedded.map_err(|error| match error {
                    // `demo` could not use one.
                    EmbeddedError::NoServer { .. } => {
                        anyhow!("{error}, or DATABASE_URL to a PostgreSQL of your own")
                    }
                    error => error.into(),
                })?;
                privileges::warn_of_shared(places, embedded.account());
                (embedded.connect_options("archive"), Some(embedded))
            }
        };
        let database = Self {
            options: quiet(options),
            embedded,
        };
        if let Err(error) = privileges::give_up_root(places) {
            database.close().await?;
            return Err(error);
        }
        Ok(database)
    }

    /// Migrates it, if that is the purpose.
    ///
    /// # Errors
    /// It cannot be reached, is of a newer version than this program, or holds no archive and `purpose` is not to make one.
    pub async fn prepare(&self, purpose: Purpose) -> anyhow::Result<()> {
        let mut db = self.connect().await?;
        if purpose != Purpose::Make {
            let there: bool =
                sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
                    .fetch_one(&mut db)
                    .await?;
            let place = match self.embedded {
                Some(_) => "DATA_DIR",
                None => "the database of DATABASE_URL",
            };
            ensure!(there, "there is no archive in {place}: `serve` makes one");
        }
        if purpose == Purpose::Look {
            return Ok(());
        }
        MIGRATOR
            .run(&mut db)
            .await
            .context("the database could not be migrated")?;
        grant(&mut db)
            .await
            .context("the service's role could not be given its rights")
    }

    /// One connection, for a command that needs no more.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn connect(&self) -> anyhow::Result<PgConnection> {
        // The error's text may hold the address with its password.
        let connected = timeout(CONNECT_TIMEOUT, self.options.connect()).await;
        let connected = connected.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut));
        connected.map_err(|error| match error {
            sqlx::Error::Tls(_) => anyhow!(
                "no TLS with the database, or its certificate is not the one that DATABASE_URL demands: a server on \
                 another machine has to offer TLS"
            ),
            sqlx::Error::Io(error) => anyhow!(
                "the database cannot be reached ({}): check DATABASE_URL",
                error.kind()
            ),
            sqlx::Error::PoolTimedOut => {
                anyhow!("the database does not answer in time: check DATABASE_URL")
            }
            _ => anyhow!("the database cannot be reached: check DATABASE_URL"),
        })
    }

    /// Stops the embedded PostgreSQL if nobody else uses it.
    ///
    /// # Errors
    /// It does not stop.
    pub async fn close(self) -> anyhow::Result<()> {
        if let Some(embedded) = self.embedded {
            embedded.stop().await?;
        }
        Ok(())
    }
}

/// Looks whether `DATA_DIR` holds an archive, without making anything. With a `DATABASE_URL` only the database can tell.
///
/// # Errors
/// It holds none.
pub fn must_exist(places: &Places) -> anyhow::Result<()> {
    let dir = &places.data_dir;
    ensure!(
        places.database_url.is_some() || Embedded::exists(dir),
        "there is no archive in {}: set DATA_DIR or DATABASE_URL. `serve` makes one",
        std::path::absolute(dir)?.display()
    );
    Ok(())
}

/// `migrate`: brings the database to the schema of this version.
///
/// # Errors
/// The database cannot be used.
pub async fn migrate(places: &Places, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    with(places, Purpose::Change, async |_| {
        say("The database has the schema of this version.");
        Ok(())
    })
    .await
}

/// sqlx logs slow statements at a level of its own.
fn quiet(options: PgConnectOptions) -> PgConnectOptions {
    options.disable_statement_logging()
}

/// The role that the service works as, where the migrations could make it: the ledger can be added to by it and not be
/// changed.
pub const ROLE: &str = "line_chat_archive_app";

/// Gives the role its rights on tables that another role has made since, as far as this one may.
async fn grant(db: &mut PgConnection) -> sqlx::Result<()> {
    // One transaction: there is no moment in which the ledger could be changed.
    sqlx::raw_sql(
        "do $$ begin
             -- Two processes that start at once would change the same rows of the catalog (XX000).
             perform pg_advisory_xact_lock(hashtextextended('line-chat-archive: grant', 0));
             if exists (select from pg_roles where rolname = 'line_chat_archive_app') then
                 grant select, insert, update, delete on all tables in schema public to line_chat_archive_app;
                 grant usage, select on all sequences in schema public to line_chat_archive_app;
                 revoke update, delete on ledger, checkpoint from line_chat_archive_app;
             end if;
         exception when insufficient_privilege then null;
         end $$",
    )
    .execute(db)
    .await
    .map(drop)
}

/// The same database for the service: as the role that cannot change the ledger, where there is one that may be taken.
///
/// # Errors
/// The database cannot be reached.
pub async fn restricted(options: PgConnectOptions) -> sqlx::Result<PgConnectOptions> {
    let mut db = options.connect().await?;
    let may: bool = sqlx::query_scalar(
        "select exists (select from pg_roles where rolname = $1 and pg_has_role(oid, 'member'))",
    )
    .bind(ROLE)
    .fetch_one(&mut db)
    .await?;
    Ok(match may {
        true => options.options([("role", ROLE)]),
        false => options,
    })
}

/// A pool whose connections are never handed out inside somebody else's transaction.
///
/// sqlx 0.8.4 to 0.9.0 returns a connection to its pool inside an open transaction if the future that was beginning
/// it is dropped; what the next borrower writes is then acknowledged and never committed. Handlers that are not dropped
/// are the first guard, this is the second. In a transaction of its own a statement is as old as its transaction.
pub fn pool(options: PgConnectOptions) -> PgPool {
    // A replica that dies inside a transaction must not hold its rows until the network notices.
    let options = options.options([
        ("idle_in_transaction_session_timeout", "10s"),
        ("lock_timeout", "10s"),
        // A key is destroyed right after the commit that has given its documents to another one: that commit has to be
        // on the disk. And who seals has to see what was committed before it took its lock.
        ("synchronous_commit", "on"),
        ("default_transaction_isolation", "read committed"),
    ]);
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .before_acquire(|connection, _| {
            Box::pin(async move {
                let asked = "select now() = statement_timestamp()";
                sqlx::raw_sql(asked).fetch_one(connection).await?.try_get(0)
            })
        })
        .connect_lazy_with(options)
}

#[cfg(test)]
mod tests {
    use sqlx::Executor;

    use super::*;
    use crate::embedded::Scratch;

    #[tokio::test]
    async fn the_role_has_its_rights_whoever_made_a_table_and_none_to_change_the_ledger() {
        let scratch = Scratch::shared().await.expect("a cluster");
        let options = scratch
            .create_database("granted")
            .await
            .expect("a database");
        let mut db = options.connect().await.expect("a connection");
        MIGRATOR.run(&mut db).await.expect("migrations");
        db.execute("revoke all on event from line_chat_archive_app; grant update on ledger to line_chat_archive_app")
            .await
            .expect("other rights");
        grant(&mut db).await.expect("rights");
        let rights: Vec<bool> = sqlx::query_scalar(
            "select has_table_privilege('line_chat_archive_app', t, r)
             from (values ('event', 'delete'), ('ledger', 'insert'), ('ledger', 'update'), ('checkpoint', 'delete')) v (t, r)",
        )
        .fetch_all(&mut db)
        .await
        .expect("an answer");
        assert_eq!(rights, [true, true, false, false]);
    }

    #[tokio::test]
    async fn no_connection_is_handed_out_inside_a_transaction() {
        let scratch = Scratch::shared().await.expect("a cluster");
        let options = scratch.create_database("leaky").await.expect("a database");
        let pool = pool(options);
        let mut leaky = pool.acquire().await.expect("a connection");
        leaky
            .execute("create table kept (n int)")
            .await
            .expect("a table");
        leaky.execute("begin").await.expect("a transaction");
        drop(leaky);
        for n in 0..3 {
            let insert = format!("insert into kept values ({n})");
            pool.execute(sqlx::AssertSqlSafe(insert))
                .await
                .expect("an insert");
        }
        pool.close().await;
        let mut other = scratch_connection(&pool).await;
        let kept: i64 = sqlx::query_scalar("select count(*) from kept")
            .fetch_one(&mut other)
            .await
            .expect("a count");
        assert_eq!(kept, 3, "what was acknowledged is there");
    }

    /// What a web server does to its handlers when clients reset their connections, without the web server.
    #[tokio::test(flavor = "multi_thread")]
    async fn transactions_dropped_while_they_begin_cost_no_acknowledged_row() {
        let scratch = Scratch::shared().await.expect("a cluster");
        let options = scratch
            .create_database("dropped")
            .await
            .expect("a database");
        let pool = pool(options);
        pool.execute("create table kept (n int)")
            .await
            .expect("a table");
        let mut acknowledged = 0_i64;
        for round in 0..200_u64 {
            let dropped: Vec<_> = (0..4)
                .map(|lane| {
                    let pool = pool.clone();
                    let patience = Duration::from_micros((round * 4 + lane) % 97 * 10);
                    tokio::spawn(async move {
                        tokio::time::timeout(patience, pool.begin()).await.is_ok()
                    })
                })
                .collect();
            for begun in dropped {
                begun.await.expect("no panic");
            }
            // The server's queue of connections may be full of those that were dropped.
            acknowledged += loop {
                match pool.execute("insert into kept values (1)").await {
                    Ok(_) => break 1,
                    Err(sqlx::Error::Io(_)) => tokio::task::yield_now().await,
                    Err(_) => break 0,
                }
            };
        }
        pool.close().await;
        let mut other = scratch_connection(&pool).await;
        let kept: i64 = sqlx::query_scalar("select count(*) from kept")
            .fetch_one(&mut other)
            .await
            .expect("a count");
        assert!(acknowledged > 100, "{acknowledged} acknowledged");
        assert_eq!(kept, acknowledged, "what was acknowledged is there");
    }

    async fn scratch_connection(pool: &PgPool) -> PgConnection {
        loop {
            match pool.connect_options().connect().await {
                Err(sqlx::Error::Io(_)) => tokio::task::yield_now().await,
                connected => return connected.expect("a connection"),
            }
        }
    }
}
