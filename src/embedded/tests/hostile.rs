//! The service's account, its role, or PostgreSQL's account, against a start of root's.

use std::fs;

use super::{Account, Home, is_root};
use crate::embedded::{
    DataDir,
    cluster::{Cluster, Durability},
    place,
};

/// The cluster of a data directory, made and not started.
async fn cluster(home: &Home, service: Option<&Account>) -> Cluster {
    let data = DataDir::open(&home.data_dir()).unwrap();
    let base = place::base(&data, &home.elsewhere(), service, &|_| {}).unwrap();
    Cluster::open(base, service, Durability::None, &|_| {})
        .await
        .unwrap()
}

/// The service's account owns `DATA_DIR`, and puts another directory in the place of PostgreSQL's after root has opened it.
#[tokio::test]
async fn postgresql_works_on_the_directory_that_root_has_opened_whatever_has_its_name() {
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
    // Settings of the service's account, for the server of PostgreSQL's.
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
