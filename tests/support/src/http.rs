//! A small HTTP/1.1 client that sends exactly what it is told, right or wrong.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// One request. Header lines are sent as they are listed; nothing is folded, sorted or corrected.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request for `target`: path and query as they go on the wire.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body; `Content-Length` follows from it.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        if content_type.is_empty() { self } else { self.header("Content-Type", content_type) }
    }

    /// Sets a form body.
    #[must_use]
    pub fn form<N: AsRef<str>, V: AsRef<str>>(self, parameters: &[(N, V)]) -> Self {
        self.body("application/x-www-form-urlencoded", form(parameters))
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    fn bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            bytes.extend_from_slice(format!("Host: {host}\r\n").as_bytes());
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(body);
        } else {
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

/// `application/x-www-form-urlencoded`, every byte outside the unreserved set escaped.
pub fn form<N: AsRef<str>, V: AsRef<str>>(parameters: &[(N, V)]) -> String {
    let pair = |(name, value): &(N, V)| format!("{}={}", escape(name.as_ref()), escape(value.as_ref()));
    parameters.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// Percent-encodes everything but unreserved characters.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Every header line in order.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header that is there once at most.
    ///
    /// # Panics
    /// Where it is there more than once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.header_lines(name);
        assert!(values.len() <= 1, "{name} is there {} times", values.len());
        values.first().copied()
    }

    /// All lines of one header.
    pub fn header_lines(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(line, _)| line.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl std::fmt::Display for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, self.text())
    }
}

/// A keep-alive connection. It is opened at the first request and again after the server closed it.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    unread: Vec<u8>,
}

impl Connection {
    /// A connection to `address`, not opened yet.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, unread: Vec::new() }
    }

    /// Opens the connection, so that the next request needs no handshake.
    ///
    /// # Errors
    /// Where the server can't be reached.
    pub async fn open(&mut self) -> Result<()> {
        self.unread.clear();
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// Where the connection fails, or no whole answer came within [`PATIENCE`].
    pub async fn send(&mut self, request: &Request) -> Result<Response> {
        let bytes = request.bytes(self.address);
        self.exchange(&bytes, request.method == "HEAD").await
    }

    /// Sends these bytes and reads one answer.
    ///
    /// # Errors
    /// Where the connection fails, or no whole answer came within [`PATIENCE`].
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<Response> {
        self.exchange(bytes, false).await
    }

    /// Sends one request and hangs up without reading the answer.
    ///
    /// # Errors
    /// Where the connection fails.
    pub async fn send_and_hang_up(mut self, request: &Request) -> Result<()> {
        self.open().await?;
        let bytes = request.bytes(self.address);
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        stream.write_all(&bytes).await
    }

    async fn exchange(&mut self, bytes: &[u8], head: bool) -> Result<Response> {
        if self.stream.is_none() {
            self.open().await?;
        }
        let answer = match timeout(PATIENCE, self.exchange_open(bytes, head)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "no answer")),
        };
        let close = answer.as_ref().map_or(true, |answer| {
            answer.headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close"))
        });
        if close {
            self.stream = None;
        }
        answer
    }

    async fn exchange_open(&mut self, bytes: &[u8], head: bool) -> Result<Response> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        // A server may answer and close before it has read everything.
        let sent = stream.write_all(bytes).await;
        let answer = read_response(stream, &mut self.unread, head).await;
        match (sent, answer) {
            (_, Ok(answer)) => Ok(answer),
            (Err(error), Err(_)) | (Ok(()), Err(error)) => Err(error),
        }
    }
}

/// How long an answer may take before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

async fn read_response(stream: &mut TcpStream, buffer: &mut Vec<u8>, head: bool) -> Result<Response> {
    let head_end = loop {
        if let Some(position) = find(buffer, b"\r\n\r\n") {
            break position;
        }
        more(stream, buffer).await?;
    };
    let text = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    buffer.drain(..head_end + 4);
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| malformed(status_line))?;
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())).ok_or_else(|| malformed(line)))
        .collect::<Result<_>>()?;
    let value = |wanted: &str| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone());
    let body = if head || status == 204 || status == 304 {
        Vec::new()
    } else if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        read_chunks(stream, buffer).await?
    } else {
        let length = value("content-length").map_or(Ok(0), |text| text.parse().map_err(|_| malformed(&text)))?;
        take(stream, buffer, length).await?
    };
    Ok(Response { status, headers, body })
}

async fn read_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = loop {
            if let Some(position) = find(buffer, b"\r\n") {
                break position;
            }
            more(stream, buffer).await?;
        };
        let line = String::from_utf8_lossy(&buffer[..line_end]).into_owned();
        buffer.drain(..line_end + 2);
        let length = usize::from_str_radix(line.trim(), 16).map_err(|_| malformed(&line))?;
        let chunk = take(stream, buffer, length + 2).await?;
        body.extend_from_slice(&chunk[..length]);
        if length == 0 {
            return Ok(body);
        }
    }
}

async fn take(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> Result<Vec<u8>> {
    while buffer.len() < length {
        more(stream, buffer).await?;
    }
    Ok(buffer.drain(..length).collect())
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    if stream.read_buf(buffer).await? == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("malformed answer: {what}"))
}
