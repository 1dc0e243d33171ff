//! An API that tells what it got.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A server on this machine that answers every request with 200 and a description of it, as JSON. It ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    reached: Arc<AtomicUsize>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let reached = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&reached);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&counter)));
            }
        });
        Self { address, reached }
    }

    /// How many requests it got so far.
    pub(crate) fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

/// Answers requests until the other side hangs up or sends something that is none.
async fn serve(mut stream: TcpStream, reached: Arc<AtomicUsize>) -> Option<()> {
    let _nodelay = stream.set_nodelay(true);
    let mut unread = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            more(&mut stream, &mut unread).await?;
        };
        let head = String::from_utf8_lossy(&unread[..end]).into_owned();
        unread.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let mut request_line = lines.next()?.split(' ');
        let (method, target) = (request_line.next()?, request_line.next()?);
        let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect();
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.map_or(Some(0), |(_, value)| value.parse().ok())?;
        while unread.len() < length {
            more(&mut stream, &mut unread).await?;
        }
        let body = String::from_utf8_lossy(&unread[..length]).into_owned();
        unread.drain(..length);
        reached.fetch_add(1, Ordering::SeqCst);
        let seen = json!({"method": method, "target": target, "headers": headers, "body": body}).to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{seen}", seen.len());
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(buffer).await.ok()?;
    (read > 0).then_some(())
}

/// What the API got, out of its answer.
#[derive(Debug)]
pub(crate) struct Seen(pub(crate) Value);

impl Seen {
    /// All values under a header's name.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.0["headers"].as_array().into_iter().flatten();
        lines
            .filter(|line| line[0].as_str().is_some_and(|line| line.eq_ignore_ascii_case(name)))
            .filter_map(|line| line[1].as_str())
            .collect()
    }

    /// Whether some header's value holds this text, whatever its name is.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        self.0["headers"].to_string().contains(text)
    }
}
