//! A form whose head arrived while its sender was signed in, and whose end comes after the session ended, does nothing.

use std::time::Duration;

use line_chat_archive::records::operators;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

use crate::{
    site::Site,
    support::{visitor::Visitor, world::PASSWORD},
};

const SOON: Duration = Duration::from_secs(20);

/// How a session ends while a form is on its way.
#[derive(Clone, Copy, Debug)]
enum End {
    Disable,
    Reset,
    SignOut,
}

/// Sends all but the last byte of a form, and waits until its session was looked up.
async fn begun(site: &Site, visitor: &Visitor, path: &str, form: &str) -> TcpStream {
    // A request two minutes after the last one records when it came.
    site.clock.advance(Duration::from_secs(120));
    let cookie = visitor.cookie.as_deref().unwrap();
    let host = site.service.address;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    let mut stream = TcpStream::connect(host).await.unwrap();
    let all_but_one = &form[..form.len() - 1];
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(all_but_one.as_bytes()).await.unwrap();
    let now = site.clock.now();
    let seen = async {
        let mut db = site.db().await;
        let query = "select exists (select from session where last_seen_at = $1)";
        while !sqlx::query_scalar(query)
            .bind(now)
            .fetch_one(&mut db)
            .await
            .unwrap_or(false)
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, seen).await.expect("the head arrives");
    stream
}

/// Sends the last byte, and returns the status of the answer.
async fn ended(mut stream: TcpStream, form: &str) -> u16 {
    let last = &form.as_bytes()[form.len() - 1..];
    stream.write_all(last).await.unwrap();
    let mut answer = vec![];
    timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_form_that_ends_after_its_session_does_nothing() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    aoi.sends_text("stays").await.unwrap();
    site.run_jobs().await;
    let id = async |table: &'static str| -> Uuid { site.one(table).await };
    let conversation = id("select id from conversation").await;
    let message = id("select id from message").await;
    let contact = id("select id from contact").await;
    let forms = [
        (
            format!("/messages/{message}/erase"),
            "reason=unlawful".to_owned(),
        ),
        (
            format!("/conversations/{conversation}/erase"),
            "reason=unlawful".to_owned(),
        ),
        (format!("/contacts/{contact}/erase"), "sure=on".to_owned()),
        (
            "/holds".to_owned(),
            format!("conversation={conversation}&reason=case&covers=rules"),
        ),
        (
            "/retention".to_owned(),
            "channel=1&kind=text&days=30".to_owned(),
        ),
    ];
    let done = "select (select count(*) from erasure) + (select count(*) from hold)
         + (select count(*) from retention_rule) + (select count(*) from subject_request)";
    for (number, (path, form)) in forms.iter().enumerate() {
        for end in [End::Disable, End::Reset, End::SignOut] {
            let login = format!("rei-{number}-{end:?}").to_lowercase();
            site.operator(&login, "compliance", None).await;
            let rei = site.visitor(&login).await;
            let stream = begun(&site, &rei, path, form).await;
            match end {
                End::Disable => {
                    let (mut db, now) = (site.db().await, site.clock.now());
                    let done = operators::disable(&mut db, &site.keyring, &login, now).await;
                    done.unwrap().yes().unwrap();
                }
                End::Reset => site.reset_password(&login, PASSWORD).await,
                End::SignOut => drop(rei.post("/logout", &[]).await),
            }
            assert_eq!(ended(stream, form).await, 401, "{path} {end:?}");
            assert_eq!(site.one::<i64>(done).await, 0, "{path} {end:?}");
        }
    }
    // The same forms in a session that goes on do something, so the test above would have seen it.
    site.operator("rei", "compliance", None).await;
    let rei = site.visitor("rei").await;
    let mut before = 0;
    for (path, form) in forms.iter().rev() {
        let stream = begun(&site, &rei, path, form).await;
        assert_eq!(ended(stream, form).await, 303, "{path}");
        let now: i64 = site.one(done).await;
        // The hold stops the orders to erase, which are answered by a page that says so.
        let is_held = path.starts_with("/conversations") || path.starts_with("/messages");
        assert_eq!(now > before, !is_held, "{path}");
        before = now;
    }
}
