use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use keybound_proofs::UnixTime;
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::domain::FetchUrl;
use crate::domain::client::AssertionAlg;

/// Answers every request with the bytes that it is set to, and counts.
struct Host {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
}

impl Host {
    async fn new(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host = Self { address, answer: Arc::new(Mutex::new(answer.into())), asked: Arc::default() };
        let (answer, asked) = (Arc::clone(&host.answer), Arc::clone(&host.asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    asked.fetch_add(1, Ordering::SeqCst);
                    let bytes = answer.lock().clone();
                    let _sent = stream.write_all(&bytes).await;
                });
            }
        });
        host
    }

    fn set(&self, answer: impl Into<Vec<u8>>) {
        *self.answer.lock() = answer.into();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn url(&self) -> FetchUrl {
        FetchUrl::parse(&format!("http://{}/document", self.address)).unwrap()
    }

    async fn fetch(&self, max_bytes: usize) -> Result<Document, FetchError> {
        Fetcher::new(Reach::PublicOrLoopback).document(&self.url(), max_bytes).await
    }
}

fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n{body}", body.len())
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn a_document_is_a_json_object_with_status_200() {
    let host = Host::new(ok(JSON, r#"{"a":1}"#)).await;
    assert_eq!(host.fetch(100).await.unwrap().members, *json!({"a": 1}).as_object().unwrap());
    host.set(ok("Content-Type: application/jwk-set+json; charset=utf-8\r\n", "{}"));
    assert!(host.fetch(100).await.is_ok());
    for (answer, error) in [
        (ok("Content-Type: text/html\r\n", "{}"), FetchError::ContentType),
        (ok("", "{}"), FetchError::ContentType),
        (ok(JSON, "[]"), FetchError::NotJson),
        (ok(JSON, r#"{"a":1,"a":2}"#), FetchError::NotJson),
        (ok(JSON, "{} {}"), FetchError::NotJson),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(), FetchError::Status(404)),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), FetchError::Status(204)),
    ] {
        host.set(answer.clone());
        assert_eq!(host.fetch(100).await, Err(error), "{answer}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Host::new(ok(JSON, "{}")).await;
    let host = Host::new(format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", other.url().as_str())).await;
    assert_eq!(host.fetch(100).await, Err(FetchError::Status(302)));
    assert_eq!(other.asked(), 0);
}

#[tokio::test]
async fn a_document_has_a_largest_size_however_it_is_sent() {
    let sized = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
    let host = Host::new(ok(JSON, &sized(100))).await;
    assert!(host.fetch(100).await.is_ok());
    host.set(ok(JSON, &sized(101)));
    assert_eq!(host.fetch(100).await, Err(FetchError::TooLarge));
    host.set(format!("HTTP/1.1 200 OK\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n65\r\n{}\r\n0\r\n\r\n", sized(101)));
    assert_eq!(host.fetch(100).await, Err(FetchError::TooLarge));
    assert!(host.fetch(101).await.is_ok());
}

#[tokio::test]
async fn what_is_out_of_reach_is_not_connected_to() {
    let host = Host::new(ok(JSON, "{}")).await;
    assert_eq!(Fetcher::new(Reach::Public).document(&host.url(), 100).await, Err(FetchError::Forbidden));
    // By name too: the resolver is asked, and its answer refused.
    let named = FetchUrl::parse(&format!("https://localhost.:{}/document", host.address.port())).unwrap();
    assert!(!named.is_loopback());
    let refused = Fetcher::new(Reach::Public).document(&named, 100).await;
    assert!(matches!(refused, Err(FetchError::Forbidden | FetchError::Unreachable)), "{refused:?}");
    assert_eq!(host.asked(), 0);
}

#[tokio::test]
async fn a_host_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = FetchUrl::parse(&format!("http://{}/document", listener.local_addr().unwrap())).unwrap();
    assert_eq!(Fetcher::new(Reach::PublicOrLoopback).document(&url, 100).await, Err(FetchError::TimedOut));
}

#[tokio::test]
async fn cache_control_says_how_long_a_document_is_kept() {
    let host = Host::new("").await;
    for (header, seconds) in [
        ("", None),
        ("Cache-Control: max-age=300\r\n", Some(300)),
        ("Cache-Control: public, Max-Age=\"300\"\r\n", Some(300)),
        ("Cache-Control: public\r\nCache-Control: max-age=5\r\n", Some(5)),
        ("Cache-Control: max-age=300, no-store\r\n", Some(0)),
        ("Cache-Control: max-age=abc\r\n", None),
    ] {
        host.set(ok(&format!("{JSON}{header}"), "{}"));
        assert_eq!(host.fetch(100).await.unwrap().max_age, seconds.map(Duration::from_secs), "{header}");
    }
}

struct Published {
    host: Host,
    sets: KeySets,
    source: KeySource,
}

impl Published {
    async fn new(kids: &[&str], headers: &str) -> Self {
        let host = Host::new(ok(&format!("{JSON}{headers}"), &set_of(kids))).await;
        let source = KeySource::Published { url: host.url(), reach: Reach::Operator };
        Self { host, sets: KeySets::new(), source }
    }

    async fn knows(&self, kid: &str, second: i64) -> Result<bool, FetchError> {
        let found = self.sets.candidates(&self.source, AssertionAlg::Es256, Some(kid), UnixTime::from_secs(second)).await;
        found.map(|keys| !keys.is_empty())
    }
}

fn set_of(kids: &[&str]) -> String {
    let key = |kid: &&str| {
        let jwk = Jwk::generate_ec_key(EcCurve::P256).unwrap().to_public_key().unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(kid);
        jwk
    };
    json!({"keys": kids.iter().map(key).collect::<Vec<_>>()}).to_string()
}

/// RELIABILITY, row JWKS: an unknown `kid` costs one fetch in 30 s, and never the keys that are known.
#[tokio::test]
async fn a_flood_of_unknown_key_names_costs_one_fetch_in_30_s() {
    let published = Published::new(&["a"], "").await;
    assert_eq!(published.knows("a", 0).await, Ok(true));
    assert_eq!(published.host.asked(), 1);
    for attempt in 0..500 {
        assert_eq!(published.knows(&format!("invented-{attempt}"), 29).await, Ok(false));
        assert_eq!(published.knows("a", 29).await, Ok(true));
    }
    assert_eq!(published.host.asked(), 1);
    for attempt in 0..500 {
        assert_eq!(published.knows(&format!("invented-{attempt}"), 30 + attempt / 100).await, Ok(false));
    }
    assert_eq!(published.host.asked(), 2);
    assert_eq!(published.knows("a", 59).await, Ok(true));
}

#[tokio::test]
async fn a_key_that_was_just_published_is_found_after_the_cooldown() {
    let published = Published::new(&["a"], "").await;
    assert_eq!(published.knows("a", 0).await, Ok(true));
    published.host.set(ok(JSON, &set_of(&["a", "b"])));
    assert_eq!(published.knows("b", 29).await, Ok(false));
    assert_eq!(published.knows("b", 30).await, Ok(true));
    assert_eq!(published.host.asked(), 2);
}

#[tokio::test]
async fn a_set_is_fetched_again_when_it_is_not_fresh_and_used_on_while_it_cannot_be() {
    let published = Published::new(&["a"], "Cache-Control: max-age=120\r\n").await;
    for second in [0, 60, 119] {
        assert_eq!(published.knows("a", second).await, Ok(true));
    }
    assert_eq!(published.host.asked(), 1);
    published.host.set("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    for second in [120, 121, 149] {
        assert_eq!(published.knows("a", second).await, Ok(true));
    }
    assert_eq!(published.host.asked(), 2);
    published.host.set(ok(JSON, &set_of(&["b"])));
    assert_eq!(published.knows("a", 150).await, Ok(false));
    assert_eq!(published.host.asked(), 3);
}

#[tokio::test]
async fn freshness_has_a_least_and_a_most() {
    for (headers, fresh) in [("Cache-Control: no-store\r\n", 60), ("Cache-Control: max-age=999999\r\n", 3600), ("", 3600)] {
        let published = Published::new(&["a"], headers).await;
        for second in [0, fresh - 1] {
            assert_eq!(published.knows("a", second).await, Ok(true));
        }
        assert_eq!(published.host.asked(), 1, "{headers}");
        assert_eq!(published.knows("a", fresh).await, Ok(true));
        assert_eq!(published.host.asked(), 2, "{headers}");
    }
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_fetch() {
    let published = Arc::new(Published::new(&["a"], "").await);
    let asking: Vec<_> = (0..32)
        .map(|_| {
            let published = Arc::clone(&published);
            tokio::spawn(async move { published.knows("a", 0).await })
        })
        .collect();
    for one in asking {
        assert_eq!(one.await.unwrap(), Ok(true));
    }
    assert_eq!(published.host.asked(), 1);
}

#[tokio::test]
async fn without_any_set_a_failure_is_tried_again_after_5_s() {
    let published = Published::new(&["a"], "").await;
    published.host.set("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(published.knows("a", 0).await, Err(FetchError::Status(500)));
    assert_eq!(published.knows("a", 4).await, Err(FetchError::TooSoon));
    published.host.set(ok(JSON, &set_of(&["a"])));
    assert_eq!(published.knows("a", 5).await, Ok(true));
    assert_eq!(published.host.asked(), 2);
}

#[tokio::test]
async fn a_set_that_holds_a_private_key_is_not_used() {
    let published = Published::new(&["a"], "").await;
    let private = serde_json::to_value(Jwk::generate_ec_key(EcCurve::P256).unwrap()).unwrap();
    published.host.set(ok(JSON, &json!({"keys": [private]}).to_string()));
    assert!(matches!(published.knows("a", 0).await, Err(FetchError::Content(_))));
}
