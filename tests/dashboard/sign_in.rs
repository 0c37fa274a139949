//! Signing in, staying signed in, and signing out.

use std::time::Duration;

use line_chat_archive::{
    records::{attested::Found, operators, sessions},
    web::{self, Token},
};
use reqwest::{Method, StatusCode, header};

use crate::{
    site::Site,
    support::{visitor::cookie_of, world::PASSWORD},
};

#[tokio::test]
async fn a_session_begins_with_the_right_password_and_ends_on_the_server() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    let mut keiko = site.stranger();

    let asked = keiko.get("/conversations?channel=shop").await;
    assert_eq!(asked.status(), StatusCode::SEE_OTHER);
    let to = "/login?next=%2Fconversations%3Fchannel%3Dshop";
    assert_eq!(asked.headers()[header::LOCATION], to);
    assert!(
        keiko
            .page(to)
            .await
            .contains(r#"value="/conversations?channel=shop""#)
    );

    let planted = format!(
        "session={}",
        Token::random(site.keyring.attestation()).text()
    );
    keiko.cookie = Some(planted.clone());
    let form = [
        ("login", " Keiko "),
        ("password", PASSWORD),
        ("next", "/conversations?channel=shop"),
    ];
    let answer = keiko.post("/login", &form).await;
    assert_eq!(
        answer.headers()[header::LOCATION],
        "/conversations?channel=shop"
    );
    let set = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(set.ends_with("; HttpOnly; SameSite=Lax; Path=/"), "{set}");
    let cookie = cookie_of(&answer);
    assert_ne!(cookie, planted, "a planted token is not adopted");

    assert_eq!(
        keiko.status("/conversations").await,
        303,
        "the planted one is worth nothing"
    );
    keiko.cookie = Some(format!("{planted}; {cookie}"));
    assert_eq!(keiko.status("/conversations").await, 303, "of two, none");
    keiko.cookie = Some(cookie);
    assert_eq!(keiko.status("/conversations").await, 200);
    let other = site.visitor("keiko").await;
    assert_ne!(
        other.cookie, keiko.cookie,
        "each sign-in has a token of its own"
    );

    let left = keiko.post("/logout", &[]).await;
    assert_eq!(left.headers()[header::LOCATION], "/login");
    assert!(
        left.headers()[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(
        keiko.status("/conversations").await,
        303,
        "the old cookie is worth nothing"
    );
    assert_eq!(
        other.status("/conversations").await,
        200,
        "the other session goes on"
    );
}

#[tokio::test]
async fn an_unknown_login_is_answered_as_a_wrong_password_is() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    let mut answers = vec![];
    for login in ["keiko", "nobody"] {
        let answer = site.stranger().sign_in(login, "not the password").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(answer.headers().get(header::SET_COOKIE).is_none());
        answers.push(answer.text().await.unwrap().replace(login, ""));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn guessing_is_slowed_for_one_login_and_time_heals_it() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    site.operator("ken", "operator", None).await;
    let guesser = site.stranger();
    for _ in 0..5 {
        assert_eq!(
            guesser.sign_in("keiko", "a wrong password").await.status(),
            401
        );
    }
    let refused = guesser.sign_in("keiko", PASSWORD).await;
    assert_eq!(refused.status(), 429, "the right one too");
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    assert_eq!(
        guesser.sign_in("ken", PASSWORD).await.status(),
        303,
        "nobody else is meant"
    );
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(guesser.sign_in("keiko", PASSWORD).await.status(), 303);
}

#[tokio::test]
async fn behind_a_proxy_the_guesser_waits_and_the_owner_does_not() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    let through_proxy = async |said: &str, password: &str| {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("login", "keiko"), ("password", password)])
            .finish();
        let stranger = site.stranger();
        let request = stranger
            .request(Method::POST, "/login")
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("x-forwarded-for", said)
            .body(form);
        request.send().await.unwrap().status().as_u16()
    };
    for invented in 0..5 {
        let said = format!("198.51.100.{invented}, 203.0.113.{invented}");
        assert_eq!(through_proxy(&said, "guess").await, 401);
    }
    assert_eq!(through_proxy("192.0.2.7, 203.0.113.9", PASSWORD).await, 429);
    assert_eq!(through_proxy("192.0.2.7", PASSWORD).await, 303);
}

#[tokio::test]
async fn a_session_ends_when_idle_and_after_twelve_hours() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    let idle = site.visitor("keiko").await;
    let busy = site.visitor("keiko").await;
    let minutes = |n: u64| Duration::from_secs(60 * n);

    site.clock.advance(minutes(20));
    assert_eq!(busy.status("/conversations").await, 200);
    let refresh = idle
        .request(Method::GET, "/conversations")
        .header("x-refresh", "1");
    assert_eq!(refresh.send().await.unwrap().status(), 200);
    site.clock.advance(minutes(11));
    assert_eq!(busy.status("/conversations").await, 200);
    assert_eq!(
        idle.status("/conversations").await,
        303,
        "what a page does by itself does not keep it alive"
    );

    for _ in 0..34 {
        site.clock.advance(minutes(20));
        assert_eq!(busy.status("/conversations").await, 200);
    }
    site.clock.advance(minutes(10));
    assert_eq!(
        busy.status("/conversations").await,
        303,
        "twelve hours after sign-in"
    );
}

#[tokio::test]
async fn who_is_disabled_or_has_a_new_password_is_out_at_once() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    site.operator("ken", "operator", None).await;
    let (keiko, ken) = (site.visitor("keiko").await, site.visitor("ken").await);
    let mut db = site.db().await;
    assert!(
        operators::disable(&mut db, &site.keyring, "keiko", site.clock.now())
            .await
            .unwrap()
            .yes()
            .is_some()
    );
    assert_eq!(keiko.status("/conversations").await, 303);
    assert_eq!(keiko.sign_in("keiko", PASSWORD).await.status(), 401);
    let hash = web::password::hash("another long password").unwrap();
    assert!(
        operators::set_password(&mut db, &site.keyring, "ken", &hash)
            .await
            .unwrap()
            .yes()
            .is_some()
    );
    assert_eq!(ken.status("/conversations").await, 303);
    assert_eq!(
        ken.sign_in("ken", "another long password").await.status(),
        303
    );
}

#[tokio::test]
async fn what_is_no_page_is_told_to_sign_in_or_that_the_session_has_ended() {
    let site = Site::new().await;
    let mut stranger = site.stranger();
    for (cookie, words) in [
        (None, "Sign in first"),
        (Some("session=invented"), "Your session has ended"),
    ] {
        stranger.cookie = cookie.map(str::to_owned);
        for path in [
            "/conversations",
            "/live",
            "/erasures",
            "/attachments/00000000-0000-0000-0000-000000000000",
        ] {
            let request = stranger
                .request(Method::GET, path)
                .header("sec-fetch-dest", "empty");
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{path}");
            let page = answer.text().await.unwrap();
            assert!(page.contains(words), "{path}: {page}");
        }
    }
}

#[tokio::test]
async fn the_setup_link_makes_one_administrator_once() {
    let site = Site::new().await;
    let link = web::setup_link(&site.service.shared).await.unwrap();
    let path = format!("{}?{}", link.path(), link.query().unwrap());
    let token = link.query_pairs().next().unwrap().1.into_owned();
    let somebody = site.stranger();
    assert!(
        somebody
            .page(&path)
            .await
            .contains("makes one administrator")
    );
    assert_eq!(somebody.status("/setup?token=x").await, 404);

    let form = |password: String| {
        [
            ("token", token.clone()),
            ("login", "Keiko".to_owned()),
            ("password", password.clone()),
            ("again", password),
        ]
    };
    let post = async |password: &str| {
        let form = form(password.to_owned());
        let form: Vec<_> = form
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        somebody.post("/setup", &form).await
    };
    let short = post("short").await;
    assert_eq!(short.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        short
            .text()
            .await
            .unwrap()
            .contains("at least 12 characters")
    );
    let differs = [
        ("token", token.as_str()),
        ("login", "Keiko"),
        ("password", PASSWORD),
        ("again", "another long password"),
    ];
    let differs = somebody.post("/setup", &differs).await;
    assert_eq!(differs.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = differs.text().await.unwrap();
    assert!(page.contains("the two passwords differ"), "{page}");
    assert_eq!(
        somebody.status(&path).await,
        200,
        "a slip does not use the link up"
    );

    let made = post(PASSWORD).await;
    assert_eq!(made.headers()[header::LOCATION], "/conversations");
    let mut admin = somebody.clone();
    admin.cookie = Some(cookie_of(&made));
    assert_eq!(
        admin.status("/erasures").await,
        200,
        "an administrator, and signed in"
    );
    assert_eq!(post(PASSWORD).await.status(), 404);
    assert_eq!(somebody.status(&path).await, 404);
    let operators = operators::list(&mut site.db().await, &site.keyring)
        .await
        .unwrap();
    assert_eq!(operators.len(), 1);
    assert_eq!(
        (operators[0].login.as_str(), operators[0].role.as_str()),
        ("keiko", "admin")
    );
}

#[tokio::test]
async fn the_setup_link_ends_after_a_day_and_with_the_next_one() {
    let site = Site::new().await;
    let now = site.clock.now();
    let mut db = site.db().await;
    let (first, second) = (
        Token::random(site.keyring.attestation()),
        Token::random(site.keyring.attestation()),
    );
    let day = chrono::TimeDelta::days(1);
    sessions::make_setup_link(&mut db, &site.keyring, &first.hash(), now + day)
        .await
        .unwrap();
    sessions::make_setup_link(&mut db, &site.keyring, &second.hash(), now + day)
        .await
        .unwrap();
    assert!(
        sessions::setup_link_lives(&mut db, &site.keyring, &first.hash(), now)
            .await
            .unwrap()
            == Found::No
    );
    assert!(
        sessions::setup_link_lives(&mut db, &site.keyring, &second.hash(), now)
            .await
            .unwrap()
            == Found::Yes(())
    );
    assert!(
        sessions::use_setup_link(&mut db, &site.keyring, &second.hash(), now + day)
            .await
            .unwrap()
            == Found::No
    );
}

#[tokio::test]
async fn behind_https_the_cookie_is_bound_to_it() {
    let site = Site::seen_at("https://archive.test/").await;
    site.operator("keiko", "operator", None).await;
    let answer = site.stranger().sign_in("keiko", PASSWORD).await;
    let set = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(set.starts_with("__Host-session="), "{set}");
    assert!(
        set.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"),
        "{set}"
    );
}

#[tokio::test]
async fn the_setup_link_ends_with_the_first_administrator_however_they_came() {
    let site = Site::new().await;
    let link = web::setup_link(&site.service.shared).await.ok().unwrap();
    let path = format!("{}?{}", link.path(), link.query().unwrap());
    assert_eq!(site.stranger().status(&path).await, 200);
    site.operator("mika", "operator", None).await;
    assert_eq!(
        site.stranger().status(&path).await,
        200,
        "they cannot administer"
    );
    site.operator("aiko", "admin", None).await;
    assert_eq!(site.stranger().status(&path).await, 404);
    let token = link.query_pairs().next().unwrap().1.into_owned();
    let form = [
        ("token", token.as_str()),
        ("login", "eve"),
        ("password", PASSWORD),
        ("again", PASSWORD),
    ];
    assert_eq!(site.stranger().post("/setup", &form).await.status(), 404);
}

#[tokio::test]
async fn a_login_with_control_characters_is_a_wrong_login() {
    let site = Site::new().await;
    let form = [("login", "ke\0iko\r\n"), ("password", PASSWORD)];
    assert_eq!(site.stranger().post("/login", &form).await.status(), 401);
}

#[tokio::test]
async fn a_form_that_does_not_come_to_its_end_is_not_waited_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let site = Site::new().await;
    let mut slow = tokio::net::TcpStream::connect(site.service.address)
        .await
        .unwrap();
    let head = "POST /login HTTP/1.1\r\nhost: x\r\nsec-fetch-site: same-origin\r\n\
        content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\nlogin=";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 16];
    let within = Duration::from_secs(15);
    tokio::time::timeout(within, slow.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"));
}
