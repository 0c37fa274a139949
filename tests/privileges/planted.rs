//! An attacker with PostgreSQL's account or the service's account plants links and FIFOs in paths that root uses.

use std::time::Duration;

use crate::process::{Ended, Home, account, is_root, snapshot};

/// A command that meets a planted file ends within this time, whether it succeeds or fails.
const SECONDS: Duration = Duration::from_secs(15);

/// Each plant in the directory of PostgreSQL's account: its name, the planting script, the removing script.
fn in_its_own_directory() -> Vec<(String, String, String)> {
    let mut plants = vec![];
    let mut replace = |name: &str, by: &str| {
        plants.push((
            format!("{name}: {by}"),
            format!("[ ! -e {name} ] || mv {name} {name}.real; {by} {name}"),
            format!("rm -rf {name}; [ ! -e {name}.real ] || mv {name}.real {name}"),
        ));
    };
    for directory in ["log", "data", "data.unfinished"] {
        replace(directory, "ln -s $T");
        replace(directory, "ln -s $T/directory");
    }
    for file in [
        "data/archive.conf",
        "data/archive.conf.new",
        "data/pg_hba.conf",
        "data/pg_ident.conf",
        "data/postgresql.conf",
        "data/postmaster.pid",
        "data/PG_VERSION",
        "log/start.log",
        "turn.lock",
        "users.lock",
        ".s.PGSQL.5432",
        ".s.PGSQL.5432.lock",
    ] {
        replace(file, "ln -s $T/closed");
        replace(file, "ln -s $T/new");
    }
    for file in [
        "data/postmaster.pid",
        "data/PG_VERSION",
        "data/archive.conf",
        "data/pg_ident.conf",
        "data/postgresql.conf",
        "data/postgresql.auto.conf",
        "log/start.log",
        "turn.lock",
        ".s.PGSQL.5432",
        ".s.PGSQL.5432.lock",
    ] {
        replace(file, "mkfifo");
    }
    for file in [
        "data/archive.conf",
        "data/archive.conf.new",
        "log/start.log",
    ] {
        replace(file, "mkdir");
    }
    // The database is missing, and the directory that has to be removed to make it again contains a link.
    plants.push((
        "data gone, data.unfinished a directory of links".to_owned(),
        "mv data data.real; mkdir data.unfinished; ln -s $T data.unfinished/base".to_owned(),
        "rm -rf data data.unfinished; mv data.real data".to_owned(),
    ));
    plants
}

/// Each plant of the service's account in the data directory: name, planting script, removing script.
fn in_the_data_directory() -> Vec<(String, String, String)> {
    let mut plants = vec![];
    let mut replace = |name: &str, by: &str| {
        plants.push((
            format!("{name}: {by}"),
            format!("[ ! -e {name} ] || mv {name} {name}.real; {by} {name}"),
            format!("rm -rf {name}; [ ! -e {name}.real ] || mv {name}.real {name}"),
        ));
    };
    for name in ["postgres", "keyring", "objects"] {
        replace(name, "ln -s $T");
        replace(name, "ln -s $T/directory");
    }
    for name in [
        "postgres-turn.lock",
        "postgres-users.lock",
        "serve.lock",
        "secret.key",
    ] {
        replace(name, "ln -s $T/closed");
        replace(name, "ln -s $T/new");
        replace(name, "mkfifo");
    }
    plants
}

/// Plants each one, runs the commands, and checks that no file of root's has changed.
fn try_each(
    home: &Home,
    who: &str,
    plants: Vec<(String, String, String)>,
    commands: &[&dyn Fn() -> Ended],
) {
    let before = snapshot(&home.treasure());
    let dir = match who {
        "postgres" => "cd postgres",
        _ => ":",
    };
    for (what, plant, undo) in plants {
        home.script(who, &format!("{dir}; {plant}"));
        for command in commands {
            let ended = command();
            eprintln!("{what}: {} in {:?}", ended.success, ended.took);
            assert_eq!(snapshot(&home.treasure()), before, "{what}: {}", ended.said);
            assert!(
                ended.took < SECONDS,
                "{what}: {:?} {}",
                ended.took,
                ended.said
            );
            assert!(
                ended.success || ended.said.contains("ERROR"),
                "{what}: it says why: {}",
                ended.said
            );
            assert!(!ended.said.contains("root's"), "{what}: {}", ended.said);
        }
        home.script(who, &format!("{dir}; {undo}"));
    }
    let ended = home.run(&["operator", "list"]);
    assert!(ended.success, "it still works: {}", ended.said);
}

#[test]
fn postgresqls_account_cannot_lead_root_out_of_its_directory() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let ended = home.make(&[]);
    assert!(ended.success, "{}", ended.said);
    let plants = in_its_own_directory();
    try_each(&home, "postgres", plants, &[&|| home.make(&[])]);
}

#[test]
fn the_services_account_cannot_lead_root_out_of_the_data_directory() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let ended = home.make(&[]);
    assert!(ended.success, "{}", ended.said);
    let plants = in_the_data_directory();
    // `serve` on an address that it cannot use: it takes its lock and ends.
    let no_port = || home.run(&["serve", "--listen", "192.0.2.1:1"]);
    try_each(&home, "nobody", plants, &[&|| home.make(&[]), &no_port]);
}

#[test]
fn root_runs_postgresql_as_no_account_that_a_directory_happens_to_have() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    assert!(home.make(&[]).success);
    let daemon = account("daemon");
    let base = home.data().join("postgres");
    std::os::unix::fs::chown(base, Some(daemon.uid()), Some(daemon.gid())).unwrap();
    let ended = home.run(&["operator", "list"]);
    assert!(!ended.success);
    assert!(
        ended.said.contains("may run PostgreSQL as"),
        "{}",
        ended.said
    );
}

#[test]
fn an_export_gives_away_nothing_that_a_link_leads_to() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    assert!(home.make(&[]).success);
    // An empty directory of root's; in the data directory, the service's account links to it and to its parent.
    std::fs::create_dir_all(home.treasure().join("empty")).unwrap();
    let before = snapshot(&home.treasure());
    let link = |name: &str, to: &std::path::Path| {
        let script = format!("ln -s {} {name}", to.display());
        home.script("nobody", &format!("cd {}; {script}", home.data().display()));
    };
    link("export", &home.treasure().join("empty"));
    link("above", &home.treasure());
    for out in ["export", "above/new", "above/empty"] {
        let out = home.data().join(out);
        let ended = home.run(&["erasures", "export", "--out", out.to_str().unwrap()]);
        assert!(!ended.success, "{out:?}: {}", ended.said);
        assert_eq!(snapshot(&home.treasure()), before, "{out:?}");
    }
}
