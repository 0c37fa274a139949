//! Where requests begin and end, and which ones are refused for their form.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{Site, all, ample, until};

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
        assert!(answer.contains("content-security-policy: "), "{answer}");
    }
    assert_eq!(site.called(), 0);
}

#[tokio::test]
async fn a_long_target_is_refused_before_it_is_taken_apart() {
    let site = Site::new(ample());
    let ask = async |query: usize| {
        let query = "a=b&".repeat(query / 4);
        let request = format!("GET /?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        site.ask(&request).await
    };
    let answer = ask(8 << 10).await;
    assert!(answer.starts_with("HTTP/1.1 414 "), "{answer}");
    assert_eq!(site.called(), 0);
    let answer = ask(8000).await;
    assert!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
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
async fn a_client_of_http_1_0_gets_no_chunks() {
    let site = Site::new(ample());
    for keep in ["", "connection: keep-alive\r\n"] {
        let answer = site
            .ask(&format!("GET /pieces HTTP/1.0\r\n{keep}\r\n"))
            .await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
        assert_eq!(body, "one, two, three", "the body ends with the connection");
    }
    let answer = site
        .ask("GET /pieces HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
}
