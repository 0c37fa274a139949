//! Directories whose disk is not mounted: no command takes the bare mount point for the archive's, nor marks it.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
};

use crate::{archive, process::Home};

const COMMANDS: &[&[&str]] = &[
    &["doctor"],
    &["erasures", "verify"],
    &["erasures", "trace", "shop", "468789577898262530"],
    &["serve", "--listen", "127.0.0.1:0"],
];

#[test]
fn a_bare_mount_point_is_refused_and_stays_bare() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    assert!(serve.stop());
    for name in ["keyring", "objects"] {
        let [path, aside] = [name, "aside"].map(|name| home.data().join(name));
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        let meta = fs::metadata(&aside).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&path, Some(meta.uid()), Some(meta.gid())).unwrap();
        for command in COMMANDS {
            let ended = home.run(command);
            assert!(!ended.success, "{command:?}");
            for words in [
                "has no mark: its disk is not mounted",
                "write this line into",
            ] {
                assert!(ended.said.contains(words), "{command:?}: {}", ended.said);
            }
            let found = fs::read_dir(&path).unwrap().count();
            assert_eq!(found, 0, "{command:?}");
        }
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    let (serve, _) = archive(&home);
    assert!(serve.stop());
}
