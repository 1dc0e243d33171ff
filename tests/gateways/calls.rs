//! What an honest client meets, behind each gateway.

use std::time::Duration;

use keybound_testkit::time::Stopwatch;
use serde_json::json;
use tokio::time::sleep;

use crate::every_gateway;
use crate::gateway::Kind;
use crate::rig::{HOST, Rig};

every_gateway!(
    a_good_call_reaches_the_api_with_its_callers_identity,
    a_call_with_a_body_reaches_the_api_whole,
    missing_scope_is_a_403_whose_challenge_reaches_the_client,
    required_nonces_reach_the_client_and_its_retry_works,
    a_renewed_nonce_reaches_the_client_with_the_answer,
    the_api_gets_another_token_and_no_proof_where_it_is_to,
    a_revocation_is_seen_within_a_second,
    nothing_passes_while_the_service_is_away,
);

/// RS-02
async fn a_good_call_reaches_the_api_with_its_callers_identity(kind: Kind) {
    let rig = Rig::start(kind).await;
    let (answer, seen) = rig.pass(&rig.good("GET", "/accounts/1?page=2&x=%2F..")).await;
    assert_eq!((&seen.0["method"], &seen.0["target"]), (&json!("GET"), &json!("/accounts/1?page=2&x=%2F..")));
    assert_eq!(seen.header("X-DPoP-Subject"), ["alice"]);
    assert_eq!(seen.header("X-DPoP-Client-Id"), ["spa"]);
    assert_eq!(seen.header("X-DPoP-Scope"), ["accounts openid payments"]);
    assert_eq!(seen.header("X-DPoP-Jkt"), [rig.session.key.jkt()]);
    assert_eq!(seen.header("X-DPoP-Token-Id").len(), 1);
    assert_eq!(seen.header("Authorization"), [format!("DPoP {}", rig.token)]);
    assert_eq!(seen.header("Host"), [HOST]);
    assert_eq!(answer.header("DPoP-Nonce"), None, "no nonce where none is required");
    assert!(answer.headers.iter().all(|(name, _)| !name.to_lowercase().starts_with("x-dpop-")), "the client is told nothing: {answer}");
}

/// HTU-12
async fn a_call_with_a_body_reaches_the_api_whole(kind: Kind) {
    let rig = Rig::start(kind).await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let (_, seen) = rig.pass(&rig.good(method, "/accounts").json(&json!({"amount": 1}))).await;
        assert_eq!((&seen.0["method"], &seen.0["body"]), (&json!(method), &json!("{\"amount\":1}")));
    }
}

/// RS-12
async fn missing_scope_is_a_403_whose_challenge_reaches_the_client(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let tokens = rig.session.refresh().set("scope", "openid payments").send(&rig.service).await.tokens();
    rig.session.keep(&tokens);
    rig.token = tokens["access_token"].as_str().expect("a token").to_owned();
    let answer = rig.refused(&rig.good("GET", "/accounts/1"), 403, "insufficient_scope").await;
    assert!(answer.header("WWW-Authenticate").is_some_and(|line| line.contains("scope=\"accounts\"")), "{answer}");
    assert_eq!(answer.json()["error"], "insufficient_scope");
}

/// NON-07, NON-03
async fn required_nonces_reach_the_client_and_its_retry_works(kind: Kind) {
    let rig = Rig::start(kind).await;
    let answer = rig.refused(&rig.good("GET", "/payments/1"), 401, "use_dpop_nonce").await;
    let nonce = answer.header("DPoP-Nonce").expect("one nonce").to_owned();
    assert_eq!(answer.json()["error"], "use_dpop_nonce");
    let proof = rig.proof("GET", "/payments/1").nonce(&nonce).sign(&rig.session.key);
    rig.pass(&rig.unproven("GET", "/payments/1").header("DPoP", proof)).await;
    // Every other 401 there brings one as well (RS-06).
    let answer = rig.refused(&Rig::bare("GET", "/payments/1"), 401, "").await;
    assert!(answer.header("DPoP-Nonce").is_some(), "{answer}");
    // One that was made up is answered like none at all.
    let proof = rig.proof("GET", "/payments/1").nonce("made-up").sign(&rig.session.key);
    rig.refused(&rig.unproven("GET", "/payments/1").header("DPoP", proof), 401, "use_dpop_nonce").await;
}

/// NON-05
async fn a_renewed_nonce_reaches_the_client_with_the_answer(kind: Kind) {
    let rig = Rig::start(kind).await;
    let answer = rig.refused(&rig.good("GET", "/payments/1"), 401, "use_dpop_nonce").await;
    let nonce = answer.header("DPoP-Nonce").expect("one nonce").to_owned();
    let watch = Stopwatch::start();
    // A nonce is renewed every ten seconds here.
    let renewed = loop {
        let proof = rig.proof("GET", "/payments/1").nonce(&nonce).sign(&rig.session.key);
        let (answer, _) = rig.pass(&rig.unproven("GET", "/payments/1").header("DPoP", proof)).await;
        if let Some(renewed) = answer.header("DPoP-Nonce") {
            break renewed.to_owned();
        }
        assert!(watch.elapsed() < Duration::from_secs(12), "no new nonce came");
        sleep(Duration::from_millis(200)).await;
    };
    assert_ne!(renewed, nonce);
    let proof = rig.proof("GET", "/payments/1").nonce(&renewed).sign(&rig.session.key);
    let (answer, _) = rig.pass(&rig.unproven("GET", "/payments/1").header("DPoP", proof)).await;
    assert_eq!(answer.header("DPoP-Nonce"), None);
}

/// DESIGN section 7: `upstream_authorization`.
async fn the_api_gets_another_token_and_no_proof_where_it_is_to(kind: Kind) {
    let rig = Rig::start(kind).await;
    let answer = rig.refused(&rig.good("GET", "/payments/1"), 401, "use_dpop_nonce").await;
    let nonce = answer.header("DPoP-Nonce").expect("one nonce").to_owned();
    let proof = rig.proof("GET", "/payments/1").nonce(&nonce).sign(&rig.session.key);
    let (_, seen) = rig.pass(&rig.unproven("GET", "/payments/1").header("DPoP", proof)).await;
    assert_eq!(seen.header("Authorization"), [format!("Bearer {}", rig.token)]);
    // Envoy over HTTP can't be told by its configuration to drop a header for some calls and not for others; the proof is used up.
    assert_eq!(seen.header("DPoP").len(), usize::from(kind == Kind::EnvoyHttp));
}

/// RS-12, G6
async fn a_revocation_is_seen_within_a_second(kind: Kind) {
    let rig = Rig::start(kind).await;
    rig.pass(&rig.good("GET", "/accounts/1")).await;
    let answer = rig.service.revoke(&rig.session.grant_id).await;
    assert!(answer.status < 300, "{answer}");
    let watch = Stopwatch::start();
    while rig.send(&rig.good("GET", "/accounts/1")).await.status == 200 {
        assert!(watch.elapsed() < Duration::from_secs(1), "{kind:?}: the revocation was not seen");
    }
    rig.refused(&rig.good("GET", "/accounts/1"), 401, "invalid_token").await;
}

/// R4
async fn nothing_passes_while_the_service_is_away(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    rig.pass(&rig.good("GET", "/accounts/1")).await;
    rig.service.kill();
    for _ in 0..3 {
        let answer = rig.stopped(&rig.good("GET", "/accounts/1")).await;
        // Caddy says that there is nobody behind it; the others say what Keybound would.
        assert_eq!(answer.status, if kind == Kind::Caddy { 502 } else { 503 }, "{kind:?}: {answer}");
    }
    rig.service.restart().await;
    // The ledger has forgotten what it saw, so every proof needs a nonce at first; with one, all is well again.
    let watch = Stopwatch::start();
    let nonce = loop {
        let answer = rig.stopped(&rig.good("GET", "/accounts/1")).await;
        if let Some(nonce) = answer.header("DPoP-Nonce") {
            break nonce.to_owned();
        }
        assert!(watch.elapsed() < Duration::from_secs(20), "{kind:?}: {answer}");
        sleep(Duration::from_millis(100)).await;
    };
    let proof = rig.proof("GET", "/accounts/1").nonce(&nonce).sign(&rig.session.key);
    rig.pass(&rig.unproven("GET", "/accounts/1").header("DPoP", proof)).await;
}

/// A test for each gateway.
#[macro_export]
macro_rules! every_gateway {
    ($($name:ident),+ $(,)?) => {
        $crate::every_gateway!(@ nginx Nginx, caddy Caddy, envoy_http EnvoyHttp, envoy_grpc EnvoyGrpc, haproxy Haproxy => ($($name),+));
    };
    (@ $($module:ident $kind:ident),+ => $names:tt) => {
        $($crate::every_gateway!(# $module $kind $names);)+
    };
    (# $module:ident $kind:ident ($($name:ident),+)) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::gateway::Kind::$kind).await;
            })+
        }
    };
}
