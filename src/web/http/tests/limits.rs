//! Deadlines, and limits on the number of connections.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Limits, SOON, Site, all, ample, drip, until};

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
    // Unread responses fill the buffers of both sockets; then the server reads nothing more.
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
    // The server does not read the requests that the kernel holds for it either.
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

/// The number of accepted connections to `port`: a socket has no inode before it is accepted.
fn accepted(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_accepted = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(&format!(":{port:04X}")) && fields[3] == "01" && fields[9] != "0"
    };
    table.lines().skip(1).filter(is_accepted).count()
}

#[tokio::test]
async fn no_more_connections_are_accepted_than_there_may_be_while_the_threads_are_busy() {
    let site = Site::new(Limits {
        connections: 300,
        per_address: 1000,
        ..ample()
    });
    rustix::net::listen(&site.listener, 4096).unwrap();
    let mut blocking = site.connect().await;
    blocking
        .write_all(b"GET /blocks HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    while site.called() < 1 {
        tokio::task::yield_now().await;
    }
    let mut waiting = vec![];
    for _ in 0..900 {
        waiting.push(site.connect().await);
    }
    // The thread that accepts is not the one that is kept busy.
    let mut seen = 0;
    while std::mem::replace(&mut seen, accepted(site.address.port())) != seen {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    site.gate.add_permits(1);
    assert!((300..=556).contains(&seen), "{seen} were accepted");
    until(&mut blocking, "blocked no more").await;
    drop(waiting);
    let answer = site
        .ask("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
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
