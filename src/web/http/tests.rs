//! The server from outside, over sockets, with short limits.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{App, HttpResponse, dev::ServerHandle, web};
use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use super::{Limits, exchange, refuse_encoded, run};
use crate::web::client::Proxies;

/// Long enough for anything that has to happen, short enough to fail a test.
const SOON: Duration = Duration::from_secs(10);

struct Site {
    address: SocketAddr,
    handle: ServerHandle,
    /// Requests that reached a handler.
    called: Arc<AtomicUsize>,
    /// Lets `/held` go on.
    gate: Arc<Semaphore>,
}

/// Limits that a test does not want to meet.
fn ample() -> Limits {
    Limits {
        head: SOON * 9,
        body: SOON * 9,
        idle: SOON * 9,
        stall: SOON * 9,
        linger: Duration::from_millis(100),
        ..Limits::default()
    }
}

impl Site {
    fn new(limits: Limits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let called = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let (count, held) = (called.clone(), gate.clone());
        let server = run(listener, 1, limits, Proxies::from(vec![]), move || {
            App::new()
                .wrap(refuse_encoded())
                .wrap(exchange())
                .app_data(web::Data::from(count.clone()))
                .app_data(web::Data::from(held.clone()))
                .route("/", web::get().to(redirect))
                .route("/echo", web::post().to(echo))
                .route("/early", web::post().to(early))
                .route("/held", web::get().to(held_back))
                .route("/large", web::get().to(large))
        })
        .unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            address,
            handle,
            called,
            gate,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        all(&mut stream).await
    }

    fn called(&self) -> usize {
        self.called.load(Ordering::SeqCst)
    }
}

type Count = web::Data<AtomicUsize>;

async fn redirect(count: Count) -> HttpResponse {
    count.fetch_add(1, Ordering::SeqCst);
    HttpResponse::SeeOther()
        .insert_header(("location", "/elsewhere"))
        .finish()
}

async fn echo(count: Count, body: web::Bytes) -> HttpResponse {
    count.fetch_add(1, Ordering::SeqCst);
    HttpResponse::Ok().body(body)
}

/// Reads a part of the body, and answers.
async fn early(count: Count, mut body: web::Payload) -> HttpResponse {
    count.fetch_add(1, Ordering::SeqCst);
    let _ = body.next().await;
    HttpResponse::RequestTimeout().body("too slow")
}

async fn held_back(count: Count, gate: web::Data<Semaphore>) -> HttpResponse {
    count.fetch_add(1, Ordering::SeqCst);
    gate.acquire().await.unwrap().forget();
    HttpResponse::Ok().body("let go")
}

async fn large(count: Count) -> HttpResponse {
    count.fetch_add(1, Ordering::SeqCst);
    HttpResponse::Ok().body(vec![b'x'; 32 << 20])
}

/// All that comes until the connection ends, however it ends.
async fn all(stream: &mut TcpStream) -> String {
    let mut bytes = vec![];
    let _ = timeout(SOON, stream.read_to_end(&mut bytes))
        .await
        .expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `end` has come.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains(end) {
        let count = timeout(SOON, stream.read(&mut bytes)).await;
        let count = count.expect("an answer").unwrap();
        assert!(count > 0, "the connection ended after {text:?}");
        text += &String::from_utf8_lossy(&bytes[..count]);
    }
    text
}

/// Writes `bytes` for ever, a moment apart, until the other side has closed.
async fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    let dripping = async {
        let (mut reader, mut writer) = stream.split();
        let mut rest = vec![];
        tokio::select! {
            _ = reader.read_to_end(&mut rest) => {}
            () = async {
                while writer.write_all(bytes).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            } => {}
        }
    };
    timeout(SOON, dripping).await.expect("the server closes");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_however_they_are_cut() {
    let site = Site::new(ample());
    let requests = "\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n\
                    POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nfirst\
                    GET / HTTP/1.1\nhost: x\n\n\
                    POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 6\r\n\r\nsecond\
                    POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nthird\r\n0\r\n\r\n";
    let whole = site.ask(requests).await;
    let mut stream = site.connect().await;
    for byte in requests.bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let cut = all(&mut stream).await;
    for answers in [whole, cut] {
        let at = |text| {
            answers
                .find(text)
                .unwrap_or_else(|| panic!("{text} in {answers}"))
        };
        assert!(
            at("first") < at("second") && at("second") < at("third"),
            "{answers}"
        );
        assert_eq!(answers.matches("303 See Other").count(), 2, "{answers}");
    }
    assert_eq!(site.called(), 10);
}

#[tokio::test]
async fn a_second_head_that_drips_is_cut() {
    let site = Site::new(Limits {
        head: Duration::from_millis(300),
        ..ample()
    });
    let mut stream = site.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    until(&mut stream, "\r\n\r\n").await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    drip(&mut stream, b"a: b\r\n").await;
    let mut first = site.connect().await;
    drip(&mut first, b"G").await;
    let mut silent = site.connect().await;
    assert_eq!(all(&mut silent).await, "");
    assert_eq!(site.called(), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_its_time_and_not_before() {
    let site = Site::new(Limits {
        head: Duration::from_millis(100),
        idle: Duration::from_millis(600),
        ..ample()
    });
    let mut stream = site.connect().await;
    for _ in 0..3 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        until(&mut stream, "\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(all(&mut stream).await, "");
    assert_eq!(site.called(), 3);
}

#[tokio::test]
async fn a_body_that_drips_is_cut_before_and_after_its_answer() {
    let site = Site::new(Limits {
        body: Duration::from_millis(300),
        ..ample()
    });
    for framing in [
        "transfer-encoding: chunked\r\n\r\n1\r\nx\r\n",
        "content-length: 9999\r\n\r\nx",
    ] {
        for path in ["/early", "/echo", "/"] {
            let mut stream = site.connect().await;
            let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{framing}");
            stream.write_all(request.as_bytes()).await.unwrap();
            let drop = if framing.starts_with('t') {
                "1\r\nx\r\n"
            } else {
                "x"
            };
            drip(&mut stream, drop.as_bytes()).await;
        }
    }
    assert_eq!(
        site.called(),
        2,
        "/early was answered, /echo waited for the rest, / is no POST"
    );
}

#[tokio::test]
async fn requests_behind_unread_answers_are_not_begun() {
    let site = Site::new(ample());
    let mut stream = site.connect().await;
    let requests = "GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2000);
    // Unread answers fill the buffers of both sockets, then nothing more is taken.
    let mut sent = 0;
    while timeout(
        Duration::from_millis(500),
        stream.write_all(requests.as_bytes()),
    )
    .await
    .is_ok()
    {
        sent += 2000;
        assert!(sent < 1_000_000, "the server takes everything");
    }
    // What the kernel holds for the server is taken no further either.
    let mut called = 0;
    while std::mem::replace(&mut called, site.called()) != called {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(
        called < sent,
        "{called} of {sent} are begun while the client does not read"
    );
}

#[tokio::test]
async fn a_request_is_begun_only_when_the_one_before_is_answered() {
    let site = Site::new(ample());
    let mut stream = site.connect().await;
    let requests = "GET /held HTTP/1.1\r\nhost: x\r\n\r\n".repeat(50);
    stream.write_all(requests.as_bytes()).await.unwrap();
    for answered in 1..=50 {
        while site.called() < answered {
            tokio::task::yield_now().await;
        }
        assert_eq!(site.called(), answered);
        site.gate.add_permits(1);
        until(&mut stream, "let go").await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_one_that_reads_slowly_is_not() {
    let site = Site::new(Limits {
        stall: Duration::from_millis(400),
        ..ample()
    });
    let mut unread = site.connect().await;
    let request = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
    unread.write_all(request).await.unwrap();
    let mut slow = site.connect().await;
    slow.write_all(request).await.unwrap();
    let mut bytes = vec![0; 2 << 20];
    let mut read = 0;
    while read < 32 << 20 {
        read += timeout(SOON, slow.read(&mut bytes)).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let got = all(&mut unread).await.len();
    assert!(got < 32 << 20, "{got} bytes");
}

#[tokio::test]
async fn what_actix_refuses_is_answered_with_the_headers_of_every_answer() {
    let site = Site::new(ample());
    for malformed in [
        "NOT HTTP\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = site.ask(malformed).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{malformed:?}: {answer}"
        );
        for header in [
            "content-security-policy:",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(answer.contains(header), "{header}: {answer}");
        }
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}", "b".repeat(33 << 10));
    let answer = site.ask(&long).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(site.called(), 0);
}

#[tokio::test]
async fn requests_behind_a_body_are_not_read_before_its_answer() {
    let site = Site::new(ample());
    let hidden = "GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(500);
    for (body, end) in [
        (
            "transfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nt: x\r\n\r\n",
            "abc",
        ),
        ("content-length: 3\r\n\r\nabc", "abc"),
    ] {
        let before = site.called();
        let mut stream = site.connect().await;
        let first = format!("GET /held HTTP/1.1\r\nhost: x\r\n{body}{hidden}");
        stream.write_all(first.as_bytes()).await.unwrap();
        while site.called() == before {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(site.called(), before + 1, "{end}");
        site.gate.add_permits(1);
        let mut answers = until(&mut stream, "let go").await;
        while answers.matches("303 See Other").count() < 500 {
            answers += &until(&mut stream, "\r\n\r\n").await;
        }
    }
}

#[tokio::test]
async fn a_chunked_body_that_could_be_understood_otherwise_is_refused() {
    let site = Site::new(ample());
    for body in [
        "1 \r\nx\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "1\r\nxx0\r\n\r\n",
    ] {
        let head = "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = site.ask(&format!("{head}{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer}");
    }
    assert_eq!(site.called(), 0);
}

#[tokio::test]
async fn tunnels_and_websockets_are_refused_at_once() {
    let site = Site::new(ample());
    for request in [
        "CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nupgrade: x\r\nupgrade: WebSocket\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: x\r\nupgrade: h2c, websocket\r\n\r\n",
    ] {
        let answer = site.ask(request).await;
        assert!(answer.starts_with("HTTP/1.1 501 "), "{request:?}: {answer}");
    }
    assert_eq!(site.called(), 0);
}

#[tokio::test]
async fn long_heads_that_are_not_complete_are_bounded_together() {
    let site = Site::new(Limits {
        per_address: 2000,
        ..ample()
    });
    let mut held = vec![];
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}", "b".repeat(5000));
    for _ in 0..1030 {
        let mut stream = site.connect().await;
        stream.write_all(long.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let mut refused = 0;
    for stream in &mut held {
        let mut answer = [0; 16];
        let moment = Duration::from_millis(if refused < 6 { 20 } else { 0 });
        if let Ok(Ok(count)) = timeout(moment, stream.read(&mut answer)).await {
            assert_eq!(&answer[..count.min(12)], b"HTTP/1.1 503");
            refused += 1;
        }
    }
    assert_eq!(refused, 6);
    let answer = site
        .ask("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
}

#[tokio::test]
async fn slow_connections_make_room_and_busy_ones_are_kept() {
    let site = Site::new(Limits {
        connections: 20,
        served: 15,
        per_address: 100,
        ..ample()
    });
    let mut busy = site.connect().await;
    busy.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    while site.called() < 1 {
        tokio::task::yield_now().await;
    }
    let mut slow = vec![];
    for _ in 0..100 {
        let mut stream = site.connect().await;
        stream.write_all(b"GET / HTT").await.unwrap();
        slow.push(stream);
    }
    for _ in 0..5 {
        let answer = site
            .ask("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await;
        assert!(answer.starts_with("HTTP/1.1 303"), "{answer:?}");
    }
    site.gate.add_permits(1);
    assert!(until(&mut busy, "let go").await.starts_with("HTTP/1.1 200"));
    let mut cut = 0;
    for stream in &mut slow[..80] {
        cut += usize::from(timeout(SOON, stream.read(&mut [0])).await.is_ok());
    }
    assert_eq!(cut, 80);
}

#[tokio::test]
async fn one_address_has_no_more_than_its_share_and_busy_slots_end_in_503() {
    let site = Site::new(Limits {
        per_address: 5,
        ..ample()
    });
    let mut busy = vec![];
    for n in 1..=5 {
        let mut stream = site.connect().await;
        stream
            .write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        while site.called() < n {
            tokio::task::yield_now().await;
        }
        busy.push(stream);
    }
    let mut sixth = site.connect().await;
    let answer = all(&mut sixth).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 2"), "{answer}");
    site.gate.add_permits(5);
    for stream in &mut busy {
        until(stream, "let go").await;
    }
}

#[tokio::test]
async fn an_encoded_body_is_refused_unread() {
    let site = Site::new(ample());
    for encoding in ["gzip", "br", "deflate", "zstd", "identity", "gzip, gzip"] {
        let head = format!(
            "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-encoding: {encoding}\r\ncontent-length: 99999\r\n\r\n"
        );
        let answer = site.ask(&head).await;
        assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
        assert!(answer.contains("accept-encoding: identity"), "{answer}");
    }
    assert_eq!(site.called(), 0);
}

#[tokio::test]
async fn a_client_that_has_sent_all_it_will_send_is_answered() {
    let site = Site::new(ample());
    let mut stream = site.connect().await;
    stream
        .write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    site.gate.add_permits(1);
    assert!(all(&mut stream).await.ends_with("let go"));
}

#[tokio::test]
async fn a_stop_waits_for_answers_and_for_nobody_else() {
    let site = Site::new(ample());
    let mut idle = site.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    until(&mut idle, "\r\n\r\n").await;
    let _silent = site.connect().await;
    let mut busy = site.connect().await;
    busy.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    while site.called() < 2 {
        tokio::task::yield_now().await;
    }
    let begun = std::time::Instant::now();
    let stopped = tokio::spawn(site.handle.stop(true));
    timeout(Duration::from_millis(300), std::future::pending::<()>())
        .await
        .unwrap_err();
    site.gate.add_permits(1);
    assert!(until(&mut busy, "let go").await.starts_with("HTTP/1.1 200"));
    stopped.await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
}
