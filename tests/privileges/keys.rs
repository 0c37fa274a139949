//! The file of the secret key: created with the right mode, and refused with a wrong one.

use std::{fs, os::unix::fs::MetadataExt};

use crate::process::{Home, Running, account, is_root, mode};

#[test]
fn keys_new_makes_a_key_for_the_services_account_alone_and_touches_no_other() {
    let home = Home::new();
    let path = home.dir.path().join("new.key");
    let file = path.to_str().unwrap();
    let ended = home.run(&["keys", "new", file]);
    assert!(ended.success, "{}", ended.said);
    assert!(ended.said.contains(file), "{}", ended.said);
    let made = fs::metadata(&path).unwrap();
    assert_eq!((made.mode() & 0o7777, made.len()), (0o600, 32));
    if is_root() {
        assert_eq!(made.uid(), account("nobody").uid());
    }
    assert!(!home.data().exists(), "nothing else is made");
    let key = fs::read(&path).unwrap();
    let ended = home.run(&["keys", "new", file]);
    assert!(!ended.success);
    assert!(ended.said.contains("there already"), "{}", ended.said);
    assert_eq!(fs::read(&path).unwrap(), key);

    let absent = home.dir.path().join("absent/new.key");
    let absent = absent.to_str().unwrap();
    let ended = home.run(&["keys", "new", absent]);
    assert!(!ended.success);
    assert!(ended.said.contains(absent), "{}", ended.said);
    assert!(!ended.said.contains("keyring"), "{}", ended.said);

    // In the account's own directory root creates the key as that account, so root does nothing that the account may
    // not do.
    if is_root() {
        let nobody = account("nobody");
        let own = home.dir.path().join("own");
        fs::create_dir(&own).unwrap();
        std::os::unix::fs::chown(&own, Some(nobody.uid()), Some(nobody.gid())).unwrap();
        let in_own = own.join("key");
        mode(&own, 0o500);
        let ended = home.run(&["keys", "new", in_own.to_str().unwrap()]);
        assert!(!ended.success && !in_own.exists(), "{}", ended.said);
        mode(&own, 0o700);
        let ended = home.run(&["keys", "new", in_own.to_str().unwrap()]);
        assert!(ended.success, "{}", ended.said);
        let made = fs::metadata(&in_own).unwrap();
        assert_eq!((made.mode() & 0o7777, made.uid()), (0o600, nobody.uid()));
        assert_eq!(made.gid(), nobody.gid());
    }

    let link = home.dir.path().join("link.key");
    std::os::unix::fs::symlink(home.treasure().join("new"), &link).unwrap();
    assert!(!home.run(&["keys", "new", link.to_str().unwrap()]).success);
    assert!(!home.treasure().join("new").exists());
}

#[test]
fn a_key_that_others_can_open_keeps_the_service_from_starting() {
    let home = Home::new();
    let path = home.dir.path().join("open.key");
    let file = path.to_str().unwrap();
    assert!(home.run(&["keys", "new", file]).success);
    let serve = [
        "--secret-key-file",
        file,
        "serve",
        "--listen",
        "127.0.0.1:0",
    ];
    for bits in [0o644, 0o640, 0o604] {
        mode(&path, bits);
        let ended = home.run(&serve);
        assert!(!ended.success, "{bits:o}");
        for word in [file, "chmod 600"] {
            assert!(ended.said.contains(word), "{bits:o}: {}", ended.said);
        }
    }
}

#[test]
fn a_key_in_a_directory_that_the_service_cannot_write_serves() {
    let home = Home::new();
    let path = home.dir.path().join("its.key");
    assert!(home.run(&["keys", "new", path.to_str().unwrap()]).success);
    let mut serve = home.program();
    serve.env("SECRET_KEY_FILE", &path);
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running::start(serve);
    serve.says("Dashboard: ");
    assert!(!home.data().join("secret.key").exists());
    assert!(serve.stop());
}
