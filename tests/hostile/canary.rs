//! A server that must get no connection: the URL in every hostile file points to it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::net::{TcpListener, TcpStream};

pub struct Canary {
    port: u16,
    hits: Arc<AtomicUsize>,
}

impl Canary {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// The number of connections until now; can be called once. The server accepts connections in order: once it has
    /// accepted the test's own, it has counted all earlier ones.
    pub async fn hits(self) -> usize {
        use tokio::io::AsyncReadExt;
        let mut own = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        assert_eq!(own.read(&mut [0]).await.unwrap(), 0);
        self.hits.load(Ordering::SeqCst) - 1
    }
}
