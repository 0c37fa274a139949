//! Tests the server from outside, over sockets, with short limits.

mod counted;
mod framing;
mod limits;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{App, HttpResponse, dev::ServerHandle, middleware::from_fn, web};
use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use super::client::Proxies;
use super::{Limits, exchange, refuse_encoded, run};

/// Long enough for anything that has to happen, short enough to fail a test.
const SOON: Duration = Duration::from_secs(10);

struct Site {
    address: SocketAddr,
    /// A second handle to the listening socket.
    listener: TcpListener,
    handle: ServerHandle,
    /// Requests that reached a handler.
    called: Arc<AtomicUsize>,
    /// Each permit lets `/held` respond once.
    gate: Arc<Semaphore>,
}

/// Limits that are too wide to be reached in a test.
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
        let again = listener.try_clone().unwrap();
        let called = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let (count, held) = (called.clone(), gate.clone());
        let server = run(listener, 1, limits, Proxies::from(vec![]), move || {
            App::new()
                .wrap(from_fn(refuse_encoded))
                .wrap(from_fn(|request, next| exchange(request, next, |_| false)))
                .app_data(web::Data::from(count.clone()))
                .app_data(web::Data::from(held.clone()))
                .route("/", web::get().to(redirect))
                .route("/echo", web::post().to(echo))
                .route("/early", web::post().to(early))
                .route("/held", web::get().to(held_back))
                .route("/large", web::get().to(large))
                .route("/blocks", web::get().to(block))
                .route("/pieces", web::get().to(pieces))
        })
        .unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            address,
            listener: again,
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

/// Reads a part of the body, and then responds.
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

/// Blocks the server's thread until there is a permit for `/held`.
async fn block(count: Count, gate: web::Data<Semaphore>) -> HttpResponse {
    count.fetch_add(1, Ordering::SeqCst);
    while gate.available_permits() == 0 {
        std::thread::yield_now();
    }
    HttpResponse::Ok().body("blocked no more")
}

async fn large(count: Count) -> HttpResponse {
    count.fetch_add(1, Ordering::SeqCst);
    HttpResponse::Ok().body(vec![b'x'; 32 << 20])
}

/// A response whose length is not known in advance.
async fn pieces(count: Count) -> HttpResponse {
    count.fetch_add(1, Ordering::SeqCst);
    let pieces = ["one, ", "two, ", "three"].map(|piece| Ok::<_, actix_web::Error>(piece.into()));
    HttpResponse::Ok().streaming(futures_util::stream::iter(pieces))
}

/// Reads everything until the connection ends, with or without an error.
async fn all(stream: &mut TcpStream) -> String {
    let mut bytes = vec![];
    let _ = timeout(SOON, stream.read_to_end(&mut bytes))
        .await
        .expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `end` has arrived.
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

/// Writes `bytes` every 20 ms until the server has closed the connection.
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
