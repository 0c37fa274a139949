//! Pools of connections to the database.

use std::time::Duration;

use sqlx::{
    Connection, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use crate::watchdog;

/// How long a request waits for a connection before it is answered with an error page.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may take to answer before it is handed out. A silent one is closed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a connection may take to finish what its borrower has left. Then it is closed.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after a stall connections are tested when they come back.
const SUSPICION: Duration = Duration::from_secs(60);

/// Options of each connection.
const OPTIONS: [(&str, &str); 9] = [
    // If a replica dies inside a transaction, its row locks must not last until the network notices.
    ("idle_in_transaction_session_timeout", "10s"),
    ("lock_timeout", "10s"),
    // The server ends its side of a connection whose host has vanished, and a query whose client has gone.
    ("tcp_keepalives_idle", "30s"),
    ("tcp_keepalives_interval", "10s"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "30s"),
    ("client_connection_check_interval", "2s"),
    // A key is destroyed right after the commit that has moved its documents to another key: that commit has to be
    // on disk. And a process that seals has to see everything that was committed before it took its lock.
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
];

/// A pool of at most `connections` connections. It never hands out one inside the open transaction of an earlier borrower, and a
/// silent connection frees its place.
///
/// sqlx 0.8.4 to 0.9.0 returns a connection to its pool inside an open transaction if the future that was beginning the
/// transaction is dropped. The writes of the next borrower are then acknowledged and never committed. The first guard
/// is that handlers are not dropped; this is the second. It compares the start of the statement with the start of its
/// transaction: outside of an open transaction they are equal.
///
/// A connection whose borrower was dropped in the middle of a query is read to the end of that query before the pool gets it
/// back. Without a limit a silent connection would keep its place for ever (sqlx issue 4349).
pub fn open(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // `before_acquire` tests the connection too, and not without a limit.
        .test_before_acquire(false)
        .after_connect(|_, _| {
            watchdog::progress();
            Box::pin(async { Ok(()) })
        })
        .before_acquire(|connection, _| {
            Box::pin(async move {
                let usable = in_time(ANSWER_TIMEOUT, is_outside_transaction(connection)).await;
                watchdog::progress();
                usable
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // Only then: while it is tested, the next borrower would open another connection.
                if watchdog::has_stalled_within(SUSPICION) {
                    in_time(RELEASE_TIMEOUT, connection.ping()).await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options.options(OPTIONS))
}

async fn in_time<T>(
    limit: Duration,
    asked: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    timeout(limit, asked)
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

async fn is_outside_transaction(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let asked = "select now() = statement_timestamp()";
    sqlx::raw_sql(asked).fetch_one(connection).await?.try_get(0)
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions, Executor};

    use super::*;
    use crate::embedded::Scratch;

    #[tokio::test]
    async fn no_connection_is_handed_out_inside_a_transaction() {
        let scratch = Scratch::shared().await.expect("a cluster");
        let options = scratch.create_database("leaky").await.expect("a database");
        let pool = open(options, 16);
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

    /// Does to transactions, without a web server, what a web server does to its handlers when clients reset
    /// connections.
    #[tokio::test(flavor = "multi_thread")]
    async fn transactions_dropped_while_they_begin_cost_no_acknowledged_row() {
        let scratch = Scratch::shared().await.expect("a cluster");
        let options = scratch
            .create_database("dropped")
            .await
            .expect("a database");
        let pool = open(options, 16);
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
            // PostgreSQL's queue of new connections may be full of dropped ones.
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
