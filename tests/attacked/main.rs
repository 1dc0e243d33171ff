//! The replay-attack suite, aimed at Keybound: on the embedded store, on Redis, with nonces demanded, and on two nodes behind one Redis.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keybound_attack::{Client, ClientAuth, Key, Options, Outcome, Report, Restart, Severity, TokenSource};
use keybound_testkit::service::SECRET;
use keybound_testkit::{Service, Settings, Store};
use serde_json::{Value, json};
use tokio::sync::Mutex;

mod broken;
mod command_line;
mod proxy;

const BINARY: &str = env!("CARGO_BIN_EXE_keybound");

/// A service on loopback with a machine, an application and another application, and the built-in sign-in page.
fn settings(machine: Value) -> Settings {
    let app = |id: &str| {
        json!({"client_id": id, "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": ["http://127.0.0.1/callback"], "scope": "openid accounts"})
    };
    let mut client = json!({"client_id": "attack-machine", "grant_types": ["client_credentials"], "scope": "accounts"});
    for (name, value) in machine.as_object().into_iter().flatten() {
        client[name] = value.clone();
    }
    let algs = json!(["ES256", "ES384", "PS256", "EdDSA", "Ed25519"]);
    Settings::loopback()
        .with("interaction.builtin", true)
        .with("dpop.algs", algs)
        .client(client)
        .client(app("attack-app"))
        .client(app("attack-other"))
}

fn secret(method: &str) -> Settings {
    settings(json!({"token_endpoint_auth_method": method, "client_secret": SECRET}))
}

fn signing(key: &Key) -> Settings {
    settings(json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key.jwk()]}}))
}

fn options(public: SocketAddr, machine: ClientAuth) -> Options {
    let issuer = format!("http://{public}").parse().expect("a URL");
    Options {
        machine: Some(Client { id: "attack-machine".to_owned(), auth: machine }),
        app: Some(Client::public("attack-app")),
        other: Some(Client::public("attack-other")),
        scope: "openid accounts".to_owned(),
        tokens: TokenSource::SignIn("alice".to_owned()),
        ..Options::new(issuer)
    }
}

/// What restarts the service: killed one time, stopped in order the next.
fn restart(service: &Arc<Mutex<Service>>) -> Restart {
    let (service, times) = (Arc::clone(service), Arc::new(AtomicUsize::new(0)));
    Restart::new(move || {
        let (service, times) = (Arc::clone(&service), Arc::clone(&times));
        async move {
            let mut service = service.lock().await;
            if times.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                service.kill();
            } else if !service.stop().await {
                return Err("the service did not stop in order".to_owned());
            }
            service.try_restart().await
        }
    })
}

async fn attack(options: Options) -> Report {
    let report = keybound_attack::run(options, &|_, _, _| ()).await.unwrap_or_else(|error| panic!("the suite can't run: {error}"));
    println!("{}", report.table(false));
    report
}

/// Everything that applies is refused and every twin accepted; of the whole catalogue only these reasons keep an attack from applying.
fn all_refused(report: &Report, reasons: &[&str]) {
    assert!(!report.fails(Severity::Info), "{}", report.table(false));
    for finding in report.findings.iter().filter(|finding| finding.outcome == Outcome::NotApplicable) {
        assert!(reasons.iter().any(|reason| finding.detail.contains(reason)), "{} does not apply: {}", finding.id, finding.detail);
    }
}

const SLOW: &str = "--slow";
const SECRETS: [&str; 2] = ["has no secret", "does not authenticate with private_key_jwt"];
const OPTIONAL_NONCES: &str = "the server demands no nonces";
const ONE_ORIGIN: &str = "userinfo belongs to the authorization server";
const ONE_NODE: &str = "no second node was given";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_is_refused_on_the_embedded_store() {
    let key = Key::es256();
    let service = Service::start(BINARY, Store::Embedded, signing(&key)).await;
    let options = options(service.public, ClientAuth::Assertion(key, None));
    let refresh_endpoint = Some(format!("http://{}/oauth/refresh", service.public).parse().expect("a URL"));
    let service = Arc::new(Mutex::new(service));
    let report = attack(Options { restart: Some(restart(&service)), refresh_endpoint, ..options }).await;
    all_refused(&report, &[SLOW, SECRETS[0], OPTIONAL_NONCES, ONE_ORIGIN, ONE_NODE]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_is_refused_on_redis() {
    let service = Service::start(BINARY, Store::Redis, secret("client_secret_basic")).await;
    let options = options(service.public, ClientAuth::Basic(SECRET.to_owned()));
    let refresh_endpoint = Some(format!("http://{}/oauth/refresh", service.public).parse().expect("a URL"));
    let service = Arc::new(Mutex::new(service));
    let report = attack(Options { restart: Some(restart(&service)), refresh_endpoint, ..options }).await;
    all_refused(&report, &[SLOW, SECRETS[1], OPTIONAL_NONCES, ONE_ORIGIN, ONE_NODE]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_is_refused_on_two_nodes_behind_one_redis() {
    let key = Key::es256();
    let first = Service::start(BINARY, Store::Redis, signing(&key)).await;
    let second = first.second_node().await;
    let peer = Some(format!("http://{}", second.public).parse().expect("a URL"));
    let report = attack(Options { peer, ..options(first.public, ClientAuth::Assertion(key, None)) }).await;
    all_refused(&report, &[SLOW, SECRETS[0], OPTIONAL_NONCES, ONE_ORIGIN, "no way to restart", "no second endpoint that refreshes"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_is_refused_where_nonces_are_demanded() {
    let settings = secret("client_secret_post").with("dpop.nonce", "required");
    let service = Service::start(BINARY, Store::Embedded, settings).await;
    let options = options(service.public, ClientAuth::Post(SECRET.to_owned()));
    let service = Arc::new(Mutex::new(service));
    let report = attack(Options { restart: Some(restart(&service)), ..options }).await;
    all_refused(&report, &[SLOW, SECRETS[1], ONE_ORIGIN, ONE_NODE, "no second endpoint that refreshes"]);
}
