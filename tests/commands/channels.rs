//! Channels: whose secret is whose.

use crate::{
    archive,
    world::{Ended, Home, Running},
};

const ONE: &str = "0123456789abcdef0123456789abcdef";
const TWO: &str = "fedcba9876543210fedcba9876543210";

fn token(letter: &str) -> String {
    letter.repeat(172)
}

fn run(home: &Home, args: &[&str], secret: Option<&str>, token: Option<&str>) -> Ended {
    let mut program = home.program();
    program
        .args(args)
        .envs(secret.map(|secret| ("LINE_CHANNEL_SECRET", secret)))
        .envs(token.map(|token| ("LINE_CHANNEL_ACCESS_TOKEN", token)));
    crate::world::ended(program)
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

    // A shell in which the first channel's secret is still exported.
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

    // The first channel's token, with a new secret: neither is taken.
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
    let osaka = list
        .lines()
        .find(|line| line.starts_with("shop-osaka"))
        .unwrap();
    assert!(osaka.contains("1 secret(s)\tno access token"), "{osaka}");

    // The token alone, while the secret is exported too.
    let said = run(
        &home,
        &["channel", "rotate-secret", "shop-osaka"],
        Some(TWO),
        Some(&token("t")),
    );
    assert!(said.success, "{}", said.said);
    assert!(said.said.contains("Access token replaced"), "{}", said.said);
    let list = home.run(&["channel", "list"]).said;
    let osaka = list
        .lines()
        .find(|line| line.starts_with("shop-osaka"))
        .unwrap();
    assert!(osaka.contains("1 secret(s)\taccess token"), "{osaka}");
    assert!(serve.stop());
}

#[test]
fn serve_says_that_it_does_not_use_another_secret_than_the_stored_one() {
    let home = Home::new();
    for (secret, says) in [(ONE, false), (ONE, false), (TWO, true)] {
        let mut serve = home.program();
        serve
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("LINE_CHANNEL_SECRET", secret);
        let mut serve = Running::start(serve);
        serve.says("no administrator. Make one here");
        let said = serve.said();
        assert_eq!(
            said.contains("LINE_CHANNEL_SECRET is not used"),
            says,
            "{said}"
        );
        assert!(serve.stop());
    }
}

#[test]
fn what_cannot_be_a_secret_a_token_or_an_address_is_told_in_lines_words() {
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
        said.said.contains("too short for a channel access token"),
        "{}",
        said.said
    );
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
        ("ftp://example.com", "https addresses alone"),
    ] {
        let mut serve = home.program();
        serve
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("PUBLIC_URL", url);
        let ended = crate::world::ended(serve);
        assert!(!ended.success);
        assert!(ended.said.contains(words), "{url}: {}", ended.said);
    }
}
