//! Sixty-four requests at one moment.

use keybound_testkit::{Client, Endpoint, Fleet, Key, Request, Response, Service, Session, Store, both_stores};
use serde_json::Value;

use crate::start;

const ROUNDS: usize = 200;
const COPIES: usize = 64;

/// The members of every success; every other answer must be the refusal of a replay.
fn accepted(answers: Vec<std::io::Result<Response>>) -> Vec<Value> {
    let mut accepted = Vec::new();
    for answer in answers {
        let answer = answer.expect("an answer");
        if answer.status == 200 {
            accepted.push(answer.json());
        } else {
            assert_eq!((answer.status, &answer.json()["error"]), (400, &Value::from("invalid_dpop_proof")), "{answer}");
        }
    }
    accepted
}

/// The generation that the service shows for the only grant of the session's key.
async fn generation(service: &Service, session: &Session) -> u64 {
    let page = service.manage("GET", &format!("/admin/grants?jkt={}", session.key.jkt()), None).await.json();
    page["grants"][0]["generation"].as_u64().unwrap_or_else(|| panic!("no generation in {page}"))
}

/// SEC-03, SEC-07, DPOP-4-01: 64 copies of one proof, 200 times: exactly one is accepted (R1).
async fn of_parallel_copies_of_one_proof_one_is_accepted(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let mut fleet = Fleet::open(&[service.public], COPIES).await;
    for round in 0..ROUNDS {
        let copies: Vec<Request> = vec![session.refresh().request(); COPIES];
        let accepted = accepted(fleet.volley(copies).await);
        assert_eq!(accepted.len(), 1, "round {round}");
        session.keep(&accepted[0]);
    }
}

/// SEC-03, SEC-07: the same where no family stands in the way.
async fn of_parallel_copies_of_one_token_request_one_is_accepted(store: Store) {
    let service = start(store).await;
    let (client, key) = (Client::known("web"), Key::es256());
    let mut fleet = Fleet::open(&[service.public], COPIES).await;
    for round in 0..20 {
        let copies: Vec<Request> = vec![client.credentials_call(&key, service.issuer()).request(); COPIES];
        assert_eq!(accepted(fleet.volley(copies).await).len(), 1, "round {round}");
    }
}

/// PKJ-04: one client assertion with 64 proofs: exactly one is accepted.
async fn of_parallel_uses_of_one_assertion_one_is_accepted(store: Store) {
    let service = start(store).await;
    let (client, key) = (Client::known("signer"), Key::es256());
    let mut fleet = Fleet::open(&[service.public], COPIES).await;
    for round in 0..20 {
        let call = client.credentials_call(&key, service.issuer());
        let uses = (0..COPIES).map(|_| call.clone().prove(&key).request()).collect();
        let mut successes = 0;
        for answer in fleet.volley(uses).await {
            let answer = answer.expect("an answer");
            if answer.status == 200 {
                successes += 1;
            } else {
                assert_eq!((answer.status, &answer.json()["error"]), (401, &Value::from("invalid_client")), "{answer}");
            }
        }
        assert_eq!(successes, 1, "round {round}");
    }
}

/// REF-07, BCP-13: 64 parallel refreshes of one token, 200 times: one transition and one successor (G1, G2, G3).
async fn parallel_refreshes_of_one_token_are_one_transition(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let mut fleet = Fleet::open(&[service.public], COPIES).await;
    for round in 0..ROUNDS {
        let refreshes = (0..COPIES).map(|_| session.refresh().request()).collect();
        let accepted = accepted(fleet.volley(refreshes).await);
        assert_eq!(accepted.len(), COPIES, "round {round}");
        let successor = accepted[0]["refresh_token"].clone();
        assert_ne!(successor, session.refresh_token);
        assert!(accepted.iter().all(|tokens| tokens["refresh_token"] == successor), "round {round}: two successors");
        if round % 20 == 0 {
            let repeated = session.refresh().send(&service).await.tokens();
            assert_eq!(repeated["refresh_token"], successor, "the token before still gives its successor");
            assert_eq!(generation(&service, &session).await, round as u64 + 1, "one transition for each round");
        }
        session.keep(&accepted[0]);
    }
    assert_eq!(generation(&service, &session).await, ROUNDS as u64);
    session.rotate(&service).await;
}

/// BCP-04: once a revocation is acknowledged nothing newer is issued (G6).
async fn a_revocation_wins_against_refreshes_under_way(store: Store) {
    let service = start(store).await;
    let mut fleet = Fleet::open(&[service.public], COPIES).await;
    for _ in 0..20 {
        let session = service.session("spa").await;
        let refreshes: Vec<Request> = (0..COPIES).map(|_| session.refresh().request()).collect();
        let (answers, revoked) = tokio::join!(fleet.volley(refreshes), service.revoke(&session.grant_id));
        assert!(matches!(revoked.status, 200 | 204), "{revoked}");
        for answer in answers {
            let answer = answer.expect("an answer");
            assert!(matches!(answer.status, 200 | 401), "{answer}");
            if answer.status == 200 {
                let mut ended = session.clone();
                ended.keep(&answer.json());
                ended.call(Endpoint::Refresh).send(&service).await.invalid_grant();
                break;
            }
        }
        session.refresh().send(&service).await.invalid_grant();
    }
}

both_stores!(
    of_parallel_copies_of_one_proof_one_is_accepted,
    of_parallel_copies_of_one_token_request_one_is_accepted,
    of_parallel_uses_of_one_assertion_one_is_accepted,
    parallel_refreshes_of_one_token_are_one_transition,
    a_revocation_wins_against_refreshes_under_way,
);
