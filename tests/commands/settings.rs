//! A setting with a wrong format is reported before anything is created.

use std::fs;

use crate::process::{Ended, Home, served};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn serve(home: &Home, settings: &[(&str, &str)]) -> Ended {
    let mut program = home.program();
    program
        .arg("serve")
        .env("LISTEN", "127.0.0.1:0")
        .envs(settings.iter().copied());
    served(program)
}

#[test]
fn a_wrong_form_is_refused_before_anything_is_made() {
    let home = Home::new();
    let short = home.dir.path().join("short.key");
    fs::write(&short, "31 bytes").unwrap();
    let (short, absent) = (short.to_str().unwrap(), "/no/such.key");
    let is_a_file = format!("DATA_DIR is {short}, and {short} is a file");
    let below = format!("{short}/archive");
    let is_below_a_file = format!("DATA_DIR is {below}, and {short} is a file");
    let s3 = [
        ("OBJECTS_URL", "s3://bucket/prefix"),
        ("AWS_ACCESS_KEY_ID", "id"),
    ];
    let with_keys = [s3[0], s3[1], ("AWS_SECRET_ACCESS_KEY", "hush")];
    let other_account = ("DATABASE_URL", "postgres://u:hush@127.0.0.1:1/archive");
    let wrong: &[(&[(&str, &str)], &str)] = &[
        (&[("LINE_CHANNEL_SECRET", "1234567890")], "channel ID"),
        (
            &[
                ("LINE_CHANNEL_SECRET", SECRET),
                ("LINE_CHANNEL_ACCESS_TOKEN", "short"),
            ],
            "LINE_CHANNEL_ACCESS_TOKEN",
        ),
        (&[("LINE_API_URL", "ftp://api.line.me")], "LINE_API_URL"),
        (&[("LISTEN", "localhost:http")], "LISTEN"),
        (&[("LISTEN", "8080")], "like 127.0.0.1:8080"),
        (
            &[("LINE_API_URL", "api.line.me")],
            "like https://api.line.me",
        ),
        (&[("OBJECTS_URL", "/srv/objects")], "file:///an/absolute"),
        (
            &[("PUBLIC_URL", "archive.example.com")],
            "https:// in front",
        ),
        (&[("TRUSTED_PROXIES", "10.0.0.0/99")], "TRUSTED_PROXIES"),
        (&[("TRUSTED_PROXIES", "proxy.example.com")], "10.0.0.0/8"),
        (&[("OBJECTS_URL", "ftp://host/objects")], "OBJECTS_URL"),
        (&[("OBJECTS_URL", "file://host/objects")], "OBJECTS_URL"),
        (&s3, "AWS_SECRET_ACCESS_KEY"),
        (&with_keys, "AWS_REGION"),
        (
            &[
                with_keys[0],
                with_keys[1],
                with_keys[2],
                ("AWS_ENDPOINT", "ftp://host"),
            ],
            "AWS_ENDPOINT",
        ),
        (&[("OBJECTS_SSE", "aes")], "OBJECTS_SSE"),
        (&[("KEYRING_URL", "ftp://host/keyring")], "KEYRING_URL"),
        (
            &[
                ("KEYRING_URL", "file:///srv/both"),
                ("OBJECTS_URL", "file:///srv/both/"),
            ],
            "KEYRING_URL",
        ),
        (
            &[("LEDGER_COPIES", "file:///srv/copies,ftp://host/copies")],
            "LEDGER_COPIES, ftp://host/copies",
        ),
        (
            &[("LEDGER_COPIES", "s3://id:hush@bucket")],
            "LEDGER_COPIES, s3://bucket",
        ),
        (&[("SECRET_KEY_FILE", short)], "32 bytes"),
        (&[("SECRET_KEY_FILE", "/dev/null")], "regular file"),
        (
            &[("SECRET_KEY_FILE", absent)],
            "/no/such.key: there is no directory /no,",
        ),
        (&[other_account, ("SECRET_KEY_FILE", absent)], absent),
        (
            &[("DATABASE_URL", "mysql://u:hush@host/archive")],
            "DATABASE_URL",
        ),
        (&[("RUN_AS", "no such account")], "no such account"),
        (
            &[("DATA_DIR", "/tmp/$HOME's archive")],
            "choose another DATA_DIR",
        ),
        (&[("DATA_DIR", short)], is_a_file.as_str()),
        (&[("DATA_DIR", below.as_str())], is_below_a_file.as_str()),
    ];
    for (settings, words) in wrong {
        let ended = serve(&home, settings);
        assert!(!ended.success, "{settings:?}");
        assert!(ended.said.contains(words), "{settings:?}: {}", ended.said);
        assert!(!ended.said.contains("making a PostgreSQL"), "{settings:?}");
        assert!(!ended.said.contains("hush"), "{settings:?}: {}", ended.said);
        assert!(!home.data().exists(), "{settings:?}: {}", ended.said);
    }
}

#[test]
fn an_address_of_another_machine_is_explained() {
    let home = Home::new();
    // An address that no machine has (RFC 5737).
    let refused = serve(&home, &[("LISTEN", "192.0.2.1:8080")]);
    assert!(!refused.success);
    for words in [
        "192.0.2.1:8080 cannot be listened on",
        "not an address of this machine",
        "0.0.0.0:8080",
    ] {
        assert!(refused.said.contains(words), "{words}: {}", refused.said);
    }
    assert!(!refused.said.contains("os error"), "{}", refused.said);
    assert!(!home.data().join("serve.lock").exists());
}

#[test]
fn a_channel_secret_in_capitals_signs_as_the_one_in_small_letters() {
    let home = Home::new();
    let capitals = SECRET.to_uppercase();
    let said = serve(&home, &[("LINE_CHANNEL_SECRET", &capitals)]).said;
    assert!(said.contains("Made the channel `default`"), "{said}");
    let mut add = home.program();
    add.args(["channel", "add", "shop"])
        .env("LINE_CHANNEL_SECRET", SECRET);
    let added = crate::process::ended(add);
    assert!(!added.success, "it is the same secret");
    assert!(added.said.contains("channel default"), "{}", added.said);
}
