//! Directories and accounts that are refused, and the messages that explain it.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
};

use crate::process::{Home, account, ended, is_root, mode, served};

#[test]
fn run_as_names_an_account_that_exists_and_owns_the_directory() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let with = |account: &str| home.make(&["--run-as", account]);
    let ended = with("no-such-account");
    assert!(!ended.success);
    assert!(ended.said.contains("useradd --system"), "{}", ended.said);
    // Root stays root if `RUN_AS` says so, and a message says that.
    let ended = with("root");
    assert!(ended.success, "{}", ended.said);
    assert!(ended.said.contains("RUN_AS is root"), "{}", ended.said);
    assert_eq!(fs::metadata(home.data()).unwrap().uid(), 0);
    let daemon = account("daemon");
    let ended = with(&daemon.uid().to_string());
    assert!(ended.success, "{}", ended.said);
    assert_eq!(fs::metadata(home.data()).unwrap().uid(), daemon.uid());
    // From then on the archive belongs to that account, and every other one is refused.
    assert!(home.run(&["operator", "list"]).success);
    for other in ["nobody", "root"] {
        let ended = with(other);
        assert!(!ended.success);
        let words = format!("{} belongs to daemon", home.data().display());
        assert!(ended.said.contains(&words), "{}", ended.said);
    }
}

#[test]
fn the_owner_of_an_archive_is_named_to_another_account() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let made = home.make(&["--run-as", "daemon"]);
    assert!(made.success, "{}", made.said);
    let [nobody, daemon] = ["nobody", "daemon"].map(account);
    // The mode of a directory that the program makes, and one that lets others list it.
    for bits in [0o711, 0o755] {
        mode(&home.data(), bits);
        for command in [&["channel", "list"][..], &["doctor"]] {
            let mut program = home.program_of_all();
            program
                .args(command)
                .current_dir("/")
                .uid(nobody.uid())
                .gid(nobody.gid());
            let refused = ended(program);
            assert!(!refused.success, "{command:?}");
            for words in [
                "belongs to the account daemon",
                "run the command as root, or set",
                home.data().to_str().unwrap(),
            ] {
                assert!(refused.said.contains(words), "{words}: {}", refused.said);
            }
        }
    }
    // Root made it, so its database belongs to PostgreSQL's account.
    let mut program = home.program_of_all();
    program
        .args(["channel", "list"])
        .current_dir("/")
        .uid(daemon.uid())
        .gid(daemon.gid());
    let refused = ended(program);
    assert!(!refused.success);
    for words in [
        "run the command as root, whose archive it is",
        "data/postgres belongs to",
    ] {
        assert!(refused.said.contains(words), "{words}: {}", refused.said);
    }
}

#[test]
fn a_directory_that_is_used_otherwise_is_not_given_away() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    fs::create_dir(home.data()).unwrap();
    fs::write(home.data().join("accounts.ods"), "").unwrap();
    let ended = home.make(&[]);
    assert!(!ended.success);
    assert!(
        ended.said.contains("a directory of its own"),
        "{}",
        ended.said
    );
    assert_eq!(fs::metadata(home.data()).unwrap().uid(), 0);
    assert!(!home.data().join("postgres").exists());

    fs::remove_file(home.data().join("accounts.ods")).unwrap();
    mode(&home.data(), 0o777);
    let ended = home.make(&[]);
    assert!(!ended.success, "{}", ended.said);
    assert_eq!(fs::metadata(home.data()).unwrap().uid(), 0);

    // An output file of the script that starts the service does not count as another use.
    mode(&home.data(), 0o711);
    fs::write(home.data().join("serve.log"), "").unwrap();
    let ended = home.make(&[]);
    assert!(ended.success, "{}", ended.said);
    assert_ne!(fs::metadata(home.data()).unwrap().uid(), 0);
}

#[test]
fn a_place_that_the_account_cannot_use_is_named_with_the_remedy() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let treasure = home.treasure();
    let url = format!("file://{}", treasure.display());
    let key = treasure.join("key");
    fs::write(&key, [7; 32]).unwrap();
    mode(&key, 0o600);
    for (setting, value) in [
        ("OBJECTS_URL", &*url),
        ("KEYRING_URL", &url),
        ("LEDGER_COPIES", &url),
        ("SECRET_KEY_FILE", key.to_str().unwrap()),
    ] {
        let ended = {
            let mut program = home.program();
            program
                .env(setting, value)
                .args(["serve", "--listen", "127.0.0.1:0"]);
            let output = program.output().unwrap();
            assert!(!output.status.success(), "{setting}");
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        for word in [
            setting,
            treasure.to_str().unwrap(),
            "nobody",
            "chown",
            "RUN_AS",
        ] {
            assert!(ended.contains(word), "{word}: {ended}");
        }
        assert_eq!(home.postmaster(), None, "{setting}: PostgreSQL is stopped");
    }
    assert_eq!(fs::metadata(treasure).unwrap().uid(), 0);
}

#[test]
fn a_new_key_that_the_account_cannot_make_is_named_with_the_remedy() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let directory = home.dir.path().join("ext");
    fs::create_dir(&directory).unwrap();
    mode(&directory, 0o755);
    let key = directory.join("new.key");
    let path = key.to_str().unwrap();
    let serve = || {
        let mut program = home.program();
        program
            .env("SECRET_KEY_FILE", path)
            .args(["serve", "--listen", "127.0.0.1:0"]);
        served(program)
    };
    let refused = serve();
    assert!(!refused.success, "{}", refused.said);
    let who = format!("the account nobody cannot create {path} (SECRET_KEY_FILE)");
    let remedy = format!("line-chat-archive keys new {path}");
    for words in [
        who.as_str(),
        remedy.as_str(),
        "install -d -o nobody -m 700 DIR",
        "RUN_AS",
    ] {
        assert!(refused.said.contains(words), "{words}: {}", refused.said);
    }
    assert_eq!(home.postmaster(), None, "PostgreSQL is stopped");
    assert_eq!(fs::metadata(&directory).unwrap().uid(), 0);
    let made = home.run(&["keys", "new", path]);
    assert!(made.success, "{}", made.said);
    let made = serve();
    assert!(made.success, "{}", made.said);
}
