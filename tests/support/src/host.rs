//! Someone else's web server, which publishes one document and counts how often it is asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A server on this machine. It ends with the test's runtime.
#[derive(Debug)]
pub struct Host {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
}

impl Host {
    /// Starts a server that answers 404 until it has a document.
    ///
    /// # Panics
    /// Where no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let host = Self { address, answer: Arc::default(), asked: Arc::default() };
        host.answer(404, "", "");
        let (answer, asked) = (Arc::clone(&host.answer), Arc::clone(&host.asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&asked)));
            }
        });
        host
    }

    /// From now on answers with this document.
    pub fn publish(&self, document: &Value) {
        self.answer(200, "Content-Type: application/json\r\n", &document.to_string());
    }

    /// From now on answers with this status, these header lines and this body.
    ///
    /// # Panics
    /// Where a test panicked meanwhile.
    pub fn answer(&self, status: u16, headers: &str, body: &str) {
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len());
        *self.answer.lock().expect("the answer") = text.into_bytes();
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The URL of `path` at this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<Mutex<Vec<u8>>>, asked: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let bytes = answer.lock().map(|bytes| bytes.clone()).unwrap_or_default();
    // Whoever hung up needs no answer.
    let _sent = stream.write_all(&bytes).await;
}
