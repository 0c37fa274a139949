//! The S3 server of the tests ends with their process.

use std::{
    env, fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::seaweed::Server;

/// Not a test on its own: the next test runs and kills it as a process.
#[tokio::test]
async fn server_owner() {
    let Some(ready) = env::var_os("SERVER_OWNER_READY").map(PathBuf::from) else {
        return;
    };
    let server = Server::shared().await;
    let said = format!("{}\n{}", server.endpoint, server.dir.display());
    fs::write(ready.with_extension("part"), said).unwrap();
    fs::rename(ready.with_extension("part"), ready).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn the_server_goes_with_its_process_even_when_that_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let ready = home.path().join("ready");
    let mut owner = Command::new(env::current_exe().unwrap())
        .args(["--exact", "leftover::server_owner", "--nocapture"])
        .env("SERVER_OWNER_READY", &ready)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let patience = async |done: &dyn Fn() -> bool| {
        while !done() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "not within a minute"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    patience(&|| ready.exists()).await;
    let said = fs::read_to_string(&ready).unwrap();
    let (endpoint, dir) = said.split_once('\n').unwrap();
    let address = endpoint.strip_prefix("http://").unwrap();
    assert!(TcpStream::connect(address).is_ok());

    owner.kill().unwrap();
    owner.wait().unwrap();
    patience(&|| !Path::new(dir).exists() && TcpStream::connect(address).is_err()).await;
}
