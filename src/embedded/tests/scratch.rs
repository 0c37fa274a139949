use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::{Connection, Executor, PgConnection};

use super::{Home, Scratch};

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "not within 20 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Not a test by itself: the next test starts this as a process and kills it.
#[tokio::test]
async fn scratch_owner() {
    let Some(ready) = std::env::var_os("SCRATCH_OWNER_READY") else {
        return;
    };
    let scratch = Scratch::shared().await.unwrap();
    let socket = scratch
        .create_database("x")
        .await
        .unwrap()
        .get_socket()
        .unwrap()
        .clone();
    let ready = PathBuf::from(ready);
    fs::write(ready.with_extension("part"), socket.to_str().unwrap()).unwrap();
    fs::rename(ready.with_extension("part"), ready).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_scratch_cluster_goes_with_its_process_even_when_that_is_killed() {
    let home = Home::new();
    let ready = home.dir.path().join("ready");
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "embedded::tests::scratch::scratch_owner",
            "--nocapture",
        ])
        .env("SCRATCH_OWNER_READY", &ready)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the other process has its cluster", || ready.exists()).await;
    let base = PathBuf::from(fs::read_to_string(&ready).unwrap());
    let pid = fs::read_to_string(base.join("data/postmaster.pid")).unwrap();
    let server = PathBuf::from(format!("/proc/{}/cwd", pid.lines().next().unwrap()));
    assert!(fs::read_link(&server).is_ok());

    owner.kill().unwrap();
    owner.wait().unwrap();
    until("server and files are gone", || {
        !base.exists() && fs::read_link(&server).is_err()
    })
    .await;
}

#[tokio::test]
async fn copies_of_a_template_are_apart() {
    let scratch = Scratch::start(&|_| {}).await.unwrap();
    let template = scratch.create_database("template").await.unwrap();
    let mut connection = PgConnection::connect_with(&template).await.unwrap();
    connection
        .execute("create table t as select 1 as n")
        .await
        .unwrap();
    connection.close().await.unwrap();
    let start = Instant::now();
    let (one, other) = (
        scratch.create_database_from("template").await.unwrap(),
        scratch.create_database_from("template").await.unwrap(),
    );
    eprintln!("a copy: {:?}", start.elapsed() / 2);
    PgConnection::connect_with(&one)
        .await
        .unwrap()
        .execute("delete from t")
        .await
        .unwrap();
    let mut connection = PgConnection::connect_with(&other).await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from t")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 1);
}
