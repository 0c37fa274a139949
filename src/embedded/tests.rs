//! Tests of the embedded PostgreSQL with a real server. As root (a container, CI) they test the drop to an unprivileged
//! account too.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Instant,
};

use rustix::process::{Pid, Signal};
use sqlx::{Connection, Executor, PgConnection};

use super::{owner::Owner, *};

mod accounts;
mod hostile;
mod scratch;

/// True if this process is root; else it prints that the test was skipped.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: there is no other account to become, so this was not tested");
    }
    root
}

/// A data directory for one test, in a directory that every account may enter. Its server is stopped at the end.
struct Home {
    dir: tempfile::TempDir,
    said: Mutex<Vec<String>>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        Self {
            dir,
            said: Mutex::default(),
        }
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn elsewhere(&self) -> PathBuf {
        self.dir.path().join("elsewhere")
    }

    async fn start_in(&self, data_dir: &Path) -> Result<Embedded, EmbeddedError> {
        let say = |line: &str| {
            eprintln!("{line}");
            self.said.lock().unwrap().push(line.to_owned());
        };
        Embedded::start_with(data_dir, &self.elsewhere(), None, &say).await
    }

    async fn start(&self) -> Embedded {
        self.start_in(&self.data_dir()).await.unwrap()
    }

    fn postmaster(&self) -> String {
        fs::read_to_string(self.data_dir().join("postgres/data/postmaster.pid"))
            .map(|file| file.lines().next().unwrap().to_owned())
            .unwrap_or_default()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let pid = self.postmaster();
        if !pid.is_empty() {
            kill(&pid, Signal::QUIT);
        }
    }
}

fn kill(pid: &str, signal: Signal) {
    let pid = pid.parse().ok().and_then(Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, signal).ok();
}

async fn scalar<T>(embedded: &Embedded, sql: &'static str) -> T
where
    T: Send + Unpin + sqlx::Type<sqlx::Postgres> + for<'r> sqlx::Decode<'r, sqlx::Postgres>,
{
    let mut connection = PgConnection::connect_with(&embedded.connect_options(DATABASE))
        .await
        .unwrap();
    sqlx::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_after_a_stop_and_a_start() {
    let home = Home::new();
    let start = Instant::now();
    let embedded = home.start().await;
    eprintln!("fresh start: {:?}", start.elapsed());
    scalar::<i64>(&embedded, "with t as (select 1) select count(*) from t").await;
    let mut connection = PgConnection::connect_with(&embedded.connect_options(DATABASE))
        .await
        .unwrap();
    connection
        .execute("create table kept as select 'คุณ さん' as text")
        .await
        .unwrap();
    connection.close().await.unwrap();
    embedded.stop().await.unwrap();
    assert_eq!(home.postmaster(), "", "stopped");

    let start = Instant::now();
    let embedded = home.start().await;
    eprintln!("second start: {:?}", start.elapsed());
    assert_eq!(
        scalar::<String>(&embedded, "select text from kept").await,
        "คุณ さん"
    );
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_is_durable_forgetful_and_closed_to_others() {
    let home = Home::new();
    let embedded = home.start().await;
    for (setting, value) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("lc_collate", "C.UTF-8"),
        ("listen_addresses", ""),
        ("log_error_verbosity", "terse"),
        ("log_min_error_statement", "panic"),
        ("log_parameter_max_length", "0"),
        ("log_parameter_max_length_on_error", "0"),
        ("log_statement", "none"),
        ("wal_recycle", "off"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("jit", "off"),
    ] {
        let sql = "select coalesce(current_setting($1, true), (select datcollate from pg_database where datname = current_database()))";
        let mut connection = PgConnection::connect_with(&embedded.connect_options(DATABASE))
            .await
            .unwrap();
        let is: String = sqlx::query_scalar(sql)
            .bind(setting)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(is, value, "{setting}");
    }
    let base = fs::metadata(home.data_dir().join("postgres")).unwrap();
    assert_eq!(base.mode() & 0o777, 0o700);
    let server = fs::metadata(format!("/proc/{}", home.postmaster())).unwrap();
    assert_ne!(server.uid(), 0, "never as root");
    assert_eq!(base.uid(), server.uid());
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn whoever_comes_second_joins_and_the_last_one_out_stops_the_server() {
    let home = Home::new();
    // A command starts the server, a serve joins it, and the command ends: serve keeps the server.
    let command = home.start().await;
    let started = home.postmaster();
    let start = Instant::now();
    let serve = home.start().await;
    eprintln!("adoption: {:?}", start.elapsed());
    command.stop().await.unwrap();
    assert_eq!(scalar::<i32>(&serve, "select 1").await, 1);
    assert_eq!(home.postmaster(), started);
    serve.stop().await.unwrap();
    assert_eq!(home.postmaster(), "", "nobody is left");
}

#[tokio::test]
async fn a_server_left_running_by_a_crash_is_adopted() {
    let home = Home::new();
    let crashed = home.start().await;
    let started = home.postmaster();
    drop(crashed);
    let embedded = home.start().await;
    assert_eq!(home.postmaster(), started);
    assert_eq!(scalar::<i32>(&embedded, "select 1").await, 1);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn two_at_once_make_one_database() {
    let home = Home::new();
    let (one, other) = tokio::join!(home.start(), home.start());
    assert_eq!(scalar::<i32>(&one, "select 1").await, 1);
    one.stop().await.unwrap();
    other.stop().await.unwrap();
}

#[tokio::test]
async fn after_the_server_was_killed_what_was_committed_is_there() {
    let home = Home::new();
    let embedded = home.start().await;
    let mut connection = PgConnection::connect_with(&embedded.connect_options(DATABASE))
        .await
        .unwrap();
    connection
        .execute("create table kept as select 7 as n")
        .await
        .unwrap();
    let killed = home.postmaster();
    kill(&killed, Signal::KILL);
    drop(embedded);

    let start = Instant::now();
    let embedded = home.start().await;
    eprintln!("start after kill -9: {:?}", start.elapsed());
    assert_ne!(home.postmaster(), killed);
    assert_eq!(scalar::<i32>(&embedded, "select n from kept").await, 7);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_pid_file_whose_process_is_somebody_else_by_now_is_no_server() {
    let home = Home::new();
    home.start().await.stop().await.unwrap();
    let base = home.data_dir().join("postgres");
    // A process of the server's own user, as after a restart of a container.
    let owner = fs::metadata(&base).unwrap().uid();
    let mut other = Owner::existing(&base, owner, &[])
        .unwrap()
        .command("/bin/sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let pid_file = base.join("data/postmaster.pid");
    fs::write(
        &pid_file,
        format!("{}\n{}\n", other.id().unwrap(), base.join("data").display()),
    )
    .unwrap();

    let embedded = home.start().await;
    assert_eq!(scalar::<i32>(&embedded, "select 1").await, 1);
    embedded.stop().await.unwrap();
    other.kill().await.unwrap();
}

#[tokio::test]
async fn a_data_directory_the_server_may_not_enter_gets_its_database_elsewhere_and_keeps_it() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let closed = home.dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let data_dir = closed.join("data");

    let embedded = home.start_in(&data_dir).await.unwrap();
    let base = data_dir.join("postgres").canonicalize().unwrap();
    assert!(
        base.starts_with(home.elsewhere().canonicalize().unwrap()),
        "{base:?}"
    );
    let said = home.said.lock().unwrap().join("\n");
    assert!(
        said.contains(base.to_str().unwrap()),
        "it says where: {said}"
    );
    embedded.stop().await.unwrap();

    // If the link is lost, the same path leads to the same database. If the directory is opened to others, it still
    // does.
    fs::remove_file(data_dir.join("postgres")).unwrap();
    home.start_in(&data_dir)
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    assert_eq!(data_dir.join("postgres").canonicalize().unwrap(), base);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    home.start_in(&data_dir)
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    assert_eq!(data_dir.join("postgres").canonicalize().unwrap(), base);
}

#[tokio::test]
async fn a_long_path_and_a_path_with_spaces_work() {
    let home = Home::new();
    let data_dir = home
        .data_dir()
        .join("a directory with spaces, 日本語")
        .join("x".repeat(120));
    let embedded = home.start_in(&data_dir).await.unwrap();
    assert_eq!(scalar::<i32>(&embedded, "select 1").await, 1);
    let socket = embedded
        .connect_options(DATABASE)
        .get_socket()
        .unwrap()
        .clone();
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o700);
    embedded.stop().await.unwrap();
    assert!(!socket.exists(), "nothing of it is left");
}

#[tokio::test]
async fn a_path_that_a_shell_would_read_is_refused() {
    let home = Home::new();
    let refused = home
        .start_in(&home.data_dir().join("$(id)"))
        .await
        .unwrap_err();
    assert!(matches!(refused, EmbeddedError::OddPath(_)), "{refused}");
}

#[tokio::test]
async fn a_database_of_another_version_is_left_alone() {
    let home = Home::new();
    home.start().await.stop().await.unwrap();
    let data = home.data_dir().join("postgres/data");
    let version = fs::read(data.join("PG_VERSION")).unwrap();
    fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    let refused = home.start_in(&home.data_dir()).await.unwrap_err();
    assert!(
        refused.to_string().contains("made by PostgreSQL 9"),
        "{refused}"
    );

    // The refused start has changed nothing in the database.
    fs::write(data.join("PG_VERSION"), version).unwrap();
    home.start().await.stop().await.unwrap();
}

#[test]
fn a_second_serve_is_refused_and_told_of_the_first() {
    let home = Home::new();
    DataDirLock::check_free(&home.data_dir()).unwrap();
    assert!(!home.data_dir().join("serve.lock").exists());
    let first = DataDirLock::take(&home.data_dir()).unwrap();
    for refused in [
        DataDirLock::take(&home.data_dir()).unwrap_err(),
        DataDirLock::check_free(&home.data_dir()).unwrap_err(),
    ] {
        let refused = refused.to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
    }
    drop(first);
    DataDirLock::check_free(&home.data_dir()).unwrap();
    DataDirLock::take(&home.data_dir()).unwrap();
}

/// A service that is killed in its first second leaves an `initdb` that goes on writing.
#[tokio::test]
async fn an_initdb_that_outlived_its_service_does_not_stop_the_next_start() {
    let home = Home::new();
    home.start().await.stop().await.unwrap();
    let base = home.data_dir().join("postgres");
    fs::rename(base.join("data"), base.join("data.real")).unwrap();
    let ends = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (unfinished, stop) = (base.join("data.unfinished"), std::sync::Arc::clone(&ends));
    let orphan = std::thread::spawn(move || {
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = fs::create_dir_all(&unfinished);
            let _ = fs::write(unfinished.join("PG_VERSION"), "18");
        }
    });
    let started = home.start_in(&home.data_dir()).await;
    ends.store(true, std::sync::atomic::Ordering::Relaxed);
    orphan.join().unwrap();
    started.unwrap().stop().await.unwrap();
    let _ = fs::remove_dir_all(base.join("data.unfinished"));
    let left = fs::read_dir(&base)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left
        .filter(|name| name.to_string_lossy().contains("unfinished"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
