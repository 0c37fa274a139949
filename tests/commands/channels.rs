//! Channels, and which secret and token belong to which.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{
    archive,
    operators::with_password,
    process::{Ended, Home, Running, ended},
};

pub const ONE: &str = "0123456789abcdef0123456789abcdef";
pub const TWO: &str = "fedcba9876543210fedcba9876543210";

fn token(letter: &str) -> String {
    letter.repeat(172)
}

fn run(home: &Home, args: &[&str], secret: Option<&str>, token: Option<&str>) -> Ended {
    let mut program = home.program();
    program
        .args(args)
        .envs(secret.map(|secret| ("LINE_CHANNEL_SECRET", secret)))
        .envs(token.map(|token| ("LINE_CHANNEL_ACCESS_TOKEN", token)));
    ended(program)
}

/// Runs a command whose standard input is not a terminal.
fn piped(home: &Home, args: &[&str], input: &str) -> Ended {
    let typed = tempfile::NamedTempFile::new_in(home.dir.path()).unwrap();
    fs::write(typed.path(), input).unwrap();
    let mut program = home.program();
    program.args(args).stdin(typed.reopen().unwrap());
    ended(program)
}

/// The columns of a channel's line in `channel list`.
fn cells(list: &str, slug: &str) -> Vec<String> {
    let lines = list.lines().map(|line| line.split(" | ").map(str::trim));
    let mut lines = lines.map(|cells| cells.map(str::to_owned).collect::<Vec<_>>());
    lines.find(|cells| cells[0] == slug).unwrap()
}

#[test]
fn a_secret_belongs_to_one_channel() {
    let home = Home::new();
    let mut serve = home.program();
    serve
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("LINE_CHANNEL_SECRET", ONE);
    let mut serve = Running::start(serve);
    serve.says("Webhook URL of default");
    assert!(!serve.said().contains("LINE_CHANNEL_SECRET is not used"));

    // As in a shell in which the first channel's secret is still exported.
    let added = run(&home, &["channel", "add", "shop-osaka"], Some(ONE), None);
    assert!(!added.success);
    for words in ["channel default", "LINE_CHANNEL_SECRET"] {
        assert!(added.said.contains(words), "{}", added.said);
    }
    assert!(!added.said.contains(ONE));
    assert!(!home.run(&["channel", "list"]).said.contains("shop-osaka"));

    assert!(run(&home, &["channel", "add", "shop-osaka"], Some(TWO), None).success);
    let rotated = run(
        &home,
        &["channel", "rotate-secret", "shop-osaka"],
        Some(ONE),
        None,
    );
    assert!(!rotated.success);
    assert!(rotated.said.contains("channel default"), "{}", rotated.said);
    let rotated = run(
        &home,
        &["channel", "rotate-secret", "shop-osaka"],
        Some(TWO),
        None,
    );
    assert!(
        rotated.said.contains("has this secret already"),
        "{}",
        rotated.said
    );

    // The first channel's token with a new secret: the command accepts neither.
    let third = "0".repeat(32);
    let add = ["channel", "rotate-secret", "shop-osaka"];
    assert!(
        run(
            &home,
            &["channel", "rotate-secret", "default"],
            Some(ONE),
            Some(&token("d"))
        )
        .success
    );
    let said = run(&home, &add, Some(&third), Some(&token("d")));
    assert!(!said.success);
    for words in ["access token of the channel default", "nothing was changed"] {
        assert!(said.said.contains(words), "{}", said.said);
    }
    let list = home.run(&["channel", "list"]).said;
    assert_eq!(cells(&list, "shop-osaka")[1..4], ["active", "1", "none"]);

    // A command that does not use a variable of the environment says so.
    let finish = ["channel", "rotate-secret", "shop-osaka", "--finish"];
    let said = run(&home, &finish, Some(&third), None);
    assert!(
        said.success && said.said.contains("were not used"),
        "{}",
        said.said
    );
    let said = run(&home, &finish, None, None);
    assert!(
        said.success && !said.said.contains("not used"),
        "{}",
        said.said
    );

    // Only the token is new, although the secret is exported too.
    let said = run(
        &home,
        &["channel", "rotate-secret", "shop-osaka"],
        Some(TWO),
        Some(&token("t")),
    );
    assert!(said.success, "{}", said.said);
    assert!(said.said.contains("Access token replaced"), "{}", said.said);
    let list = home.run(&["channel", "list"]).said;
    assert_eq!(cells(&list, "shop-osaka")[1..4], ["active", "1", "set"]);

    // The token alone: first the same one, then another.
    let rotate = ["channel", "rotate-secret", "shop-osaka"];
    let said = run(&home, &rotate, None, Some(&token("t")));
    assert!(!said.success);
    assert!(
        said.said.contains("has this access token already"),
        "{}",
        said.said
    );
    let said = run(&home, &rotate, None, Some(&token("u")));
    assert!(said.success, "{}", said.said);
    assert!(
        said.said.contains("secrets stay as they are"),
        "{}",
        said.said
    );
    assert!(serve.stop());
}

#[test]
fn serve_reports_a_secret_or_token_that_no_channel_has() {
    let home = Home::new();
    for (secret, letter, unused) in [
        (Some(ONE), "a", [false, false]),
        (Some(ONE), "a", [false, false]),
        (Some(TWO), "a", [true, false]),
        (None, "b", [false, true]),
        (Some(ONE), "b", [false, true]),
    ] {
        let mut serve = home.program();
        serve
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("LINE_CHANNEL_ACCESS_TOKEN", token(letter))
            .envs(secret.map(|secret| ("LINE_CHANNEL_SECRET", secret)));
        let mut serve = Running::start(serve);
        serve.says("no administrator. Make one here");
        let said = serve.said();
        let names = ["LINE_CHANNEL_SECRET", "LINE_CHANNEL_ACCESS_TOKEN"];
        let says = names.map(|name| said.contains(&format!("{name} is not used")));
        assert_eq!(says, unused, "{said}");
        let named = said.contains("`channel rotate-secret default` gives it to a channel");
        assert_eq!(named, secret == Some(ONE) && unused[1], "{said}");
        assert!(serve.stop());
    }
}

#[test]
fn missing_files_are_asked_for_by_channel_and_period() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    assert!(run(&home, &["channel", "add", "shop"], Some(ONE), None).success);
    for (given, success, words) in [
        (&["shop"][..], true, "No file is missing"),
        (
            &["shop", "--from", "2026-02-03", "--to", "2026-02-03"],
            true,
            "No file is missing",
        ),
        (
            &["shop", "--from", "2026-02-03", "--to", "2026-02-02"],
            false,
            "--from 2026-02-03 is after --to 2026-02-02",
        ),
        (&["shop", "--to", "yesterday"], false, "this is not a day"),
        (&["desk"], false, "there is no channel desk"),
    ] {
        let said = home.run(&[&["channel", "fetch-again"], given].concat());
        assert_eq!(said.success, success, "{}", said.said);
        assert!(said.said.contains(words), "{}", said.said);
    }
    drop(serve);
}

#[test]
fn malformed_secrets_and_tokens_are_refused_in_lines_words() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    for (secret, words) in [
        (format!("\"{ONE}\""), "quotes"),
        ("1234567890".to_owned(), "channel ID"),
        (token("x"), "access token"),
    ] {
        let said = run(&home, &["channel", "add", "shop"], Some(&secret), None);
        assert!(!said.success);
        assert!(said.said.contains(words), "{words}: {}", said.said);
        assert!(
            !said.said.contains(&secret),
            "the secret itself is not said"
        );
    }
    let said = run(&home, &["channel", "add", "shop"], Some(ONE), Some(TWO));
    assert!(!said.success);
    assert!(
        said.said
            .contains("too short for a channel access token: it has 32 characters"),
        "{}",
        said.said
    );
    assert!(!said.said.contains(TWO), "the token itself is not said");
    assert!(serve.stop());
}

#[test]
fn serve_says_what_is_missing_before_line_can_reach_it() {
    let home = Home::new();
    for (url, words) in [
        (None, "PUBLIC_URL is not set"),
        (
            Some("http://archive.example.com"),
            "PUBLIC_URL is not https",
        ),
    ] {
        let mut serve = home.program();
        serve
            .args(["serve", "--listen", "127.0.0.1:0"])
            .envs(url.map(|url| ("PUBLIC_URL", url)));
        let mut serve = Running::start(serve);
        serve.says("no administrator. Make one here");
        let said = serve.said();
        for words in [words, "There is no channel"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(serve.stop());
    }
    for (url, words) in [
        ("archive.example.com", "https:// in front"),
        ("https://example.com/archive", "a whole host"),
        ("ftp://example.com", "only to https URLs"),
    ] {
        let mut serve = home.program();
        serve
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("PUBLIC_URL", url);
        let ended = ended(serve);
        assert!(!ended.success);
        assert!(ended.said.contains(words), "{url}: {}", ended.said);
    }
}

#[test]
fn secret_and_token_are_read_from_standard_input_a_line_each() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    let both = format!("{ONE}\r\n{}\n", token("a"));
    let added = piped(&home, &["channel", "add", "both"], &both);
    assert!(added.success, "{}", added.said);
    let added = piped(&home, &["channel", "add", "secret-alone"], TWO);
    assert!(added.success, "{}", added.said);
    let list = home.run(&["channel", "list"]).said;
    assert_eq!(cells(&list, "both")[1..4], ["active", "1", "set"]);
    assert_eq!(cells(&list, "secret-alone")[1..4], ["active", "1", "none"]);

    let third = "3".repeat(32);
    let rotate = ["channel", "rotate-secret", "secret-alone"];
    let rotated = piped(&home, &rotate, &format!("\n{}\n", token("b")));
    assert!(
        rotated.said.contains("Access token replaced"),
        "{}",
        rotated.said
    );
    assert!(!rotated.said.contains("Secret added"), "{}", rotated.said);
    let rotated = piped(&home, &rotate, &format!("{third}\n"));
    assert!(rotated.said.contains("Secret added"), "{}", rotated.said);

    for args in [&["channel", "add", "none"][..], &rotate] {
        let nothing = piped(&home, args, "");
        assert!(!nothing.success);
        for words in [
            "LINE_CHANNEL_SECRET",
            "LINE_CHANNEL_ACCESS_TOKEN",
            "standard input",
            "first line",
        ] {
            assert!(nothing.said.contains(words), "{words}: {}", nothing.said);
        }
    }
    assert!(serve.stop());
}

#[test]
fn the_list_has_a_header_the_limits_and_what_was_removed() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    assert!(
        home.run(&["channel", "list"])
            .said
            .contains("There is no channel")
    );
    for (slug, secret) in [("shop-a", ONE), ("shop-b", TWO)] {
        let name = format!("{slug} \u{5e97}");
        let add = ["channel", "add", slug, "--name", &name];
        assert!(run(&home, &add, Some(secret), None).success);
    }
    assert!(home.run(&["channel", "limit", "shop-b", "200"]).success);
    assert!(home.run(&["channel", "remove", "shop-a"]).success);
    let again = home.run(&["channel", "remove", "shop-a"]);
    assert!(!again.success);
    assert!(
        again.said.contains("shop-a was removed at 2"),
        "{}",
        again.said
    );
    let args = [
        "operator",
        "add",
        "mika",
        "--role",
        "operator",
        "--channel",
        "shop-a",
    ];
    let reader = with_password(&home, &args);
    assert!(reader.said.contains("sees shop-a"), "{}", reader.said);
    let list = home.run(&["channel", "list"]).said;
    assert_eq!(
        cells(&list, "slug"),
        [
            "slug",
            "state",
            "secrets",
            "access token",
            "files up to",
            "messages are kept",
            "last webhook",
            "name"
        ]
    );
    assert_eq!(
        cells(&list, "shop-b"),
        [
            "shop-b",
            "active",
            "1",
            "none",
            "200 MiB",
            "no limit",
            "never",
            "shop-b \u{5e97}"
        ]
    );
    let removed = cells(&list, "shop-a");
    assert!(removed[1].starts_with("removed 2"), "{removed:?}");
    assert!(list.find("shop-b") < list.find("shop-a"), "{list}");
    assert!(serve.stop());
}

#[test]
fn the_log_says_what_to_check_where_a_webhook_is_refused() {
    let home = Home::new();
    let (mut serve, dashboard) = archive(&home);
    assert!(run(&home, &["channel", "add", "shop"], Some(ONE), None).success);
    let address = dashboard
        .strip_prefix("http://")
        .unwrap()
        .trim_end_matches('/');
    // A running service learns of the channel within a second.
    while unsigned(address) != 401 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let line = serve.says("webhooks to this channel without a valid signature");
    for words in [
        "Basic settings",
        "channel rotate-secret shop",
        "doctor",
        "channel=\"shop\"",
    ] {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert_eq!(unsigned(address), 401);
    let said = serve.said();
    assert_eq!(
        said.matches("without a valid signature").count(),
        1,
        "{said}"
    );
    assert!(serve.stop());
}

/// The status of the answer to an unsigned webhook.
fn unsigned(address: &str) -> u16 {
    let answer = post(address, "/webhook/shop", "Accept: */*", "{}");
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Sends a body with one additional header; returns the head and the body of the answer.
pub fn post(address: &str, path: &str, header: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
