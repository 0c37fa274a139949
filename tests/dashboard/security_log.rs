//! Sign-ins and refusals in the log, and what the log must not contain.

use std::{
    io::Write,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use line_chat_archive::{records::operators, telemetry};
use reqwest::{Method, Response, header};
use sqlx::Executor;

use crate::{
    site::{Site, set_cookie},
    support::{visitor::Visitor, world::PASSWORD},
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log of this process from now on, including that of other tests.
fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let made = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || made.clone());
        telemetry::subscribe(subscriber.finish());
        log
    })
}

/// The lines of the log that contain these words.
fn lines(words: &str) -> Vec<String> {
    let log = log().0.lock().unwrap();
    let text = String::from_utf8_lossy(&log).into_owned();
    let lines = text.lines().filter(|line| line.contains(words));
    lines.map(str::to_owned).collect()
}

/// A request from an address that no other test uses.
async fn post(
    visitor: &Visitor,
    from: &str,
    path: &str,
    form: &[(&str, &str)],
    site: &str,
) -> Response {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    visitor
        .request(Method::POST, path)
        .header("sec-fetch-site", site)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("x-forwarded-for", from)
        .body(form)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn sign_ins_and_refusals_are_logged_with_address_and_without_what_was_typed() {
    log();
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    let id: uuid::Uuid = site.one("select id from operator").await;
    let from = "198.18.7.1";
    let sign_in = async |login: &str, password: &str| {
        let form = [("login", login), ("password", password)];
        post(&site.stranger(), from, "/login", &form, "same-origin").await
    };
    let typed = "my-secret-in-the-wrong-field";
    assert_eq!(sign_in(typed, "guess").await.status(), 401);
    assert_eq!(sign_in("keiko", "my-wrong-secret").await.status(), 401);
    let answer = sign_in("keiko", PASSWORD).await;
    let mut keiko = site.stranger();
    keiko.cookie = set_cookie(&answer, "session");
    let refused = keiko
        .request(Method::GET, "/erasures")
        .header("x-forwarded-for", from);
    assert_eq!(refused.send().await.unwrap().status(), 403);
    let foreign = post(&keiko, from, "/logout", &[], "cross-site").await;
    assert_eq!(foreign.status(), 403);
    assert_eq!(
        post(&keiko, from, "/logout", &[], "same-origin")
            .await
            .status(),
        303
    );
    // Five attempts are accepted, up to the network's tenth within the minute; the rest are refused.
    let mut last = 0;
    for n in 0..12 {
        last = sign_in(&format!("{typed}{n}"), "guess")
            .await
            .status()
            .as_u16();
    }
    assert_eq!(last, 429);

    let own = lines(from);
    let with = |event: &str| -> Vec<&String> {
        let event = format!("event=\"{event}\"");
        own.iter().filter(|line| line.contains(&event)).collect()
    };
    let id = format!("operator={id}");
    for (event, level, is_known) in [
        ("signed_in", " INFO ", true),
        ("role_refused", " WARN ", true),
        ("cross_site_refused", " WARN ", false),
        ("signed_out", " INFO ", true),
        ("throttled", " WARN ", false),
    ] {
        let found = with(event);
        assert!(!found.is_empty(), "{event}: {own:#?}");
        assert!(found[0].contains(level), "{}", found[0]);
        assert_eq!(found[0].contains(&id), is_known, "{}", found[0]);
    }
    let failed = with("sign_in_failed");
    assert!(failed[0].contains(" WARN ") && !failed[0].contains("operator="));
    assert!(failed[1].contains(&id), "a login that there is, by its id");
    for secret in [typed, "my-wrong-secret", PASSWORD, "keiko"] {
        assert!(!own.iter().any(|line| line.contains(secret)), "{secret}");
    }
    assert!(lines(" ERROR ").iter().all(|line| !line.contains(from)));
}

#[tokio::test]
async fn a_flood_of_one_kind_is_ten_lines_and_a_count() {
    log();
    let site = Site::new().await;
    let refuse = async |from: &str| {
        let answer = post(&site.stranger(), from, "/logout", &[], "cross-site").await;
        assert_eq!(answer.status(), 403);
    };
    for _ in 0..57 {
        refuse("198.18.7.2").await;
    }
    assert_eq!(lines("198.18.7.2").len(), 10);
    site.clock.advance(Duration::from_secs(61));
    refuse("198.18.7.3").await;
    assert_eq!(lines("198.18.7.3").len(), 1, "the next minute's first");
    assert_eq!(
        lines("more=47").len(),
        1,
        "and the count of what was left out"
    );
}

#[tokio::test]
async fn the_setup_link_a_forged_row_and_a_cut_stream_are_logged() {
    log();
    let site = Site::new().await;
    let link = line_chat_archive::web::setup_link(&site.service.shared)
        .await
        .ok()
        .unwrap();
    let token = link.query_pairs().next().unwrap().1.into_owned();
    let from = "198.18.7.4";
    let form = [
        ("token", token.as_str()),
        ("login", "aoi"),
        ("password", PASSWORD),
        ("again", PASSWORD),
    ];
    let made = post(&site.stranger(), from, "/setup", &form, "same-origin").await;
    assert_eq!(made.status(), 303);
    let mut aoi = site.stranger();
    aoi.cookie = set_cookie(&made, "session");
    site.db()
        .await
        .execute("update operator set role = 'operator'")
        .await
        .unwrap();
    let forged = aoi
        .request(Method::GET, "/conversations")
        .header("x-forwarded-for", from);
    assert_eq!(forged.send().await.unwrap().status(), 303);
    let own = lines(from);
    for event in ["setup_link_used", "forged_row"] {
        assert!(
            own.iter().any(|line| line.contains(event)),
            "{event}: {own:#?}"
        );
    }
    assert!(!own.iter().any(|line| line.contains(&token)));

    let mut db = site.db().await;
    sqlx::query("delete from operator")
        .execute(&mut db)
        .await
        .unwrap();
    site.operator("mia", "admin", None).await;
    let before = lines("session_ended").len();
    let mia = site.visitor("mia").await;
    let stream = mia.get("/live").await;
    let now = site.clock.now();
    operators::disable(&mut db, &site.keyring, "mia", now)
        .await
        .unwrap();
    stream.text().await.ok();
    assert!(lines("session_ended").len() > before);
}
