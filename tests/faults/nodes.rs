//! Two nodes on one Redis.

use std::time::Duration;

use keybound_testkit::service::SECRET;
use keybound_testkit::time::Stopwatch;
use keybound_testkit::{Client, Dialect, Fleet, Judged, Key, Request, Service, Settings, Store, Verify};
use serde_json::json;

use crate::{start, start_with};

/// SEC-03, SEC-07: 64 copies of one proof, half of them to each node: exactly one is accepted (R1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_accept_one_of_64_copies() {
    let first = start(Store::Redis).await;
    let second = first.second_node().await;
    let mut session = first.session("spa").await;
    let mut fleet = Fleet::open(&[first.public, second.public], 32).await;
    for round in 0..50 {
        let copies: Vec<Request> = vec![session.refresh().request(); 64];
        let mut accepted = Vec::new();
        for answer in fleet.volley(copies).await {
            let answer = answer.expect("an answer");
            if answer.status == 200 {
                accepted.push(answer.json());
            } else {
                assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_dpop_proof")), "{answer}");
            }
        }
        assert_eq!(accepted.len(), 1, "round {round}");
        session.keep(&accepted[0]);
    }
}

/// REF-07, BCP-13: 64 refreshes of one token, half of them at each node: one transition, one successor (G3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_make_one_transition() {
    let first = start(Store::Redis).await;
    let second = first.second_node().await;
    let mut session = first.session("spa").await;
    let mut fleet = Fleet::open(&[first.public, second.public], 32).await;
    for round in 0..50 {
        let refreshes = (0..64).map(|_| session.refresh().request()).collect();
        let mut successors = Vec::new();
        for answer in fleet.volley(refreshes).await {
            let answer = answer.expect("an answer");
            assert_eq!(answer.status, 200, "round {round}: {answer}");
            successors.push(answer.json());
        }
        assert!(successors.iter().all(|tokens| tokens["refresh_token"] == successors[0]["refresh_token"]), "round {round}");
        session.keep(&successors[0]);
    }
}

/// NON-13: nodes agree on nonces, keys, clients and revocations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_are_one_service() {
    let first = start_with(Store::Redis, Settings::default().with("dpop.nonce", "required")).await;
    let second = first.second_node().await;
    let session = first.session("spa").await;
    let nonce = first.nonce().await;
    let call = session.refresh().prove_with_nonce(&session.key, &nonce);
    call.send(&second).await.tokens();
    call.send(&first).await.invalid_proof();
    assert_eq!(first.get("/oauth/jwks").await.json(), second.get("/oauth/jwks").await.json());
    assert!(matches!(second.revoke(&session.grant_id).await.status, 200 | 204));
    session.refresh().prove_with_nonce(&session.key, &nonce).send(&first).await.invalid_grant();
    let key = Key::es256();
    let late = json!({"client_id": "late", "token_endpoint_auth_method": "none", "grant_types": ["refresh_token"], "scope": "accounts"});
    assert_eq!(first.manage("POST", "/admin/clients", Some(late)).await.status, 201);
    let grant = json!({"client_id": "late", "sub": "alice", "scope": "accounts", "jkt": key.jkt()});
    assert_eq!(second.manage("POST", "/admin/grants", Some(grant)).await.status, 201);
}

/// A caller of `accounts-api`: its token, its key and its grant.
async fn caller(service: &Service) -> (String, Key, String) {
    let session = service.session("spa").await;
    let tokens = session.refresh().send(service).await.tokens();
    (tokens["access_token"].as_str().expect("a token").to_owned(), session.key, session.grant_id)
}

const API: &str = "https://api.example.test/accounts/1";

/// SEC-03, SEC-07: 64 copies of one call at two gateways, half of them at each node, in three dialects: exactly one passes (R1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_let_one_of_64_copies_of_a_call_pass() {
    let first = start(Store::Redis).await;
    let second = first.second_node().await;
    let (token, key, _) = caller(&first).await;
    let mut fleet = Fleet::open(&[first.gateway, second.gateway], 32).await;
    for round in 0..50 {
        let call = Verify::good("GET", API, &token, &key);
        let copies = (0..64).map(|copy| call.request(Dialect::HTTP[(round + copy) % 3])).collect();
        let mut passed = 0;
        for answer in fleet.volley(copies).await {
            let judged = Judged::of_status(&answer.expect("an answer"));
            if judged.status == 200 {
                passed += 1;
            } else {
                judged.refused(401, "invalid_dpop_proof");
            }
        }
        assert_eq!(passed, 1, "round {round}");
    }
}

/// RS-12: a revocation on one node is seen by the next call at the other, and well within a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_seen_at_the_gateway_of_the_other_node() {
    let first = start(Store::Redis).await;
    let second = first.second_node().await;
    for dialect in Dialect::ALL {
        let (token, key, grant_id) = caller(&first).await;
        let call = || Verify::good("GET", API, &token, &key);
        for node in [&first, &second] {
            call().ask(dialect, node).await.passes();
        }
        let watch = Stopwatch::start();
        assert!(matches!(first.revoke(&grant_id).await.status, 200 | 204));
        call().ask(dialect, &second).await.refused(401, "invalid_token");
        assert!(watch.elapsed() < Duration::from_secs(1), "{:?}", watch.elapsed());
    }
    // The token of a client on its own behalf can be revoked alone.
    let key = Key::es256();
    let web = Client::known("web");
    let answer = web.credentials_call(&key, first.issuer()).set("scope", "accounts").send(&first).await.tokens();
    let token = answer["access_token"].as_str().expect("a token");
    Verify::good("GET", API, token, &key).ask(Dialect::Nginx, &second).await.passes();
    let revoke = Request::new("POST", "/oauth/revoke").header("Authorization", web.basic(SECRET)).form(&[("token", token)]);
    assert_eq!(first.send(&revoke).await.status, 200);
    Verify::good("GET", API, token, &key).ask(Dialect::Nginx, &second).await.refused(401, "invalid_token");
}
