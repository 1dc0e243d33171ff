//! Answers.

use std::time::Duration;

use serde_json::Value;

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// From the first byte sent to the last byte received.
    pub(crate) elapsed: Duration,
}

impl Response {
    /// Reads an answer that is there completely, or that the server ended.
    pub(super) fn parse(bytes: &[u8], elapsed: Duration) -> Option<Self> {
        let (head, body) = split(bytes)?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value.eq_ignore_ascii_case("chunked"));
        let body = if chunked { unchunked(body).0 } else { body.to_vec() };
        Some(Self { status, headers, body, elapsed })
    }

    /// The first line of this header.
    pub(crate) fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All lines of this header.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(line, _)| line.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// `error` of the body, or of the challenge.
    pub(crate) fn error(&self) -> Option<String> {
        if let Some(error) = self.json()["error"].as_str() {
            return Some(error.to_owned());
        }
        let challenge = self.all("WWW-Authenticate").collect::<Vec<_>>().join(", ");
        let (_, rest) = challenge.split_once("error=\"")?;
        rest.split('"').next().map(str::to_owned)
    }

    /// `access_token` of the body.
    pub(crate) fn access_token(&self) -> Option<String> {
        self.json()["access_token"].as_str().map(str::to_owned)
    }

    /// `refresh_token` of the body.
    pub(crate) fn refresh_token(&self) -> Option<String> {
        self.json()["refresh_token"].as_str().map(str::to_owned)
    }

    /// Whether this is a demand for a nonce.
    pub(crate) fn wants_nonce(&self) -> bool {
        self.error().as_deref() == Some("use_dpop_nonce")
    }
}

/// Whether the bytes hold a whole answer. An answer without a length ends with the connection.
pub(super) fn is_complete(bytes: &[u8], method: &str) -> bool {
    let Some((head, body)) = split(bytes) else { return false };
    let head = head.to_ascii_lowercase();
    let bodiless = method == "HEAD" || head.split(' ').nth(1).is_some_and(|status| status == "204" || status == "304");
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    match length {
        _ if bodiless => true,
        Some(length) => body.len() >= length,
        None if head.contains("transfer-encoding: chunked") => unchunked(body).1,
        None => false,
    }
}

fn split(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 4..]))
}

/// The content of a chunked body, and whether its last chunk is there.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = String::from_utf8_lossy(&bytes[..end]);
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        let rest = &bytes[end + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        bytes = &rest[size + 2..];
    }
    (body, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_answer_is_put_together() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n";
        assert!(is_complete(bytes, "GET") && !is_complete(&bytes[..60], "GET"));
        assert_eq!(Response::parse(bytes, Duration::ZERO).expect("an answer").json(), serde_json::json!({"a": 1}));
    }

    #[test]
    fn an_error_is_found_in_the_body_or_in_the_challenge() {
        let bytes = b"HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer\r\nWWW-Authenticate: DPoP error=\"invalid_token\", algs=\"ES256\"\r\n\r\n";
        assert_eq!(Response::parse(bytes, Duration::ZERO).expect("an answer").error().as_deref(), Some("invalid_token"));
    }
}
