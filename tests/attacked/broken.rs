//! Keybound with one rule broken in its own source: the attack that is named for it has to find that.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use keybound_attack::{ClientAuth, Key, Options, Outcome, Report};
use keybound_testkit::http::{Connection, Request};
use keybound_testkit::{Service, Store};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use crate::{attack, options, restart, signing};

mod build;
mod edits;

/// What an attack needs beside a service of the usual kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Need {
    Nothing,
    /// A resource behind the gateway listener.
    Gateway,
    /// The same, and nonces at all times: the gateway listener hands out its own.
    Nonces,
    /// Somebody who kills the service.
    Restart,
    /// The same, and nonces at all times.
    RestartWithNonces,
    /// A second node, and so Redis.
    Peer,
    /// Proofs that live for seconds, on Redis, whose memory is not rounded up, and the patience to wait for that.
    Patience,
    /// Nonces at all times that live for seconds, and the patience to wait for that.
    PatienceWithNonces,
}

/// Each broken rule, and the attack that has to find it.
const FAULTS: &[(&str, &str, Need)] = &[
    ("typ-ignored", "PRF-041", Need::Nothing),
    ("none-taken", "PRF-061", Need::Nothing),
    ("crit-ignored", "PRF-090", Need::Nothing),
    ("private-key-taken", "JWK-020", Need::Nothing),
    ("duplicates-taken", "CLM-080", Need::Nothing),
    ("signature-unchecked", "JWK-094", Need::Nothing),
    ("method-unchecked", "HTU-070", Need::Nothing),
    ("method-case-ignored", "HTU-073", Need::Nothing),
    ("uri-unchecked", "HTU-001", Need::Nothing),
    ("uri-prefix", "HTU-009", Need::Nothing),
    ("uri-host-ignored", "HTU-012", Need::Nothing),
    ("uri-scheme-ignored", "HTU-003", Need::Nothing),
    ("uri-slash-ignored", "HTU-021", Need::Nothing),
    ("old-taken", "CLM-041", Need::Nothing),
    ("future-taken", "CLM-045", Need::Nothing),
    ("hash-ignored", "RES-031", Need::Nothing),
    ("nonce-unchecked", "NON-001", Need::Nonces),
    ("nonce-of-any-role", "NON-015", Need::Nonces),
    ("nonce-for-ever", "NON-018", Need::PatienceWithNonces),
    ("nonce-of-any-epoch", "RPL-047", Need::RestartWithNonces),
    ("epoch-ignored", "RPL-045", Need::Restart),
    ("jti-without-key", "RPL-050", Need::Nothing),
    ("jti-by-bytes", "RPL-020", Need::Nothing),
    ("lifetime-short-by-skew", "RPL-065", Need::Patience),
    ("used-taken", "RPL-001", Need::Nothing),
    ("check-then-set", "RPL-030", Need::Nothing),
    ("spent-before-checks", "RPL-052", Need::Nothing),
    ("ledger-per-node", "RPL-040", Need::Peer),
    ("first-header-only", "PRF-006", Need::Nothing),
    ("cut-at-the-comma", "PRF-009", Need::Nothing),
    ("refresh-without-proof", "RFR-001", Need::Nothing),
    ("client-unchecked", "RFR-006", Need::Nothing),
    ("key-unchecked", "RFR-002", Need::Nothing),
    ("retry-forks", "RFR-065", Need::Nothing),
    ("lost-answer-ends", "RFR-063", Need::Nothing),
    ("old-token-taken", "RFR-060", Need::Nothing),
    ("reuse-ends-nothing", "RFR-062", Need::Nothing),
    ("revoked-taken", "RFR-071", Need::Nothing),
    ("revoke-on-wrong-key", "RFR-022", Need::Nothing),
    ("scope-widened", "RFR-057", Need::Nothing),
    ("answers-kept", "RFR-091", Need::Nothing),
    ("code-twice", "COD-020", Need::Nothing),
    ("code-reuse-ends-nothing", "COD-021", Need::Nothing),
    ("code-for-anyone", "COD-032", Need::Nothing),
    ("redirect-uri-prefix", "COD-042", Need::Nothing),
    ("redirect-uri-uncompared", "COD-027", Need::Nothing),
    ("code-key-unchecked", "COD-001", Need::Nothing),
    ("pkce-unchecked", "COD-024", Need::Nothing),
    ("pushed-key-forgotten", "COD-005", Need::Nothing),
    ("pushed-for-anyone", "COD-048", Need::Nothing),
    ("pushed-twice", "COD-047", Need::Nothing),
    ("pushed-race", "COD-050", Need::Nothing),
    ("key-disagreement-taken", "COD-014", Need::Nothing),
    ("audience-unchecked", "CLI-001", Need::Nothing),
    ("audience-list", "CLI-003", Need::Nothing),
    ("assertion-of-any-key", "CLI-052", Need::Nothing),
    ("expired-assertion", "CLI-025", Need::Nothing),
    ("assertion-twice", "CLI-060", Need::Nothing),
    ("binding-ignored", "RES-045", Need::Nothing),
    ("bearer-taken", "RES-001", Need::Nothing),
    ("first-authorization-only", "RES-010", Need::Nothing),
    ("token-signature-unchecked", "RES-060", Need::Nothing),
    ("binding-untold", "RES-095", Need::Nothing),
    ("revoked-access", "RFR-073", Need::Nothing),
    ("gateway-ignores-binding", "RES-045", Need::Gateway),
    ("gateway-takes-bearer", "RES-003", Need::Gateway),
    ("gateway-forgets", "RPL-004", Need::Gateway),
    ("gateway-ignores-revocation", "RFR-073", Need::Gateway),
];

/// The services that run at a time.
const AT_ONCE: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_broken_in_keybound_itself_is_found() {
    for edit in edits::EDITS {
        for rule in edit.replace.split("broken(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(FAULTS.iter().any(|(name, ..)| *name == rule), "no attack is named for {rule}");
        }
    }
    let program = tokio::task::spawn_blocking(build::program).await.expect("the build is not interrupted");
    let has_switch =
        |program: &Path| Command::new("grep").args(["-qa", "KEYBOUND_BROKEN"]).arg(program).status().expect("grep runs").success();
    assert!(has_switch(&program) && !has_switch(Path::new(crate::BINARY)), "only the build that is made for this can be broken");

    // With nothing broken, what is to find the faults finds none: the build itself is sound.
    let needs: BTreeSet<Need> = FAULTS.iter().map(|(.., need)| *need).collect();
    let sound = needs.into_iter().map(|need| {
        let ids: BTreeSet<&str> = FAULTS.iter().filter(|fault| fault.2 == need).map(|(_, id, _)| *id).collect();
        (None, ids.into_iter().collect::<Vec<_>>(), need)
    });
    let mut runs: Vec<_> = sound.chain(FAULTS.iter().map(|(rule, id, need)| (Some(*rule), vec![*id], *need))).collect();
    // What waits longest begins first.
    runs.sort_by_key(|(.., need)| std::cmp::Reverse(*need));
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (rule, ids, need) in runs {
        let (program, turns) = (program.clone(), Arc::clone(&turns));
        running.spawn(async move {
            let _turn = turns.acquire_owned().await.expect("nobody closes it");
            let report = run(&program, rule, &ids, need).await;
            (rule, ids, report)
        });
    }
    let mut missed = Vec::new();
    while let Some(run) = running.join_next().await {
        let (rule, ids, report) = run.expect("no run panics");
        let wanted = if rule.is_some() { Outcome::Breach } else { Outcome::Refused };
        if report.findings.len() != ids.len() {
            missed.push(format!("not all of {ids:?} ran"));
        }
        for finding in &report.findings {
            let told = format!("{}: {} {}: {}", rule.unwrap_or("nothing is broken"), finding.id, finding.outcome.words(), finding.detail);
            if finding.outcome == wanted && ids.contains(&finding.id.as_str()) { println!("{told}") } else { missed.push(told) }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Fires the attacks with these IDs at a service in which `rule` is broken.
async fn run(program: &Path, rule: Option<&str>, ids: &[&str], need: Need) -> Report {
    let key = Key::es256();
    let gateway = Arc::new(OnceLock::new());
    let resource = serve_resource(Arc::clone(&gateway)).await;
    let mut settings = signing(&key);
    if matches!(need, Need::Nonces | Need::RestartWithNonces | Need::PatienceWithNonces) {
        settings = settings.with("dpop.nonce", "required");
    }
    if matches!(need, Need::Gateway | Need::Nonces) {
        let url = format!("http://{resource}");
        settings = settings.resource(json!({"id": "behind-the-gateway", "url": url, "scopes": ["accounts"]}));
    }
    if need == Need::Patience {
        settings = settings.with("dpop.proof_max_age_s", WINDOW_S).with("dpop.clock_skew_s", SKEW_S);
    }
    if need == Need::PatienceWithNonces {
        settings = settings.with("dpop.nonce_step_s", NONCE_STEP_S);
    }
    let store = if matches!(need, Need::Patience | Need::Peer) { Store::Redis } else { Store::Embedded };
    let service = Service::start_breaking(program, store, settings, rule).await;
    gateway.set(service.gateway).expect("it is set once");
    let mut options = options(service.public, ClientAuth::Assertion(key, None));
    options.only = ids.iter().map(|id| (*id).to_owned()).collect();
    options.refresh_endpoint = Some(format!("http://{}/oauth/refresh", service.public).parse().expect("a URL"));
    let peer = if need == Need::Peer { Some(service.second_node().await) } else { None };
    options.peer = peer.as_ref().map(|peer| format!("http://{}", peer.public).parse().expect("a URL"));
    let service = Arc::new(Mutex::new(service));
    match need {
        Need::Nothing | Need::Peer => {}
        Need::Gateway | Need::Nonces => options.resource = Some(format!("http://{resource}/").parse().expect("a URL")),
        Need::Restart | Need::RestartWithNonces => options.restart = Some(restart(&service)),
        Need::Patience => {
            options = Options { slow: true, window_s: WINDOW_S.into(), skew_s: SKEW_S.into(), ..options };
        }
        Need::PatienceWithNonces => options = Options { slow: true, nonce_life_s: Some(2 * NONCE_STEP_S), ..options },
    }
    attack(options).await
}

const WINDOW_S: u32 = 4;
/// More than the spread of clocks, which a use is remembered longer than its proof.
const SKEW_S: u32 = 10;
/// The shortest that can be configured; a nonce lives for at most two.
const NONCE_STEP_S: u32 = 10;

/// An API behind a gateway: whatever comes is put to the gateway listener, whose answer goes back.
async fn serve_resource(gateway: Arc<OnceLock<SocketAddr>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Some(&gateway) = gateway.get() {
                // A client that goes away ends its exchange, and nothing else.
                tokio::spawn(async move { exchange(stream, gateway, address).await.unwrap_or_default() });
            }
        }
    });
    address
}

async fn exchange(mut client: TcpStream, gateway: SocketAddr, here: SocketAddr) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut chunk = [0; 16 * 1024];
        match client.read(&mut chunk).await? {
            0 => return Ok(()),
            length => bytes.extend_from_slice(&chunk[..length]),
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut question = Request::new("GET", "/verify/nginx").header("X-Original-Method", method);
    question = question.header("X-Original-URL", format!("http://{here}{path}"));
    for (name, value) in lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':')) {
        if ["authorization", "dpop"].contains(&name.to_ascii_lowercase().as_str()) {
            question = question.header(name, value.trim());
        }
    }
    let answer = Connection::new(gateway).send(&question).await?;
    let mut head = format!("HTTP/1.1 {} -\r\nContent-Length: 0\r\nConnection: close\r\n", answer.status);
    for name in ["WWW-Authenticate", "DPoP-Nonce", "Cache-Control"] {
        for value in answer.header_lines(name) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    client.write_all((head + "\r\n").as_bytes()).await
}
