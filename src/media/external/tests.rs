//! Fetches internal addresses, in many spellings, against a server that counts connections.

mod addresses;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use self::addresses::ADDRESSES;
use super::*;

/// Listens on every address of this machine, and counts connections.
struct Canary {
    port: u16,
    hits: Arc<AtomicUsize>,
}

impl Canary {
    async fn new() -> Self {
        // Both address families, if the machine has both.
        let listener = match TcpListener::bind("[::]:0").await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind("0.0.0.0:0").await.unwrap(),
        };
        let port = listener.local_addr().unwrap().port();
        let hits = Arc::new(AtomicUsize::new(0));
        let count = hits.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, hits }
    }

    /// Connections so far. The listener accepts them in order: once our own connection is counted, all earlier ones are
    /// too.
    async fn hits(&self) -> usize {
        let before = self.hits.load(Ordering::SeqCst);
        let mut own = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        assert_eq!(own.read(&mut [0]).await.unwrap(), 0);
        let now = self.hits.load(Ordering::SeqCst);
        assert!(now > before, "the canary counts");
        self.hits.store(now - 1, Ordering::SeqCst);
        now - 1
    }

    /// A client as guarded as the one of `serve`, except that it allows the canary's port.
    fn guarded(&self, names: &Names) -> External {
        guarded(Bounds {
            lookup: names.lookup(),
            port: self.port,
            ..Bounds::default()
        })
    }
}

/// A name server whose answers change from query to query; the last answer repeats.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<HashMap<String, (usize, Answers)>>>);

type Answers = Vec<Vec<IpAddr>>;

impl Names {
    fn answer(&self, name: &str, answers: &[&[&str]]) {
        let answers = answers
            .iter()
            .map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect());
        let mut names = self.0.lock().unwrap();
        names.insert(name.to_owned(), (0, answers.collect()));
    }

    fn asked(&self, name: &str) -> usize {
        self.0.lock().unwrap()[name].0
    }

    fn lookup(&self) -> Lookup {
        let names = self.0.clone();
        Arc::new(move |name| {
            let mut names = names.lock().unwrap();
            let found = names.get_mut(&name).map(|(asked, answers)| {
                let answer = answers[(*asked).min(answers.len() - 1)].clone();
                *asked += 1;
                answer
            });
            Box::pin(async move { found.ok_or(std::io::ErrorKind::NotFound.into()) })
        })
    }
}

fn provide() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn guarded(bounds: Bounds) -> External {
    provide();
    External::within(Reach::Guarded, bounds).unwrap()
}

fn anywhere() -> External {
    provide();
    External::new(Reach::Anywhere).unwrap()
}

/// Sends `answer` to the first client, and then zeros until the client stops reading (`endless`), or nothing.
async fn server(answer: String, endless: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
        while endless && stream.write_all(&[0; 65536]).await.is_ok() {}
        // Waits until the client closes the connection.
        let _ = stream.read(&mut [0]).await;
    });
    address
}

#[tokio::test]
async fn none_of_all_these_addresses_is_connected_to() {
    assert!(ADDRESSES.len() >= 150, "{}", ADDRESSES.len());
    let canary = Canary::new().await;
    let names = Names::default();
    for (name, ip) in addresses::NAMES {
        names.answer(name, &[&[*ip]]);
    }
    let guarded = canary.guarded(&names);
    let mut wrong = vec![];
    for address in ADDRESSES {
        let address = address.replace("PORT", &canary.port.to_string());
        let refused = guarded.fetch(&address, Giver::Sender, 1).await;
        if !matches!(refused, Err(FetchError::Failed(Reason::Address))) {
            wrong.push((address, refused));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(canary.hits().await, 0);
}

#[tokio::test]
async fn the_canary_is_where_these_addresses_lead() {
    let canary = Canary::new().await;
    for host in ["127.1", "0x7f.0.0.1", "2130706433", "127.0.0.1.", "0.0.0.0"] {
        let open = anywhere();
        let address = format!("https://{host}:{}/", canary.port);
        let failed = open.fetch(&address, Giver::Sender, 1).await;
        assert!(
            matches!(failed, Err(FetchError::NotYet(_))),
            "{host}: {failed:?}"
        );
    }
    assert_eq!(canary.hits().await, 5, "unguarded, each of them is a hit");
}

/// A public address that nobody has: 3ffe::/16 was given back when the first IPv6 network, the 6bone, was closed.
const OUTSIDE: &str = "3ffe::1";

#[tokio::test]
async fn a_name_that_answers_otherwise_the_second_time_gains_nothing() {
    let canary = Canary::new().await;
    let names = Names::default();
    let guarded = guarded(Bounds {
        lookup: names.lookup(),
        port: canary.port,
        in_all: Duration::from_millis(200),
        ..Bounds::default()
    });
    for (name, answers) in [
        ("rebinds.example", &[&[OUTSIDE][..], &["127.0.0.1"]][..]),
        ("rebinds6.example", &[&[OUTSIDE], &["::1"]]),
        ("mapped.example", &[&[OUTSIDE], &["::ffff:127.0.0.1"]]),
        ("mixed.example", &[&[OUTSIDE, "127.0.0.1"]]),
        ("mixed6.example", &[&["::1", OUTSIDE, "0.0.0.0"]]),
        (
            "back.example",
            &[&["127.0.0.1"], &[OUTSIDE], &["127.0.0.1"]],
        ),
    ] {
        names.answer(name, answers);
        let address = format!("https://{name}:{}/", canary.port);
        for asked in 1..=3 {
            let missed = guarded.fetch(&address, Giver::Sender, 1).await;
            let inside = !answers[(asked - 1).min(answers.len() - 1)].contains(&OUTSIDE);
            match missed {
                Err(FetchError::Failed(Reason::Address)) if inside => {}
                Err(FetchError::NotYet(Reason::Trouble)) if !inside => {}
                other => panic!("{name}, question {asked}: {other:?}"),
            }
            assert_eq!(names.asked(name), asked, "one question for one connection");
        }
    }
    assert_eq!(canary.hits().await, 0);
}

#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let canary = Canary::new().await;
    for status in [300, 301, 302, 303, 305, 307, 308] {
        for to in [
            "http://127.0.0.1:PORT/",
            "//127.1:PORT/",
            "https://[::1]:PORT/",
        ] {
            let to = to.replace("PORT", &canary.port.to_string());
            let answer = format!(
                "HTTP/1.1 {status} x\r\nlocation: {to}\r\nrefresh: 0; url={to}\r\ncontent-length: 0\r\n\r\n"
            );
            let address = format!("http://{}/", server(answer, false).await);
            let refused = anywhere().fetch(&address, Giver::Sender, 1).await;
            assert!(
                matches!(refused, Err(FetchError::Failed(Reason::Rejected))),
                "{status} {to}: {refused:?}"
            );
        }
    }
    assert_eq!(canary.hits().await, 0);
}

#[tokio::test]
async fn a_server_that_never_ends_and_one_that_never_goes_on_are_left() {
    let endless = "HTTP/1.1 200 x\r\ncontent-type: image/png\r\n\r\n".to_owned();
    let address = format!("http://{}/", server(endless, true).await);
    let left = anywhere().fetch(&address, Giver::Sender, 1).await;
    assert!(
        matches!(left, Err(FetchError::Failed(Reason::TooLarge))),
        "{left:?}"
    );

    provide();
    let in_all = Bounds {
        in_all: Duration::from_millis(200),
        ..Bounds::default()
    };
    let silence = Bounds {
        silence: Duration::from_millis(200),
        ..Bounds::default()
    };
    for bounds in [in_all, silence] {
        let hurried = External::within(Reach::Anywhere, bounds).unwrap();
        for begun in [
            "",
            "HTTP/1.1 200 x\r\n",
            "HTTP/1.1 200 x\r\ncontent-length: 10\r\n\r\n123",
        ] {
            let address = format!("http://{}/", server(begun.to_owned(), false).await);
            let asked = Instant::now();
            let left = hurried.fetch(&address, Giver::Sender, 1).await;
            assert!(
                matches!(left, Err(FetchError::NotYet(Reason::Trouble))),
                "{begun:?}: {left:?}"
            );
            assert!(asked.elapsed() < Duration::from_secs(3), "{begun:?}");
        }
    }
}

#[test]
fn only_plain_https_to_the_outside_is_allowed() {
    let guarded = guarded(Bounds::default());
    for good in [
        "https://example.com/a?b",
        "https://example.com:443/",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/",
    ] {
        assert!(guarded.allowed(good, Giver::Sender).is_ok(), "{good}");
    }
    for bad in [
        "https://example.com:8443/",
        "http://example.com/",
        "https://u@example.com/",
    ] {
        assert_eq!(guarded.allowed(bad, Giver::Sender), Err(Reason::Address));
    }
}

#[test]
fn pictures_come_from_hosts_of_line_only() {
    let guarded = guarded(Bounds::default());
    for good in [
        "https://profile.line-scdn.net/0hAbc",
        "https://sprofile.line-scdn.net/0hAbc",
        "https://obs.line-scdn.net/0hAbc",
        "https://OBS.line-apps.com/0hAbc",
    ] {
        assert!(guarded.allowed(good, Giver::Line).is_ok(), "{good}");
    }
    for bad in [
        "https://example.com/",
        "https://1.1.1.1/",
        "https://line-scdn.net.example.com/",
        "https://evilline-scdn.net/",
        "https://example.com/.line-scdn.net",
        "https://example.com#.line-scdn.net",
        "https://profile.line-scdn.net@example.com/",
        "https://profile.line-scdn.net:8443/",
        "http://profile.line-scdn.net/",
        "https://evil.obs.line-apps.com/",
    ] {
        assert_eq!(
            guarded.allowed(bad, Giver::Line),
            Err(Reason::Address),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn even_a_host_of_lines_is_not_followed_inside() {
    let canary = Canary::new().await;
    let names = Names::default();
    names.answer("profile.line-scdn.net", &[&["127.0.0.1"]]);
    let address = format!("https://profile.line-scdn.net:{}/0h", canary.port);
    let refused = canary.guarded(&names).fetch(&address, Giver::Line, 1).await;
    assert!(matches!(refused, Err(FetchError::Failed(Reason::Address))));
    assert_eq!(
        (names.asked("profile.line-scdn.net"), canary.hits().await),
        (1, 0)
    );
}

#[test]
fn what_is_switched_off_is_not_even_looked_at() {
    provide();
    let line = External::new(Reach::Line).unwrap();
    let nowhere = External::new(Reach::Nowhere).unwrap();
    let (picture, file) = ("https://profile.line-scdn.net/0h", "https://example.com/");
    assert!(line.allowed(picture, Giver::Line).is_ok());
    assert_eq!(line.allowed(file, Giver::Sender), Err(Reason::Off));
    assert_eq!(nowhere.allowed(picture, Giver::Line), Err(Reason::Off));
    assert_eq!(nowhere.allowed(file, Giver::Sender), Err(Reason::Off));
}
