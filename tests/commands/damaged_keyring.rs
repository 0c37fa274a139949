//! Files of the keyring that are cut, altered or missing: they are named, and all the rest works.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
};

use line_chat_archive::fake_line::sign;

use crate::{
    archive,
    process::{Home, Running, ended},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Sends a message of this person; returns the status line.
fn write(dashboard: &str, person: u32) -> String {
    let event = format!(
        r#"{{"type":"message","webhookEventId":"01HZX3J9Y8K7M6N5P4Q3R2S{person:03}","timestamp":1700000000000,"mode":"active","deliveryContext":{{"isRedelivery":false}},"source":{{"type":"user","userId":"U{person:032x}"}},"message":{{"type":"text","id":"46878957789{person:07}","text":"Hello"}}}}"#
    );
    let body =
        format!(r#"{{"destination":"U0123456789abcdef0123456789abcdef","events":[{event}]}}"#);
    let address = dashboard
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let mut connection = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /webhook/shop HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nX-Line-Signature: {}\r\nContent-Length: {}\r\n\r\n",
        sign(SECRET, body.as_bytes()),
        body.len()
    );
    connection.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

fn files(keyring: &Path) -> Vec<PathBuf> {
    let shards = fs::read_dir(keyring)
        .unwrap()
        .map(|shard| shard.unwrap().path());
    let files = shards
        // Beside the keys there is a copy of the ledger.
        .filter(|shard| shard.is_dir() && !shard.ends_with("ledger"))
        .flat_map(|shard| fs::read_dir(shard).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

fn has_one_key(file: &[u8]) -> bool {
    file.chunks(file.len() / 64)
        .filter(|key| key.iter().any(|byte| *byte != 0))
        .count()
        == 1
}

/// An archive with a message of each of 70 people, so that at least two files hold keys in use.
fn with_messages(home: &Home) -> (Running, String) {
    let (serve, dashboard) = archive(home);
    let mut add = home.program();
    add.args(["channel", "add", "shop"])
        .env("LINE_CHANNEL_SECRET", SECRET);
    assert!(ended(add).success);
    // The service reads the channels each second.
    while !write(&dashboard, 0).contains(" 200 ") {}
    for person in 1..70 {
        assert!(write(&dashboard, person).contains(" 200 "));
    }
    (serve, dashboard)
}

#[test]
fn a_damaged_file_of_the_keyring_is_named_and_the_service_starts() {
    let home = Home::new();
    let (serve, _) = with_messages(&home);
    assert!(serve.stop());
    let doctor = || home.run(&["doctor"]).said;
    let said = doctor();
    assert!(said.contains("keys can be read"), "{said}");
    let aside = home.data().join("aside");
    let mut person = 100;
    let flipped = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>();
    for (what, some) in [("cut", 3), ("altered", 3), ("deleted", 3)] {
        for file in files(&home.data().join("keyring")).into_iter().take(some) {
            let whole = fs::read(&file).unwrap();
            if has_one_key(&whole) {
                // Not a key, but the mark that operators and channels have their codes. It is written anew.
                continue;
            }
            match what {
                "cut" => fs::write(&file, &whole[..10]).unwrap(),
                "altered" => fs::write(&file, flipped(&whole)).unwrap(),
                _ => fs::rename(&file, &aside).unwrap(),
            }
            let said = doctor();
            let named = said.contains(file.file_name().unwrap().to_str().unwrap());
            // Its process has ended, so spare keys have been made too.
            assert!(named, "{what}: {said}");
            match what {
                "deleted" => fs::rename(&aside, &file).unwrap(),
                _ => fs::write(&file, &whole).unwrap(),
            }
        }
    }
    let said = home.run(&["keys", "lost"]).said;
    assert!(said.contains("No key is known to be missing"), "{said}");
    let (marks, keys): (Vec<_>, Vec<_>) = files(&home.data().join("keyring"))
        .into_iter()
        .partition(|file| has_one_key(&fs::read(file).unwrap()));
    assert_eq!(marks.len(), 1);
    for file in marks.iter().chain(keys.iter().take(3)) {
        fs::write(file, "cut").unwrap();
        let (serve, dashboard) = archive(&home);
        assert!(write(&dashboard, person).contains(" 200 "));
        person += 1;
        assert!(serve.stop());
    }
}

/// Each file that is cut holds many keys, and there are many files: a line for each would hide all other lines.
#[test]
fn a_restart_with_files_that_are_cut_tells_it_in_few_lines() {
    let home = Home::new();
    let (serve, _) = with_messages(&home);
    assert!(serve.stop());
    let mut cut = 0;
    for file in files(&home.data().join("keyring")) {
        let whole = fs::read(&file).unwrap();
        if !has_one_key(&whole) {
            fs::write(&file, &whole[..whole.len() / 6]).unwrap();
            cut += 1;
        }
    }
    assert!(cut >= 16, "{cut} files");
    let (serve, dashboard) = archive(&home);
    assert!(write(&dashboard, 100).contains(" 200 "));
    let said = serve.said();
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    let named = errors
        .iter()
        .any(|line| line.contains("files=") && line.contains(" more"));
    assert!(named && errors.len() <= 2, "{errors:#?}");
    assert!(serve.stop());
}
