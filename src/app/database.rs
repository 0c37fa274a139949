//! The database that a command works on: the one of `DATABASE_URL`, or the embedded PostgreSQL in the data directory.

use std::{convert::Infallible, time::Duration};

use anyhow::{Context, anyhow, ensure};
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::{sleep, timeout};

use super::{database_url, privileges, signals::shutdown_signal, starting::step};
use crate::{
    MIGRATOR,
    config::StorageConfig,
    embedded::{Embedded, EmbeddedError},
    watchdog::progress,
};

/// How long a command waits for its one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is asked during a migration whether the server answers.
const ANSWER_INTERVAL: Duration = Duration::from_secs(10);

/// The archive's database, and the embedded server if this process uses it.
pub struct Database {
    /// How to connect to it.
    pub options: PgConnectOptions,
    embedded: Option<Embedded>,
    /// Where it is, for messages.
    place: String,
}

/// Whether a command makes, migrates or only reads the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Makes a missing archive, and migrates it to the schema of this version: for `serve` only.
    Make,
    /// Migrates the archive to the schema of this version.
    Change,
    /// Changes nothing.
    Look,
}

/// Runs `work` on the archive's database. Afterwards it stops the embedded PostgreSQL if no other process uses it, also
/// if `work` fails or a signal ends the process meanwhile.
///
/// # Errors
/// There is no archive, it cannot be reached, it is of a newer version than this program, `work` failed, or a signal
/// came before it was done.
pub async fn with<T>(
    storage: &StorageConfig,
    purpose: Purpose,
    work: impl AsyncFnOnce(&Database) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let told = shutdown_signal()?;
    let database = Database::find(storage, purpose).await?;
    let done = tokio::select! {
        done = async {
            database.prepare(purpose).await?;
            work(&database).await
        } => done,
        () = told => Err(anyhow!("stopped by a signal before it was done")),
    };
    let closed = database.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

impl Database {
    /// Finds the database, and starts the embedded PostgreSQL if no other is configured. When PostgreSQL runs, it gives
    /// up root ([`privileges::give_up_root`]).
    ///
    /// # Errors
    /// There is no archive and `purpose` is not [`Purpose::Make`], the embedded PostgreSQL cannot be started, or root
    /// cannot be given up.
    pub async fn find(storage: &StorageConfig, purpose: Purpose) -> anyhow::Result<Self> {
        if purpose != Purpose::Make {
            must_exist(storage)?;
        }
        let say = |line: &str| tracing::info!("{line}");
        let (options, embedded) = match &storage.database_url {
            Some(url) => (database_url::parse(url.expose_secret())?, None),
            None => {
                let embedded = match &storage.service {
                    Some(service) => Embedded::start_for(&storage.data_dir, service, &say).await,
                    None => Embedded::start(&storage.data_dir, &say).await,
                };
                let embedded = embedded.map_err(|error| match error {
                    // The error itself does not mention DATABASE_URL, because `demo` has the same error and cannot use
                    // it.
                    EmbeddedError::NoServer { .. } => {
                        anyhow!("{error}, or DATABASE_URL to a PostgreSQL of your own")
                    }
                    error => error.into(),
                })?;
                privileges::warn_of_shared_account(storage, embedded.account());
                (embedded.connect_options("archive"), Some(embedded))
            }
        };
        let data = std::path::absolute(&storage.data_dir);
        let data = data.unwrap_or_else(|_| storage.data_dir.clone());
        let place = match &embedded {
            Some(_) => data.display().to_string(),
            None => "the database of DATABASE_URL".to_owned(),
        };
        let database = Self {
            options: quiet(options),
            embedded,
            place,
        };
        if let Err(error) = privileges::give_up_root(storage) {
            database.close().await?;
            return Err(error);
        }
        Ok(database)
    }

    /// Migrates the database, unless `purpose` is [`Purpose::Look`].
    ///
    /// # Errors
    /// The database cannot be reached, is of a newer version than this program, or holds no archive and `purpose` is
    /// not [`Purpose::Make`].
    pub async fn prepare(&self, purpose: Purpose) -> anyhow::Result<()> {
        let mut db = self.connect().await?;
        if purpose != Purpose::Make {
            let there: bool =
                sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
                    .fetch_one(&mut db)
                    .await?;
            ensure!(
                there,
                "there is no archive in {}: `serve` makes one",
                self.place
            );
        }
        if purpose == Purpose::Look {
            return Ok(());
        }
        // A request for a lock that waits lets nobody else at the table: it must not wait for a backup.
        sqlx::raw_sql("set lock_timeout = '60s'")
            .execute(&mut db)
            .await?;
        step("the migration of the database");
        // It may take hours. While the server answers on another connection, it goes on; waits for locks have their limit.
        tokio::select! {
            migrated = MIGRATOR.run(&mut db) => migrated.context("the database could not be migrated")?,
            never = self.note_answers() => match never {},
        }
        grant(&mut db)
            .await
            .context("the service's role could not be given its rights")
    }

    /// Notes progress as long as the server answers.
    async fn note_answers(&self) -> Infallible {
        loop {
            sleep(ANSWER_INTERVAL).await;
            if let Ok(mut db) = self.connect().await
                && db.ping().await.is_ok()
            {
                progress();
            }
        }
    }

    /// Opens one connection, for a command that needs only one.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn connect(&self) -> anyhow::Result<PgConnection> {
        let connected = timeout(CONNECT_TIMEOUT, self.options.connect()).await;
        let connected = connected.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut));
        connected.map_err(|error| anyhow!(database_url::unreachable_message(&error)))
    }

    /// Starts the embedded PostgreSQL again whenever it has died. Never returns; it can be dropped at any time.
    pub async fn keep_running(&mut self) {
        match &mut self.embedded {
            Some(embedded) => embedded.keep_running().await,
            None => std::future::pending().await,
        }
    }

    /// Stops the embedded PostgreSQL if no other process uses it.
    ///
    /// # Errors
    /// PostgreSQL cannot be stopped.
    pub async fn close(self) -> anyhow::Result<()> {
        if let Some(embedded) = self.embedded {
            embedded.stop().await?;
        }
        Ok(())
    }
}

/// Checks that `DATA_DIR` holds an archive, and makes nothing. With a `DATABASE_URL` it checks nothing: only the
/// database can tell.
///
/// # Errors
/// `DATA_DIR` holds no archive.
pub fn must_exist(storage: &StorageConfig) -> anyhow::Result<()> {
    let dir = &storage.data_dir;
    ensure!(
        storage.database_url.is_some() || Embedded::exists(dir),
        "there is no archive in {}: set DATA_DIR or DATABASE_URL. `serve` makes one",
        std::path::absolute(dir)?.display()
    );
    Ok(())
}

/// `migrate`: migrates the database to the schema of this version.
///
/// # Errors
/// The database cannot be used.
pub async fn migrate(storage: &StorageConfig, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    with(storage, Purpose::Change, async |_| {
        say("The database has the schema of this version.");
        Ok(())
    })
    .await
}

/// Switches off the logging of statements: sqlx logs slow ones at a level of its own.
fn quiet(options: PgConnectOptions) -> PgConnectOptions {
    options.disable_statement_logging()
}

/// The role that the service works as, if the migrations could make it. It can insert into the ledger, but not change
/// it.
pub const ROLE: &str = "line_chat_archive_app";

/// Grants [`ROLE`] its rights on tables that another role has made since, as far as the current role may do this.
async fn grant(db: &mut PgConnection) -> sqlx::Result<()> {
    // One transaction, so that there is no moment in which the role could change the ledger.
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

/// Options for the service: they switch to [`ROLE`], which cannot change the ledger, if that role exists and the
/// current role is a member of it.
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
}
