//! The attacks of strangers, all at the same time, each for as long as the service allows it.

use std::{
    fmt,
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::service::LOGIN;

const BOMBS: usize = 200;
const BOMB_BYTES: usize = 60_000_000;
const FAILED_SIGN_INS: usize = 1000;
const UNREAD: usize = 100;
/// The pause between two bytes of a slow connection.
const DRIP: Duration = Duration::from_secs(1);

/// The numbers of attacks and of their answers.
#[derive(Default)]
pub struct Tally {
    slow: AtomicUsize,
    cut: AtomicUsize,
    bombs: AtomicUsize,
    sign_ins: AtomicUsize,
    throttled: AtomicUsize,
    unread_bytes: AtomicUsize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "strangers: {} slow connections opened, {} of them cut; {} gzip bombs answered; {} sign-ins refused, {} of them \
             before a password was looked at; {} kB of requests whose answers nobody read",
            self.slow.load(Relaxed),
            self.cut.load(Relaxed),
            self.bombs.load(Relaxed),
            self.sign_ins.load(Relaxed),
            self.throttled.load(Relaxed),
            self.unread_bytes.load(Relaxed) / 1000,
        )
    }
}

/// Starts all attacks.
pub fn begin(set: &mut JoinSet<()>, to: SocketAddr, slow: usize, tally: Arc<Tally>) {
    for nth in 0..slow {
        set.spawn(hold(to, nth, tally.clone()));
    }
    let bomb = bomb();
    for _ in 0..20 {
        set.spawn(throw(to, bomb.clone(), tally.clone()));
    }
    for nth in 0..10 {
        set.spawn(guess(to, nth, tally.clone()));
    }
    for _ in 0..UNREAD {
        set.spawn(leave_unread(to, tally.clone()));
    }
}

/// Sends one webhook. Returns the time from `due` to its 200, or `None` for any other answer.
pub async fn webhook(to: SocketAddr, request: Vec<u8>, due: Instant) -> Option<Duration> {
    let answer = timeout(Duration::from_secs(10), ask(to, &request)).await;
    let answer = answer.ok()?.ok()?;
    (answer == 200).then(|| due.elapsed())
}

/// Sends a request on a new connection; returns the status of the answer.
async fn ask(to: SocketAddr, request: &[u8]) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(request).await?;
    let mut answer = [0; 256];
    let count = stream.read(&mut answer).await?;
    let status = answer[..count].get(9..12).unwrap_or_default();
    Ok(str::from_utf8(status)
        .unwrap_or_default()
        .parse()
        .unwrap_or(0))
}

/// Holds a connection open by sending bytes slowly, in one of three ways; opens another when it is cut.
async fn hold(to: SocketAddr, nth: usize, tally: Arc<Tally>) {
    let (begin, drop): (&[u8], &[u8]) = match nth % 3 {
        0 => (b"GET / HT", b"T"),
        1 => (
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\n",
            b"a: b\r\n",
        ),
        _ => (
            b"POST /webhook/default HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
        ),
    };
    // Spreads the first connections over three seconds.
    sleep(Duration::from_millis((nth % 1000) as u64 * 3)).await;
    loop {
        let Ok(mut stream) = TcpStream::connect(to).await else {
            sleep(DRIP).await;
            continue;
        };
        tally.slow.fetch_add(1, Relaxed);
        let _ = stream.write_all(begin).await;
        while timeout(DRIP, closed(&mut stream)).await.is_err() {
            if stream.write_all(drop).await.is_err() {
                break;
            }
        }
        tally.cut.fetch_add(1, Relaxed);
        sleep(DRIP).await;
    }
}

async fn closed(stream: &mut TcpStream) {
    let mut answer = [0; 1024];
    while !matches!(stream.read(&mut answer).await, Ok(0) | Err(_)) {}
}

fn bomb() -> Arc<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let _ = packed.write_all(&vec![b'a'; BOMB_BYTES]);
    let packed = packed.finish().unwrap_or_default();
    let mut request = format!(
        "POST /login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    )
    .into_bytes();
    request.extend(packed);
    Arc::new(request)
}

async fn throw(to: SocketAddr, bomb: Arc<Vec<u8>>, tally: Arc<Tally>) {
    while tally.bombs.load(Relaxed) < BOMBS {
        let _ = timeout(Duration::from_secs(10), ask(to, &bomb)).await;
        tally.bombs.fetch_add(1, Relaxed);
        sleep(Duration::from_millis(500)).await;
    }
}

/// Guesses passwords, each time for another login and, by `X-Forwarded-For`, from another network.
async fn guess(to: SocketAddr, guesser: usize, tally: Arc<Tally>) {
    for nth in 0.. {
        if tally.sign_ins.load(Relaxed) >= FAILED_SIGN_INS {
            return;
        }
        let form = format!("login={LOGIN}{guesser}-{nth}&password=guess-number-{nth}");
        // Enough networks that none reaches its rate limit before its password is checked.
        let (wide, narrow) = (20 * guesser + nth % 20, nth % 250);
        let request = format!(
            "POST /login HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 10.{wide}.{narrow}.1\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        );
        let status = timeout(Duration::from_secs(10), ask(to, request.as_bytes())).await;
        tally.sign_ins.fetch_add(1, Relaxed);
        if matches!(status, Ok(Ok(429))) {
            tally.throttled.fetch_add(1, Relaxed);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Sends pipelined requests without end, and reads no answer.
async fn leave_unread(to: SocketAddr, tally: Arc<Tally>) {
    let requests = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    loop {
        let Ok(mut stream) = TcpStream::connect(to).await else {
            sleep(DRIP).await;
            continue;
        };
        while stream.write_all(&requests).await.is_ok() {
            tally.unread_bytes.fetch_add(requests.len(), Relaxed);
        }
    }
}
