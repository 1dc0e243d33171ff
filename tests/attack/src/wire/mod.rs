//! HTTP/1.1 of the suite's own, so that it can be spoken badly: any bytes in any header line, twice if need be, and many requests whose
//! last byte leaves at the same moment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::Url;

use crate::clock::Stopwatch;

mod response;
mod tls;

pub(crate) use response::Response;
pub use tls::BadTrustAnchors;
pub(crate) use tls::connector;

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The server can't be reached.
    #[error("can't connect: {0}")]
    Connect(String),
    /// The connection ended before an answer was complete.
    #[error("the connection ended without an answer")]
    Closed,
    /// No answer in time.
    #[error("no answer within {0} s")]
    Timeout(u64),
    /// The answer is not HTTP/1.1.
    #[error("the answer is not HTTP/1.1")]
    Garbled,
}

/// One request, before it is sent. Nothing is checked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The method.
    pub(crate) method: String,
    /// Where it goes: scheme, authority, path and query.
    pub(crate) url: Url,
    /// Header lines besides `Host`, `Content-Length` and `Connection`.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// Sent as `Host` instead of the authority of the URL.
    pub(crate) host: Option<String>,
    /// Whether the request goes to the second node.
    pub(crate) to_peer: bool,
}

impl Request {
    pub(crate) fn new(method: &str, url: &Url) -> Self {
        Self { method: method.to_owned(), url: url.clone(), headers: Vec::new(), body: Vec::new(), host: None, to_peer: false }
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    #[must_use]
    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut authority = self.url.host_str().unwrap_or_default().to_owned();
        if let Some(port) = self.url.port() {
            authority = format!("{authority}:{port}");
        }
        let host = self.host.as_deref().unwrap_or(&authority);
        let query = self.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut bytes = format!("{} {}{query} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.url.path()).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend(name.as_bytes());
            bytes.extend(b": ");
            bytes.extend(value);
            bytes.extend(b"\r\n");
        }
        if !self.body.is_empty() || self.method != "GET" {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).bytes());
        }
        bytes.extend(b"Connection: close\r\n\r\n");
        bytes.extend(&self.body);
        bytes
    }
}

/// What sends requests.
#[derive(Clone)]
pub(crate) struct Wire {
    tls: TlsConnector,
    timeout: Duration,
    /// The authority of the second node, in place of that of the issuer.
    peer: Option<Url>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Wire {
    pub(crate) fn new(tls: TlsConnector, peer: Option<Url>, timeout: Duration) -> Self {
        Self { tls, timeout, peer }
    }

    /// Sends a request on a connection of its own.
    ///
    /// # Errors
    /// [`WireError`].
    pub(crate) async fn send(&self, request: &Request) -> Result<Response, WireError> {
        let stream = self.connect(request).await?;
        self.exchange(stream, request, None).await
    }

    /// Opens a connection for each request, sends all but the last byte of each, then the last bytes all at once.
    pub(crate) async fn volley(&self, requests: Vec<Request>) -> Vec<Result<Response, WireError>> {
        let barrier = Arc::new(tokio::sync::Barrier::new(requests.len()));
        let mut flights = JoinSet::new();
        let count = requests.len();
        for (position, request) in requests.into_iter().enumerate() {
            let (wire, barrier) = (self.clone(), Arc::clone(&barrier));
            flights.spawn(async move {
                let answer = match wire.connect(&request).await {
                    Ok(stream) => wire.exchange(stream, &request, Some(&barrier)).await,
                    Err(error) => {
                        barrier.wait().await;
                        Err(error)
                    }
                };
                (position, answer)
            });
        }
        let mut answers: Vec<Result<Response, WireError>> = (0..count).map(|_| Err(WireError::Closed)).collect();
        while let Some(landed) = flights.join_next().await {
            if let Ok((position, answer)) = landed {
                answers[position] = answer;
            }
        }
        answers
    }

    async fn connect(&self, request: &Request) -> Result<Box<dyn Stream>, WireError> {
        let url = match (&self.peer, request.to_peer) {
            (Some(peer), true) => peer,
            _ => &request.url,
        };
        let refused = |why: &dyn std::fmt::Display| WireError::Connect(why.to_string());
        let addresses = url.socket_addrs(|| None).map_err(|error| refused(&error))?;
        let mut last = WireError::Connect("the host has no address".to_owned());
        for address in addresses {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return self.secured(stream, url).await,
                Ok(Err(error)) => last = refused(&error),
                Err(_) => last = WireError::Timeout(CONNECT_TIMEOUT.as_secs()),
            }
        }
        Err(last)
    }

    async fn secured(&self, stream: TcpStream, url: &Url) -> Result<Box<dyn Stream>, WireError> {
        // A delay of the kernel's would blur what is meant to happen at one moment; where it can't be switched off, it stays.
        let _immediate = stream.set_nodelay(true);
        if url.scheme() != "https" {
            return Ok(Box::new(stream));
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| WireError::Connect(error.to_string()))?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| WireError::Connect(error.to_string()))?;
        Ok(Box::new(stream))
    }

    async fn exchange(
        &self,
        mut stream: Box<dyn Stream>,
        request: &Request,
        barrier: Option<&tokio::sync::Barrier>,
    ) -> Result<Response, WireError> {
        let bytes = request.bytes();
        let watch = Stopwatch::start();
        let talk = async {
            // A server that has refused on the head alone may end the connection while the body is on its way: the answer counts.
            let (most, last) = bytes.split_at(bytes.len().saturating_sub(1));
            let mut sent = stream.write_all(most).await.and(stream.flush().await);
            if let Some(barrier) = barrier {
                barrier.wait().await;
            }
            if sent.is_ok() {
                sent = stream.write_all(last).await.and(stream.flush().await);
            }
            let _the_answer_tells = sent;
            let mut answer = Vec::new();
            let mut chunk = vec![0; 16 * 1024];
            loop {
                match stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => break,
                    Ok(length) => answer.extend_from_slice(&chunk[..length]),
                }
                if answer.len() > MAX_ANSWER || response::is_complete(&answer, &request.method) {
                    break;
                }
            }
            if answer.is_empty() { Err(WireError::Closed) } else { Ok(answer) }
        };
        let answer = tokio::time::timeout(self.timeout, talk).await.map_err(|_| WireError::Timeout(self.timeout.as_secs()))??;
        Response::parse(&answer, watch.elapsed()).ok_or(WireError::Garbled)
    }
}

/// Whether all addresses of a host are loopback addresses of this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let addresses = url.socket_addrs(|| None).unwrap_or_default();
    !addresses.is_empty() && addresses.iter().all(|address: &SocketAddr| address.ip().is_loopback())
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 4 * 1024 * 1024;
