//! Sessions end at once and everywhere: when a password is reset, when an operator is disabled, and on sign-out.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use line_chat_archive::{
    records::{
        attested::Found,
        operators::{self, NewOperator},
        sessions,
    },
    web::Token,
};
use reqwest::Response;
use sqlx::Connection;
use tokio::time::timeout;

use crate::{
    live::{listen, settled},
    site::Site,
    support::{visitor::Visitor, world::PASSWORD},
};

/// The limit within which open streams and downloads end. The promise is a second; the rest is for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn no_session_of_the_old_password_outlives_a_reset_that_it_races_with() {
    let site = Arc::new(Site::new().await);
    site.operator("keiko", "operator", None).await;
    let mut db = site.db().await;
    let mut won = 0;
    for round in 0..40 {
        let old = operators::credentials(&mut db, &site.keyring, "keiko")
            .await
            .unwrap();
        let old = old.yes().unwrap();
        let opening: Vec<_> = (0..8)
            .map(|_| {
                let site = Arc::clone(&site);
                let who = (old.id, old.version);
                tokio::spawn(async move {
                    let (token, now) =
                        (Token::random(site.keyring.attestation()), site.clock.now());
                    let mut db = site.service.pool.acquire().await.unwrap();
                    sessions::begin(&mut db, &site.keyring, &token.hash(), who, now)
                        .await
                        .unwrap()
                })
            })
            .collect();
        let hash = format!("hash {round}");
        let reset = operators::set_password(&mut db, &site.keyring, "keiko", &hash).await;
        assert!(matches!(reset, Ok(Found::Yes(_))));
        for begun in opening {
            won += u32::from(begun.await.unwrap());
        }
        let left: i64 = site.one("select count(*) from session").await;
        assert_eq!(left, 0, "round {round}");
    }
    assert!(
        won > 0,
        "some were opened before the reset, or nothing was tried"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_that_race_with_a_reset_open_nothing() {
    let site = Arc::new(Site::new().await);
    site.operator("keiko", "operator", None).await;
    let tries: Vec<_> = (0..5)
        .map(|_| {
            let site = Arc::clone(&site);
            tokio::spawn(async move {
                let answer = site.stranger().sign_in("keiko", PASSWORD).await;
                crate::site::set_cookie(&answer, "session")
            })
        })
        .collect();
    // The sign-ins are still waiting for their password hashes.
    tokio::time::sleep(Duration::from_millis(15)).await;
    site.reset_password("keiko", "another long password").await;
    for cookie in tries {
        let mut visitor = site.stranger();
        visitor.cookie = cookie.await.unwrap();
        assert_eq!(visitor.status("/conversations").await, 303);
    }
    assert_eq!(site.one::<i64>("select count(*) from session").await, 0);
}

#[tokio::test]
async fn an_operator_who_is_disabled_while_the_password_is_hashed_gets_no_session() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    let (mut db, now) = (site.db().await, site.clock.now());
    let found = operators::credentials(&mut db, &site.keyring, "keiko")
        .await
        .unwrap();
    let keiko = found.yes().unwrap();
    operators::disable(&mut db, &site.keyring, "keiko", now)
        .await
        .unwrap();
    let who = (keiko.id, keiko.version);
    let hash = Token::random(site.keyring.attestation()).hash();
    let begun = sessions::begin(&mut db, &site.keyring, &hash, who, now).await;
    assert!(!begun.unwrap());
    operators::rehash(&mut db, &site.keyring, &keiko, "old")
        .await
        .unwrap();
    let stored: String = site.one("select password_hash from operator").await;
    assert_ne!(stored, "old", "nor is a hash of before written");
}

#[tokio::test]
async fn a_setup_link_is_not_used_while_an_administrator_is_being_added() {
    let site = Site::new().await;
    let (token, now) = (Token::random(site.keyring.attestation()), site.clock.now());
    let mut db = site.db().await;
    let later = now + chrono::TimeDelta::hours(1);
    sessions::make_setup_link(&mut db, &site.keyring, &token.hash(), later)
        .await
        .unwrap();
    let mut tx = db.begin().await.unwrap();
    let new = NewOperator {
        login: "mika",
        password_hash: "x",
        role: "admin",
        channels: None,
    };
    let added = operators::add(&mut tx, &site.keyring, &new, now).await;
    assert!(added.unwrap().is_some());
    let mut other = site.db().await;
    let hash = token.hash();
    let used = sessions::use_setup_link(&mut other, &site.keyring, &hash, now);
    let mut used = std::pin::pin!(used);
    let waits = timeout(Duration::from_millis(200), &mut used).await;
    assert!(waits.is_err(), "it waits for who is being added");
    tx.commit().await.unwrap();
    assert_eq!(used.await.unwrap(), Found::No);
}

#[tokio::test]
async fn an_operator_has_twenty_sessions_and_the_oldest_ends() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    site.operator("ken", "operator", None).await;
    let ken = site.visitor("ken").await;
    let mut visitors = vec![];
    for _ in 0..22 {
        site.clock.advance(Duration::from_secs(1));
        visitors.push(site.visitor("keiko").await);
    }
    let mut alive = vec![];
    for visitor in &visitors {
        alive.push(visitor.status("/conversations").await == 200);
    }
    assert_eq!(alive[..3], [false, false, true]);
    assert_eq!(alive.iter().filter(|alive| **alive).count(), 20);
    assert_eq!(ken.status("/conversations").await, 200);
}

/// Whether the stream ends or breaks within [`AT_ONCE`].
async fn ends(answer: Response) -> bool {
    let mut body = answer.bytes_stream();
    let to_the_end = async { while body.next().await.is_some_and(|part| part.is_ok()) {} };
    timeout(AT_ONCE, to_the_end).await.is_ok()
}

/// The download of a file that is larger than the socket buffers, after its first chunk was read; and the file's size.
async fn download(site: &Site, visitor: &Visitor) -> (Response, usize) {
    let size = 48 << 20;
    let id: uuid::Uuid = match site.one::<i64>("select count(*) from attachment").await {
        0 => {
            let mut file = vec![0_u8; size];
            file[..4].copy_from_slice(b"%PDF");
            let aoi = site.shop.user("Aoi");
            aoi.sends_file("large.pdf", file).await.unwrap();
            site.run_jobs().await;
            site.one("select id from attachment").await
        }
        _ => site.one("select id from attachment").await,
    };
    let mut answer = visitor.get(&format!("/attachments/{id}")).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.chunk().await.unwrap().is_some());
    (answer, size)
}

/// The number of bytes that still arrive before the connection is cut; `None` if it is not cut.
async fn rest(mut answer: Response) -> Option<usize> {
    let mut bytes = 0;
    loop {
        match timeout(AT_ONCE, answer.chunk()).await {
            Ok(Ok(Some(part))) => bytes += part.len(),
            Ok(Ok(None)) | Err(_) => return None,
            Ok(Err(_)) => return Some(bytes),
        }
    }
}

#[tokio::test]
async fn streams_and_downloads_end_with_the_session_however_it_ends() {
    let site = Site::new().await;
    site.operator("mia", "admin", None).await;
    let stays = site.visitor("mia").await;
    site.operator("keiko", "admin", None).await;
    let page = settled(&stays, "/conversations").await;
    for how in ["sign-out", "reset", "disable"] {
        let keiko = site.visitor("keiko").await;
        let stream = listen(&keiko, &page).await;
        let (file, size) = download(&site, &keiko).await;
        let (kept, _) = download(&site, &stays).await;
        match how {
            "sign-out" => {
                // In another tab, with the same cookie.
                let left = keiko.clone().post("/logout", &[]).await;
                assert_eq!(left.status(), 303);
            }
            "reset" => site.reset_password("keiko", PASSWORD).await,
            _ => {
                let (mut db, now) = (site.db().await, site.clock.now());
                let done = operators::disable(&mut db, &site.keyring, "keiko", now).await;
                assert!(matches!(done, Ok(Found::Yes(_))));
            }
        }
        assert!(ends(stream).await, "{how}: the live stream");
        let more = rest(file).await;
        assert!(more.is_some_and(|more| more < size / 2), "{how}: {more:?}");
        assert!(
            rest(kept).await.is_none(),
            "{how}: another's download goes on"
        );
    }
}

#[tokio::test]
async fn a_session_that_ended_while_the_database_was_not_heard_is_noticed_after() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let page = settled(&admin, "/conversations").await;
    let stream = listen(&admin, &page).await;
    let mut db = site.db().await;
    // Deletes the sessions without a notification, as if it was lost; then the listener's connection breaks.
    sqlx::query("delete from session")
        .execute(&mut db)
        .await
        .unwrap();
    let listener = "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where datname = current_database() and query ilike 'listen%'";
    let ended: i64 = sqlx::query_scalar(listener)
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(ended, 1);
    assert!(ends(stream).await);
}
