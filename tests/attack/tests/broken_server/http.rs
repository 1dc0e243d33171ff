//! Blocking HTTP/1.1, one thread for each connection: races are real ones.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn lines(&self, name: &str) -> Vec<&[u8]> {
        self.headers.iter().filter(|(line, _)| line == name).map(|(_, value)| value.as_slice()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.lines(name).first().and_then(|line| std::str::from_utf8(line).ok())
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// Serves on a free loopback port for as long as the process lives.
pub(crate) fn serve(max_body: usize, handle: impl Fn(Request) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = Arc::clone(&handle);
            thread::spawn(move || connection(stream, max_body, &*handle));
        }
    });
    address
}

fn connection(mut stream: TcpStream, max_body: usize, handle: &dyn Fn(Request) -> Answer) {
    let _bounded = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let answer = match read(&mut stream, max_body) {
        Some(Ok(request)) => handle(request),
        Some(Err(status)) => Answer { status, headers: Vec::new(), body: String::new() },
        None => return,
    };
    let mut text = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let _gone = stream.write_all(format!("{text}\r\n{}", answer.body).as_bytes());
}

const MAX_HEAD: usize = 32 * 1024;

/// A request, the status it is refused with, or nothing where the client has gone.
fn read(stream: &mut TcpStream, max_body: usize) -> Option<Result<Request, u16>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > MAX_HEAD {
            return Some(Err(431));
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
        }
    };
    let head = bytes[..end].to_vec();
    let mut body = bytes.split_off(end + 4);
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut headers = Vec::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Some(Err(400)) };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        let text = |byte: &u8| *byte >= 0x20 && *byte != 0x7f || *byte == b'\t';
        if name.is_empty() || !name.iter().all(token) || !value.iter().all(text) {
            return Some(Err(400));
        }
        headers.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.trim_ascii().to_vec()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
    let length: usize = length.unwrap_or(0);
    while body.len() < length {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(read) => body.extend_from_slice(&chunk[..read]),
        }
        if body.len() > max_body {
            return Some(Err(413));
        }
    }
    let (path, query) = target.split_once('?').map_or((target.as_str(), ""), |(path, query)| (path, query));
    Some(Ok(Request { method, path: path.to_owned(), query: query.to_owned(), headers, body }))
}
