//! The two examples, as they are built, in front of and behind the running service.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use keybound_testkit::jose::{b64, sha256};
use keybound_testkit::service::free_address;
use keybound_testkit::{Connection, Proof, Request, Response, Service, Session, Settings, Store};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::rig::{HOST, ORIGIN, settings, token};
use crate::upstream::{Seen, Upstream};

/// Starts an example and waits until it accepts connections. It ends when it is dropped.
async fn example(name: &str, listen: SocketAddr, environment: &[(&str, String)]) -> Child {
    let program = Path::new(env!("CARGO_BIN_EXE_keybound")).with_file_name("examples").join(name);
    let mut command = Command::new(&program);
    command.envs(environment.iter().map(|(name, value)| (*name, value))).stdin(Stdio::null()).kill_on_drop(true);
    let child = command.spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{} does not run: {error}; `cargo build --examples` makes it", program.display()));
    for _ in 0..3000 {
        if let Ok(Some(status)) = child.try_wait() {
            panic!("{name} has ended: {status}");
        }
        if TcpStream::connect(listen).await.is_ok() {
            return child;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} does not listen");
}

async fn send(address: SocketAddr, request: &Request) -> Response {
    Connection::new(address).send(request).await.expect("an answer")
}

fn refused(answer: &Response, status: u16, error: &str) {
    assert_eq!(answer.status, status, "{answer}");
    let lines = answer.header_lines("WWW-Authenticate");
    assert!(lines.len() == 1 && lines[0].starts_with("DPoP ") && lines[0].contains(&format!("error=\"{error}\"")), "{answer}");
}

/// A call of an API at `origin`, with a proof that has this nonce.
fn call(session: &Session, token: &str, method: &str, origin: &str, path: &str, nonce: Option<&str>) -> Request {
    let mut proof = Proof::new(&session.key, method, &format!("{origin}{path}")).claim("ath", b64(sha256(token)));
    if let Some(nonce) = nonce {
        proof = proof.nonce(nonce);
    }
    Request::new(method, path).header("Authorization", format!("DPoP {token}")).header("DPoP", proof.sign(&session.key))
}

/// RS-02, RS-12, NON-07, R5: an API without a gateway, which finds the issuer's keys by its metadata.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_resource_server_checks_every_call_by_itself() {
    let listen = free_address();
    let origin = format!("http://{listen}");
    let api = json!([{"id": "api", "url": origin, "audience": origin, "scopes": ["accounts", "payments"]}]);
    let service = Service::start(env!("CARGO_BIN_EXE_keybound"), Store::Embedded, Settings::loopback().with("resource", api)).await;
    let environment = [("ISSUER", format!("http://{}", service.public)), ("API_URL", origin.clone()), ("API_LISTEN", listen.to_string())];
    let _server = example("resource_server", listen, &environment).await;
    let mut session = service.session("spa").await;
    session.issuer = format!("http://{}", service.public);
    let access = token(&service, &mut session).await;
    let call = |method, path, nonce: Option<&str>| call(&session, &access, method, &origin, path, nonce);

    // It has just begun, so the first proof needs a nonce.
    let first = send(listen, &call("GET", "/accounts", None)).await;
    refused(&first, 401, "use_dpop_nonce");
    let nonce = first.header("DPoP-Nonce").expect("a nonce").to_owned();
    let good = call("GET", "/accounts", Some(&nonce));
    let answer = send(listen, &good).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "the accounts of alice"), "{answer}");
    refused(&send(listen, &good).await, 401, "invalid_dpop_proof");
    refused(&send(listen, &call("POST", "/accounts", Some(&nonce)).header("DPoP", "x")).await, 401, "invalid_dpop_proof");
    assert_eq!(send(listen, &call("POST", "/payments", Some(&nonce))).await.text(), "alice has paid");

    let tokens = session.refresh().set("scope", "accounts").send(&service).await.tokens();
    let narrow = tokens["access_token"].as_str().expect("a token");
    refused(&send(listen, &self::call(&session, narrow, "POST", &origin, "/payments", Some(&nonce))).await, 403, "insufficient_scope");
    assert_eq!(send(listen, &self::call(&session, narrow, "GET", &origin, "/accounts", Some(&nonce))).await.status, 200);
}

/// RS-02, HTU-08, R4: `POST /verify` from a proxy of one's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_lets_pass_what_the_service_allows_and_nothing_else() {
    let mut service = Service::start(env!("CARGO_BIN_EXE_keybound"), Store::Embedded, settings()).await;
    let (listen, api) = (free_address(), Upstream::start().await);
    let environment = [
        ("KEYBOUND", format!("http://{}", service.gateway)),
        ("ORIGIN", ORIGIN.to_owned()),
        ("API", format!("http://{}", api.address)),
        ("GATEWAY_LISTEN", listen.to_string()),
    ];
    let _gateway = example("gateway", listen, &environment).await;
    let mut session = service.session("spa").await;
    let access = token(&service, &mut session).await;
    let call = |path| call(&session, &access, "GET", ORIGIN, path, None).header("Host", HOST);

    let good = call("/accounts/1");
    let answer = send(listen, &good.clone().header("X-DPoP-Subject", "root").header("X-Forwarded-Uri", "/x")).await;
    assert_eq!(answer.status, 200, "{answer}");
    let seen = Seen(answer.json());
    assert_eq!((seen.header("X-DPoP-Subject"), seen.header("X-Forwarded-Uri").len()), (vec!["alice"], 0));
    refused(&send(listen, &good).await, 401, "invalid_dpop_proof");
    refused(&send(listen, &call("/accounts/2").header("DPoP", "x")).await, 401, "invalid_dpop_proof");
    let challenge = send(listen, &call("/payments/1")).await;
    refused(&challenge, 401, "use_dpop_nonce");
    assert!(challenge.header("DPoP-Nonce").is_some(), "{challenge}");
    assert_eq!(api.reached(), 1);

    service.kill();
    let answer = send(listen, &call("/accounts/3")).await;
    assert_eq!((answer.status, answer.header("Retry-After"), api.reached()), (503, Some("1"), 1), "{answer}");
}
