//! Text that senders choose is in no log, at any level, from any crate.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use line_chat_archive::fake_line::{Media, pictures::photo};
use rustls::{
    ServerConfig, ServerConnection, Stream,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{archive::Archive, healed::Log};

/// The mark in every text from a sender or from a sender's server.
const MARK: &str = "kumquat";
/// An IP address that nothing else here uses. A host name that resolves to this machine is not available everywhere.
const HOST: &str = "127.0.0.77";

/// Answers each connection to [`HOST`] with `serve`, and counts the connections.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((HOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let hits = Arc::new(AtomicUsize::new(0));
    let count = hits.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            serve(stream.unwrap());
        }
    });
    (address, hits)
}

fn plain(answer: String) -> (SocketAddr, Arc<AtomicUsize>) {
    server(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(answer.as_bytes());
    })
}

/// A server with an untrusted certificate.
fn with_a_bad_certificate() -> (SocketAddr, Arc<AtomicUsize>) {
    let certificate = CertificateDer::from(&include_bytes!("tls/certificate.der")[..]);
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("tls/key.der")[..]);
    let ring = rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(Arc::new(ring))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::from(key))
        .unwrap();
    let config = Arc::new(config);
    server(move |mut stream| {
        let mut tls = ServerConnection::new(config.clone()).unwrap();
        // This read fails, because the client refuses the certificate and stops.
        let _ = Stream::new(&mut tls, &mut stream).read(&mut [0; 4096]);
    })
}

#[tokio::test]
async fn nothing_that_a_sender_chose_is_logged_at_any_level() {
    let log = Log::kept();
    let t = Archive::new().await;
    let (tls, shaken) = with_a_bad_certificate();
    let (elsewhere, redirected) = plain(format!(
        "HTTP/1.1 302 {MARK}\r\nlocation: https://{MARK}.invalid/{MARK}\r\nx-{MARK}: {MARK}\r\ncontent-length: 0\r\n\r\n"
    ));
    let (broken, _) = plain(format!("{MARK} {MARK}\r\n{MARK}\r\n\r\n"));
    let (short, _) = plain(format!(
        "HTTP/1.1 200 {MARK}\r\ncontent-type: image/{MARK}\r\ncontent-length: 99\r\n\r\n{MARK}"
    ));
    let (odd, _) = plain(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {MARK}/{MARK}\r\ncontent-length: 7\r\n\r\n{MARK}"
    ));
    let user = t.shop.user(&format!("{MARK} the sender"));
    for address in [
        format!("https://{tls}/{MARK}?{MARK}={MARK}#{MARK}"),
        format!("https://{MARK}:{MARK}@{tls}/"),
        format!("http://{elsewhere}/{MARK}"),
        format!("http://{broken}/{MARK}"),
        format!("http://{short}/{MARK}"),
        format!("http://{odd}/{MARK}"),
        format!("https://{MARK}.invalid/{MARK}"),
        format!("http://{MARK}.invalid:1/{MARK}"),
        format!("http://{HOST}:1/{MARK}"),
        format!("{MARK}://{MARK}"),
        format!("https://{MARK} {MARK}/"),
        MARK.to_owned(),
    ] {
        for media in [Media::Image, Media::Video, Media::Audio] {
            let event = user.sends_external(media, &address, Some(&address)).make();
            t.receives(&event).await;
        }
    }
    let name = format!("{MARK}.pdf");
    t.receives(&user.sends_file(&name, MARK.as_bytes()).make())
        .await;
    let image = user.sends_image(photo(1, 60, 40)).saying(MARK).make();
    t.receives(&image).await;
    t.work().await;
    assert!(shaken.load(Ordering::SeqCst) > 0, "TLS was begun");
    assert!(redirected.load(Ordering::SeqCst) > 0);
    let text = log.text();
    assert!(!text.is_empty(), "something is logged");
    for secret in [MARK, HOST, "kumquat.invalid", "nobody.invalid"] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}
