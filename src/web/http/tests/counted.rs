//! The log lines about closed connections.

use std::{future::poll_fn, net::Ipv4Addr, sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::{Limits, Proxies, ample};
use crate::web::captured::Log;
use crate::web::http::{
    admission::Admission,
    connection::Connection,
    exchange::Exchange,
    refusal::{Reason, Tally},
};

/// Sends only `bytes` as the beginning of a first head, and waits until the head's deadline has passed.
async fn late_after(bytes: &[u8]) -> Arc<Admission> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(bytes).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let limits = Limits {
        head: Duration::from_millis(100),
        ..ample()
    };
    let admission = Arc::new(Admission::new(limits, Proxies::default()));
    let slot = admission.admit(None).unwrap();
    let mut connection = Connection::new(stream, Exchange::new(slot));
    let head = poll_fn(|cx| connection.poll_head(cx)).await;
    assert!(head.is_err(), "its time is over");
    admission
}

#[tokio::test]
async fn a_connection_that_sent_nothing_is_no_slow_head_and_no_warning() {
    let (log, _guard) = Log::start();
    let admission = late_after(b"").await;
    assert_eq!(log.take(), "", "it waits for the line of the minute");
    admission.tally.log();
    let line = log.take();
    assert!(
        line.contains(" INFO ") && line.contains("silent=1"),
        "{line}"
    );

    late_after(b"GET / HT").await;
    let line = log.take();
    assert!(
        line.contains(" WARN ") && line.contains("slow_heads=1"),
        "{line}"
    );
    assert!(line.contains("silent=0"), "{line}");
}

#[tokio::test]
async fn silent_connections_stand_beside_the_reasons_of_a_warning_and_delay_none() {
    let (log, _guard) = Log::start();
    let tally = Tally::default();
    tally.count(Reason::Silent);
    tally.log();
    assert!(log.take().contains("silent=1"));
    for _ in 0..7 {
        tally.count(Reason::Silent);
    }
    tally.count(Reason::Evicted);
    let line = log.take();
    assert!(
        line.contains(" WARN ") && line.contains("evicted=1"),
        "{line}"
    );
    assert!(line.contains("silent=7"), "{line}");
}
