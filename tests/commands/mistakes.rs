//! Commands name a person's mistake, and do so before they ask for a secret.

use crate::{
    archive,
    channels::ONE,
    operators::{at_terminal, with_password},
    process::{Home, ended, served},
};

#[test]
fn a_wrong_name_is_told_before_a_prompt() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    let mut add = home.program();
    add.args(["channel", "add", "shop"])
        .env("LINE_CHANNEL_SECRET", ONE);
    assert!(ended(add).success);
    assert!(with_password(&home, &["operator", "add", "mika", "--role", "admin"]).success);
    let wrong: &[(&[&str], &str)] = &[
        (
            &["channel", "rotate-secret", "nosuch"],
            "there is no channel nosuch",
        ),
        (&["channel", "add", "shop"], "the slug shop is taken"),
        (
            &["operator", "reset-password", "nosuch"],
            "there is no operator nosuch",
        ),
        (
            &["operator", "add", "mika", "--role", "admin"],
            "the login mika is taken",
        ),
        (
            &[
                "operator",
                "add",
                "aiko",
                "--role",
                "admin",
                "--channel",
                "nosuch",
            ],
            "there is no channel nosuch",
        ),
    ];
    for (args, words) in wrong {
        let refused = at_terminal(&home, args, "");
        assert!(!refused.success, "{args:?}: {}", refused.said);
        assert!(refused.said.contains(words), "{args:?}: {}", refused.said);
        for prompt in ["Password: ", "hannel secret: ", "hannel secret (empty"] {
            assert!(!refused.said.contains(prompt), "{args:?}: {}", refused.said);
        }
    }
    assert!(serve.stop());
}

#[test]
fn who_types_nothing_at_a_prompt_is_told_what_to_paste() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    let empty = at_terminal(&home, &["channel", "add", "shop"], "\n");
    assert!(!empty.success, "{}", empty.said);
    let mut add = home.program();
    add.args(["channel", "add", "shop"])
        .env("LINE_CHANNEL_SECRET", ONE);
    assert!(ended(add).success);
    let neither = at_terminal(&home, &["channel", "rotate-secret", "shop"], "\n\n");
    assert!(!neither.success, "{}", neither.said);
    for said in [empty.said, neither.said] {
        for words in ["nothing was typed", "nothing was changed", "Basic settings"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        for words in ["standard input", "LINE_CHANNEL_SECRET"] {
            assert!(!said.contains(words), "{words}: {said}");
        }
    }
    assert!(serve.stop());
}

#[test]
fn a_second_service_on_one_archive_is_told_of_the_first_and_not_of_its_port() {
    let home = Home::new();
    let (serve, dashboard) = archive(&home);
    let address = dashboard
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let second = home.run(&["serve", "--listen", address]);
    assert!(!second.success);
    for words in [
        format!(
            "another serve (process {}) already works on",
            serve.child.id()
        ),
        home.data().display().to_string(),
    ] {
        assert!(second.said.contains(&words), "{words}: {}", second.said);
    }
    assert!(!second.said.contains("LISTEN"), "{}", second.said);
    // Another archive is told of the port, and nothing is made in it.
    let other = Home::new();
    let refused = other.run(&["serve", "--listen", address]);
    assert!(!refused.success);
    let words = "another program uses it";
    assert!(refused.said.contains(words), "{}", refused.said);
    assert!(!other.data().join("serve.lock").exists());
    assert!(serve.stop());
}

#[test]
fn a_size_that_is_no_number_is_explained() {
    let home = Home::new();
    for size in ["abc", "0", "2049", "1.5"] {
        let refused = home.run(&["channel", "limit", "shop", size]);
        assert!(!refused.success, "{size}");
        let words = "a whole number of MiB, from 1 to 2048";
        assert!(refused.said.contains(words), "{size}: {}", refused.said);
    }
}

#[test]
fn a_key_in_a_directory_that_does_not_exist_is_explained() {
    let home = Home::new();
    let directory = home.dir.path().join("nodir");
    let file = directory.join("k1");
    let refused = home.run(&["keys", "new", file.to_str().unwrap()]);
    assert!(!refused.success);
    let words = format!("there is no directory {}", directory.display());
    assert!(refused.said.contains(&words), "{}", refused.said);
    assert!(!refused.said.contains("entity not found"));
}

#[test]
fn the_help_of_demo_shows_only_settings_that_it_uses() {
    let home = Home::new();
    for args in [&["demo", "--help"][..], &["demo", "-h"], &["help", "demo"]] {
        let help = home.run(args);
        assert!(help.success, "{}", help.said);
        for used in ["--listen", "--run-as", "--log-format"] {
            assert!(help.said.contains(used), "{args:?}, {used}: {}", help.said);
        }
        for ignored in ["--data-dir", "--database-url", "--aws-region"] {
            assert!(!help.said.contains(ignored), "{args:?}: {}", help.said);
        }
    }
    let help = home.run(&["serve", "--help"]);
    assert!(help.said.contains("--data-dir"), "{}", help.said);
}

#[test]
fn every_argument_has_a_text_in_the_help() {
    let home = Home::new();
    for command in [
        &["channel", "add"][..],
        &["channel", "rotate-secret"],
        &["channel", "limit"],
        &["channel", "remove"],
        &["operator", "add"],
        &["operator", "disable"],
        &["operator", "enable"],
        &["operator", "reset-password"],
        &["erasures", "trace"],
        &["keys", "new"],
    ] {
        let help = home.run(&[command, &["-h"]].concat()).said;
        let (_, arguments) = help.split_once("Arguments:\n").unwrap();
        for line in arguments.lines().take_while(|line| !line.is_empty()) {
            let (name, text) = line.trim().split_once(' ').unwrap_or((line, ""));
            assert!(!text.trim().is_empty(), "{command:?}: {name}: {help}");
        }
    }
    let help = home.run(&["doctor", "-h"]).said;
    let words = "1 something is bad (with --strict: or a warning)";
    assert!(help.contains(words), "{help}");
}

#[test]
fn a_service_that_listens_on_every_address_prints_links_that_a_browser_opens() {
    let home = Home::new();
    let mut serve = home.program();
    serve
        .args(["serve", "--listen", "0.0.0.0:0"])
        .env("LINE_CHANNEL_SECRET", ONE);
    let said = served(serve).said;
    assert!(said.contains("Dashboard: http://127.0.0.1:"), "{said}");
    assert!(!said.contains("http://0.0.0.0"), "{said}");
}
