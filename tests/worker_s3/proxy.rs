//! A proxy between the code under test and the S3 server: it answers as the test wants, or passes the request on.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// A proxy; each bucket has its own.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// A text in the head of a request, the status to answer with, and for how many requests.
    faults: Vec<(&'static str, u16, usize)>,
    heads: Vec<String>,
}

impl Proxy {
    pub(crate) async fn start(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::default(),
        };
        let target = endpoint.strip_prefix("http://").unwrap().to_owned();
        let passing = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (proxy, target) = (passing.clone(), target.clone());
                tokio::spawn(async move { proxy.pass(client, &target).await });
            }
        });
        proxy
    }

    /// Answers the next `times` requests whose head contains `of` with `status`; with 0 it closes the connection.
    pub(crate) fn answers(&self, of: &'static str, status: u16, times: usize) {
        self.state.lock().unwrap().faults.push((of, status, times));
    }

    pub(crate) fn heals(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// The heads of all requests so far that contain `text`.
    pub(crate) fn heads(&self, text: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let heads = state.heads.iter().filter(|head| head.contains(text));
        heads.cloned().collect()
    }

    fn fault(&self, head: &str) -> Option<u16> {
        let mut state = self.state.lock().unwrap();
        state.heads.push(head.to_owned());
        let mut faults = state.faults.iter_mut();
        let (_, status, left) = faults.find(|(of, _, left)| *left > 0 && head.contains(of))?;
        *left -= 1;
        Some(*status)
    }

    /// Handles one request per connection, so that each can be answered separately.
    async fn pass(&self, mut client: TcpStream, target: &str) -> Option<()> {
        let mut read = Vec::new();
        let end = loop {
            if client.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 2;
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        match self.fault(&head) {
            Some(0) => None,
            Some(status) => {
                let code = if status == 403 {
                    "AccessDenied"
                } else {
                    "SlowDown"
                };
                let body =
                    format!("<Error><Code>{code}</Code><Message>by the proxy</Message></Error>");
                let answer = format!(
                    "HTTP/1.1 {status} No\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                client.write_all(answer.as_bytes()).await.ok()?;
                // Reads the rest of the request, so that a reset does not discard the answer.
                let mut sink = [0; 65536];
                while client.read(&mut sink).await.ok()? > 0 {}
                Some(())
            }
            None => {
                let mut server = TcpStream::connect(target).await.ok()?;
                server.write_all(&read[..end]).await.ok()?;
                server.write_all(b"connection: close\r\n").await.ok()?;
                server.write_all(&read[end..]).await.ok()?;
                copy_bidirectional(&mut client, &mut server).await.ok()?;
                Some(())
            }
        }
    }
}
