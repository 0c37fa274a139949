//! `erasures trace` and `erasures verify` in a script.

use std::{fs, time::Instant};

use crate::{
    archive,
    process::{Home, LONGEST, snapshot},
};

/// The exit code and the output of a command.
fn code(home: &Home, args: &[&str]) -> (i32, String) {
    let mut program = home.program();
    let output = program.args(args).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[test]
fn an_id_that_the_archive_never_met_is_no_proof_of_an_erasure() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    let mut add = home.program();
    add.args(["channel", "add", "shop"])
        .env("LINE_CHANNEL_SECRET", "0123456789abcdef0123456789abcdef");
    assert!(crate::process::ended(add).success);

    let (met, said) = code(&home, &["erasures", "trace", "shop", "468789577898262530"]);
    assert_eq!(met, 3, "{said}");
    for words in [
        "never received",
        "the tables, the bucket and the keyring",
        "mistyped",
        "looks the same",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    for (id, words) in [
        ("46878957789826253O", "digits alone"),
        ("U0123456789abcdef0123456789abcdef", "user, group or room"),
        ("01HZX3J9Y8K7M6N5P4Q3R2S1T0", "webhook event"),
    ] {
        let (refused, said) = code(&home, &["erasures", "trace", "shop", id]);
        assert_eq!(refused, 2, "{said}");
        assert!(said.contains(words), "{id}: {said}");
        assert!(!said.to_lowercase().contains("nothing"), "{id}: {said}");
    }
    let (absent, said) = code(
        &home,
        &["erasures", "trace", "shop-kyoto", "468789577898262530"],
    );
    assert_eq!(absent, 2, "{said}");
    let words = "there is no channel shop-kyoto: `channel list` lists them";
    assert!(said.contains(words), "{said}");
    assert!(serve.stop());
}

#[test]
fn an_export_writes_over_nothing_and_says_what_it_cannot_use() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    let export = |args: &[&str]| {
        let mut program = home.program();
        program
            .args(["erasures", "export", "--out"])
            .args(args)
            .current_dir(home.dir.path());
        crate::process::ended(program)
    };
    // The ledger is signed within seconds.
    let begun = Instant::now();
    while !export(&["first"]).success {
        assert!(begun.elapsed() < LONGEST);
    }
    let first = snapshot(&home.dir.path().join("first"));
    let own = home.dir.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("checkpoint"), "an auditor's").unwrap();
    fs::write(home.dir.path().join("garbage"), "no checkpoint").unwrap();
    for (args, words) in [
        (&["first"][..], "first has files in it"),
        // The command never gives a directory of root's to another account.
        (&["own"], "own "),
        (
            &["new", "--since", "garbage"],
            "garbage is not a checkpoint of this ledger",
        ),
        (&["new", "--since", "absent"], "absent: No such file"),
        (
            &["new", "--from", "2026-11-02", "--to", "2026-11-01"],
            "--from 2026-11-02 is after --to 2026-11-01",
        ),
        (&["new", "--from", "yesterday"], "for example 2026-11-20"),
    ] {
        let ended = export(args);
        assert!(!ended.success, "{args:?}");
        assert!(ended.said.contains(words), "{args:?}: {}", ended.said);
    }
    assert_eq!(snapshot(&home.dir.path().join("first")), first);
    assert_eq!(
        fs::read_to_string(own.join("checkpoint")).unwrap(),
        "an auditor's"
    );
    let ended = export(&["new", "--since", "first/checkpoint"]);
    assert!(ended.success, "{}", ended.said);
    assert!(serve.stop());
    // The receipt's page shows the key's text, so that is accepted like the file.
    let first = home.dir.path().join("first");
    let key = fs::read_to_string(first.join("public-key")).unwrap();
    let verify = ["erasures", "verify", "--export", first.to_str().unwrap()];
    let with_key = |key: &str| code(&home, &[&verify[..], &["--public-key", key]].concat());
    let (sound, said) = with_key(key.trim_end());
    assert_eq!(sound, 0, "{said}");
    assert!(!said.contains("Use --public-key"), "{said}");
    for (given, words) in [
        (&key.trim_end()[1..], "is mistyped"),
        ("absent", "neither a public key nor a file"),
    ] {
        let (unread, said) = with_key(given);
        assert_eq!(unread, 2, "{said}");
        assert!(said.contains(words), "{given}: {said}");
    }
    let new = home.dir.path().join("new");
    let (sound, said) = code(
        &home,
        &["erasures", "verify", "--export", new.to_str().unwrap()],
    );
    assert_eq!(sound, 0, "{said}");
    let words = "the ledger extends the checkpoint of 0 records";
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_ledger_is_not_blamed_for_another_secret_key() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    let other = home.dir.path().join("other.key");
    assert!(home.run(&["keys", "new", other.to_str().unwrap()]).success);
    for command in [
        &["erasures", "verify"][..],
        &["erasures", "export", "--out", "exported"],
    ] {
        let mut program = home.program();
        program
            .args(command)
            .current_dir(home.dir.path())
            .env("SECRET_KEY_FILE", &other);
        let status = program.output().unwrap().status;
        // The exit code tells a script that the ledger was not checked.
        if command[1] == "verify" {
            assert_eq!(status.code(), Some(2));
        }
        let ended = crate::process::ended(program);
        assert!(!ended.success, "{command:?}: {}", ended.said);
        for words in [
            other.to_str().unwrap(),
            "is not the key that signed this ledger",
            "SECRET_KEY_FILE",
        ] {
            assert!(ended.said.contains(words), "{command:?}: {}", ended.said);
        }
        assert!(
            !ended.said.contains("TAMPERED"),
            "{command:?}: {}",
            ended.said
        );
    }
    let no_key = home.dir.path().join("no-key");
    fs::write(&no_key, "garbage").unwrap();
    let no_key = no_key.to_str().unwrap();
    let shown = [
        "erasures",
        "verify",
        "--export",
        "exported",
        "--public-key",
        no_key,
    ];
    let (unread, said) = code(&home, &shown);
    assert_eq!(unread, 2, "{said}");
    assert!(said.contains("is not a public key"), "{said}");
    let (sound, said) = code(&home, &["erasures", "verify"]);
    assert_eq!(sound, 0, "{said}");
    assert!(serve.stop());
    assert!(fs::exists(other).unwrap());
}
