//! What the caller's surroundings may and may not change.

use crate::{
    archive,
    world::{Home, Running},
};

#[test]
fn empty_variables_are_unset_and_postgresqls_have_no_say() {
    let home = Home::new();
    let mut serve = home.program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    for name in [
        "PUBLIC_URL",
        "DATABASE_URL",
        "OBJECTS_URL",
        "KEYRING_URL",
        "SECRET_KEY_FILE",
        "LEDGER_COPIES",
        "RUN_AS",
        "LINE_CHANNEL_SECRET",
        "LINE_CHANNEL_ACCESS_TOKEN",
        "LINE_API_URL",
        "TRUSTED_PROXIES",
        "EXTERNAL_CONTENT",
        "STICKER_CDN",
        "LOG_FORMAT",
        "RUST_LOG",
        "AWS_ENDPOINT",
    ] {
        serve.env(name, "");
    }
    for (name, value) in [
        ("PGOPTIONS", "-c default_transaction_read_only=on"),
        ("PGHOST", "db.example.com"),
        ("PGPORT", "1"),
        ("PGUSER", "somebody"),
        ("PGDATABASE", "template1"),
        ("PGDATA", "/nowhere"),
        ("PGSSLMODE", "disable"),
    ] {
        serve.env(name, value);
    }
    let mut serve = Running::start(serve);
    let dashboard = serve.says("Dashboard: ");
    assert!(dashboard.starts_with("http://127.0.0.1:"), "{dashboard}");
    assert!(serve.stop());
}

#[test]
fn what_goes_into_a_pipe_has_no_colours() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    let list = home.run(&["channel", "remove", "absent"]);
    assert!(!list.success);
    for said in [serve.said(), list.said] {
        assert!(!said.contains('\u{1b}'), "{said:?}");
        assert!(said.lines().count() > 0);
    }
    assert!(serve.stop());
}
