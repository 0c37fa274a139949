//! The load generator: HTTP/1.1 with keep-alive, all connections in one thread.

use std::{
    cell::RefCell,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Mutex, mpsc},
};

use crate::bodies::Feed;

/// The result of a series of requests.
#[derive(Default)]
pub struct Outcome {
    /// The number of requests that were answered 200.
    pub acknowledged: u64,
    /// The number of requests that were answered otherwise.
    pub refused: u64,
    /// The time from the first request to the last answer.
    pub took: Duration,
    /// The microseconds to each answer, in ascending order.
    latencies: Vec<u32>,
}

impl Outcome {
    /// The number of acknowledged requests a second.
    pub fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// The latency in milliseconds that the share `part` (0 to 1) of the answers does not exceed.
    pub fn quantile(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let micros = self.latencies.get((last as f64 * part).round() as usize);
        f64::from(micros.copied().unwrap_or_default()) / 1000.0
    }

    fn add(&mut self, status: u16, latency: Duration) {
        if status == 200 {
            self.acknowledged += 1;
        } else {
            self.refused += 1;
        }
        self.latencies
            .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    fn finish(mut self, begun: Instant) -> Self {
        self.took = begun.elapsed();
        self.latencies.sort_unstable();
        self
    }
}

/// A closed loop: each connection sends its next request after an answer, until `within` is over or the feed is empty.
pub async fn closed(
    address: SocketAddr,
    connections: usize,
    feed: &Feed<'_>,
    within: Duration,
) -> Result<Outcome> {
    let opened = try_join_all((0..connections).map(|_| Connection::open(address))).await?;
    let outcome = RefCell::new(Outcome::default());
    let begun = Instant::now();
    try_join_all(opened.into_iter().map(async |mut connection| {
        while begun.elapsed() < within
            && let Some(request) = feed.take()
        {
            let asked = Instant::now();
            let status = connection.ask(request).await?;
            outcome.borrow_mut().add(status, asked.elapsed());
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(outcome.into_inner().finish(begun))
}

/// A steady rate, whether the answers keep up or not; the latency counts from the time at which a request was due.
pub async fn steady(
    address: SocketAddr,
    connections: usize,
    feed: &Feed<'_>,
    rate: u32,
    within: Duration,
) -> Result<Outcome> {
    let opened = try_join_all((0..connections).map(|_| Connection::open(address))).await?;
    let (clock, due) = mpsc::unbounded_channel();
    let begun = Instant::now();
    // A thread of its own, because tokio's timers count whole milliseconds.
    let pace = std::thread::spawn(move || {
        for nth in 0.. {
            let at = begun + nth * Duration::from_secs(1) / rate;
            if at >= begun + within {
                return;
            }
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if clock.send(at).is_err() {
                return;
            }
        }
    });
    let (due, outcome) = (Mutex::new(due), RefCell::new(Outcome::default()));
    try_join_all(opened.into_iter().map(async |mut connection| {
        loop {
            let next = due.lock().await.recv().await;
            let Some((at, request)) = next.zip(feed.take()) else {
                return anyhow::Ok(());
            };
            let status = connection.ask(request).await?;
            outcome.borrow_mut().add(status, at.elapsed());
        }
    }))
    .await?;
    drop(due);
    let _ = pace.join();
    Ok(outcome.into_inner().finish(begun))
}

/// Sends one request on a new connection; returns the status of the answer.
pub async fn once(address: SocketAddr, request: &[u8]) -> Result<u16> {
    Connection::open(address).await?.ask(request).await
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::with_capacity(4096),
        })
    }

    /// Sends a request, reads the whole answer, and returns its status.
    async fn ask(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the app closed a connection");
            }
            if let Some(head) = self.answer.windows(4).position(|end| end == b"\r\n\r\n") {
                let (status, length) = read_head(&self.answer[..head])?;
                if self.answer.len() >= head + 4 + length {
                    return Ok(status);
                }
            }
        }
    }
}

/// The status, and the length of the body.
fn read_head(head: &[u8]) -> Result<(u16, usize)> {
    let head = std::str::from_utf8(head)?;
    let status = head.get(9..12).context("no status")?.parse()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim())
    });
    Ok((
        status,
        length.context("an answer without a length")?.parse()?,
    ))
}
