//! Attacks on a start by root: by the service's account, by its role, and by PostgreSQL's account.

use std::{fs, os::unix::net::UnixListener, time::Duration};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgConnectOptions};

use super::{Account, Home, Users, is_root};
use crate::embedded::{
    DATABASE, DataDir, EmbeddedError,
    cluster::{Cluster, Durability},
    place,
};

/// Makes the cluster of a data directory, and does not start it.
async fn cluster(home: &Home, service: Option<&Account>) -> Cluster {
    let data = DataDir::open(&home.data_dir()).unwrap();
    let base = place::base(&data, &home.elsewhere(), service, &|_| {}).unwrap();
    Cluster::open(base, service, Durability::None, &|_| {})
        .await
        .unwrap()
}

async fn run(options: &PgConnectOptions, sql: &str) -> PgConnection {
    let mut connection = PgConnection::connect_with(options).await.unwrap();
    let done = connection.execute(AssertSqlSafe(sql.to_owned())).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection
}

/// The service's account owns `DATA_DIR`, and replaces PostgreSQL's directory by another one after root has opened it.
#[tokio::test]
async fn postgresql_uses_the_directory_that_root_opened_even_if_another_one_replaces_it() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let service = Account::named("nobody").unwrap();
    let cluster = cluster(&home, Some(&service)).await;
    let base = home.data_dir().join("postgres");
    let moved = home.data_dir().join("moved");
    fs::rename(&base, &moved).unwrap();
    for name in ["", "data", "log"] {
        let dir = base.join(name);
        fs::create_dir(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(service.uid()), Some(service.gid())).unwrap();
    }
    // Settings that the service's account has written for PostgreSQL's server.
    let settings = format!(
        "data_directory = '{0}/data'\nunix_socket_directories = '{0}'\nlisten_addresses = ''\n\
         cluster_name = 'of the service'\n",
        moved.display()
    );
    fs::write(base.join("data/postgresql.conf"), settings).unwrap();
    for name in ["pg_hba.conf", "pg_ident.conf"] {
        fs::copy(moved.join("data").join(name), base.join("data").join(name)).unwrap();
    }

    cluster.start(true, &|_| {}).await.unwrap();
    let pid = fs::read_to_string(moved.join("data/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap();
    let works_in = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(works_in, moved.join("data").canonicalize().unwrap());
    let title = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!title.contains("of the service"), "{title}");
    assert!(moved.join(".s.PGSQL.5432").exists());
    assert!(moved.join("log/start.log").exists());
    let logs = fs::read_dir(moved.join("log")).unwrap().count();
    assert!(logs > 1, "the server's own log is there");
    for empty in ["", "log"] {
        for entry in fs::read_dir(base.join(empty)).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(["data", "log"].iter().any(|ours| name == *ours), "{name:?}");
        }
    }
    cluster.stop().await.unwrap();
    assert!(!moved.join("data/postmaster.pid").exists());
}

#[tokio::test]
async fn settings_of_the_services_role_lock_nobody_out_after_the_next_start() {
    let home = Home::new();
    for sql in [
        "alter database archive set statement_timeout = 1",
        "alter database archive set default_transaction_read_only = on",
        "alter database archive set role = 'line_chat_archive_app'",
        "alter role line_chat_archive set statement_timeout = 1",
        "alter role line_chat_archive set role = 'line_chat_archive_app'",
        "alter role line_chat_archive in database archive set default_transaction_read_only = on",
        "alter database archive connection limit 0",
    ] {
        let embedded = home.start().await;
        let options = embedded.connect_options(DATABASE);
        run(&options, sql).await;
        embedded.stop().await.unwrap();
        let embedded = home.start().await;
        let options = embedded.connect_options(DATABASE);
        let change = "create table t (n int); drop table t; select pg_sleep(0.01)";
        run(&options, change).await.close().await.unwrap();
        embedded.stop().await.unwrap();
    }
}

#[tokio::test]
async fn the_services_role_reaches_no_database_that_the_superuser_works_in() {
    let home = Home::new();
    let embedded = home.start().await;
    for database in ["postgres", "template1"] {
        let options = embedded.connect_options(database);
        let refused = PgConnection::connect_with(&options).await.unwrap_err();
        let refused = refused.into_database_error().unwrap();
        assert_eq!(refused.code().unwrap(), "28000", "{database}");
    }
    embedded.stop().await.unwrap();
}

/// The service's role holds a lock for ever.
#[tokio::test]
async fn a_transaction_of_the_services_role_keeps_no_start_waiting() {
    let home = Home::new();
    let embedded = home.start().await;
    let options = embedded.connect_options(DATABASE);
    let holder = run(
        &options,
        "set idle_in_transaction_session_timeout = 0; begin;
         alter default privileges in schema public grant references on tables to line_chat_archive_app;
         alter default privileges in schema public grant select on tables to line_chat_archive_app",
    )
    .await;
    let data_dir = home.data_dir();
    let start = home.start_in(&data_dir);
    let started = tokio::time::timeout(Duration::from_secs(30), start).await;
    let refused = started.expect("it does not wait for ever").unwrap_err();
    assert!(refused.to_string().contains("55P03"), "{refused}");
    drop(holder);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_on_the_socket_ends_in_a_timeout() {
    let home = Home::new();
    let mut cluster = cluster(&home, None).await;
    cluster.answer_timeout = Duration::from_millis(100);
    let _mute = UnixListener::bind(home.data_dir().join("postgres/.s.PGSQL.5432")).unwrap();
    for asked in [
        cluster.make_roles().await,
        cluster.make_database(DATABASE).await,
        cluster.reload().await,
    ] {
        let refused = asked.unwrap_err();
        assert!(matches!(refused, EmbeddedError::Refused(_)), "{refused}");
        assert!(refused.to_string().contains("no answer in time"));
    }
}

#[tokio::test]
async fn an_exclusive_lock_on_the_users_file_ends_the_start_after_the_timeout() {
    let home = Home::new();
    let data = DataDir::open(&home.data_dir()).unwrap();
    let other = data.lock_file("postgres-users.lock").unwrap();
    other.lock().unwrap();
    let users = Users::open(&data).unwrap();
    let refused = users.enter(Duration::from_millis(100)).await.unwrap_err();
    assert!(
        refused.to_string().contains("end that process"),
        "{refused}"
    );
    // A lock that is held for a moment only is waited for.
    let entered = tokio::join!(users.enter(Duration::from_secs(20)), async {
        other.unlock().unwrap();
    });
    entered.0.unwrap();
}
